"""Records as JSON for people and dashboards: field names, hex for bytes, text for names."""

from typing import Any

import msgspec

from bft.codec.canonical import Record
from chain.records.block import decode_header
from chain.records.certificate import BlockCertificate, decode_certificate
from chain.records.score_log import BlockFinal, Certified, CloseReason, CycleClosed, Ordered

_TEXT = {"name", "operator", "device", "model", "dataset", "link", "api"}
"""Fields that hold UTF-8 for people."""


def plain(value: Any, field: str = "") -> Any:
    """What `json` can write."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") if field in _TEXT else value.hex()
    if isinstance(value, Record):
        return {name: plain(getattr(value, name), name) for name in type(value).__struct_fields__}
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if isinstance(value, tuple | list):
        return [plain(entry, field) for entry in value]
    return value


def plain_certificate(certificate: BlockCertificate) -> dict[str, Any]:
    """A certificate's fields.  Block hashes are shown reversed, as everywhere in Bitcoin."""
    fields = [name for name in BlockCertificate.__dataclass_fields__ if name != "TAG"]
    shown = {name: plain(getattr(certificate, name)) for name in fields}
    shown["parent"] = certificate.parent[::-1].hex()
    return shown


def plain_final(final: BlockFinal) -> dict[str, Any]:
    """A final block."""
    header = decode_header(final.header)
    return {
        "cycle": final.cycle,
        "height": final.height,
        "hash": header.hash[::-1].hex(),
        "time": header.time,
        "header": final.header.hex(),
        "signature": final.signature.hex(),
    }


def plain_log_record(record: Record) -> dict[str, Any]:
    """A log record for the event stream; a batch is told by its size."""
    match record:
        case Ordered():
            shown = {"sequence": record.sequence, "agreed_ms": record.agreed_ms}
            return shown | {"batch_bytes": len(record.batch)}
        case Certified():
            certificate, signature = decode_certificate(record.certificate)
            return plain_certificate(certificate) | {"signature": signature.hex()}
        case BlockFinal():
            return plain_final(record)
        case CycleClosed():
            return {"cycle": record.cycle, "reason": close_reason(record.reason)}
    shown = plain(record)
    assert isinstance(shown, dict)
    return shown


def close_reason(number: int) -> str:
    """For example "block" or "no-miners"."""
    return CloseReason(number).name.lower().replace("_", "-")
