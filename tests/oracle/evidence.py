"""A winner's two blocks: docs/PROTOCOL.md, section 7, "Evidence"; section 14 for the coinbase."""

from typing import Any

from tests.oracle.blocks import double
from tests.oracle.primitives import tagged

Fields = dict[str, Any]
CERTIFICATE_FIELDS = {
    "chain_id": (1, 33),
    "cycle": (37, 45),
    "height": (45, 49),
    "rank": (49, 50),
    "parent": (50, 82),
    "winner": (122, 155),
}
"""Section 13: where they stand."""


def read(certificate: bytes, name: str) -> bytes:
    """One field's bytes."""
    first, end = CERTIFICATE_FIELDS[name]
    return certificate[first:end]


def number(certificate: bytes, name: str) -> int:
    """One field's number."""
    return int.from_bytes(read(certificate, name), "little")


def winner_message(certificate: bytes, block: Fields) -> bytes:
    """What the winner signs over a block."""
    root = double(_coinbase(certificate, block))
    for sibling in block["branch"]:
        root = double(root + sibling)
    version, time = (block[name].to_bytes(4, "little") for name in ("version", "time"))
    told = version + read(certificate, "parent") + root + time
    return tagged("gristmill/block/v1", told)


def _coinbase(certificate: bytes, block: Fields) -> bytes:
    """Without its witness, and without the winner's signature."""
    authority = _push(b"GRSC" + certificate) + _push(b"GRSW")
    commitment = _push(bytes.fromhex("aa21a9ed") + block["commitment"])
    if block["slot"]:
        commitment += _push(bytes.fromhex("ecc7daa2"))
    outputs = [(block["reward"], block["payee"]), (0, b"\x6a" + authority)]
    outputs.append((0, b"\x6a" + commitment))
    if block["evidence"]:
        outputs.append((0, b"\x6a" + _push(b"GRSE" + block["evidence"])))
    script = _height(number(certificate, "height"))
    return b"".join(
        (
            (2).to_bytes(4, "little"),
            b"\x01" + bytes(32) + b"\xff" * 4 + _sized(script) + b"\xff" * 4,
            bytes([len(outputs)]),
            *(value.to_bytes(8, "little") + _sized(script) for value, script in outputs),
            bytes(4),
        )
    )


def _height(height: int) -> bytes:
    """BIP 34, then OP_0."""
    if height <= 16:
        return bytes([0x50 + height, 0])
    size = 1
    while height >= 2 ** (8 * size - 1):
        size += 1
    return bytes([size]) + height.to_bytes(size, "little") + b"\x00"


def _push(data: bytes) -> bytes:
    if len(data) < 76:
        return bytes([len(data)]) + data
    if len(data) < 256:
        return b"\x4c" + bytes([len(data)]) + data
    return b"\x4d" + len(data).to_bytes(2, "little") + data


def _sized(script: bytes) -> bytes:
    """After its length as a compact size."""
    if len(script) < 253:
        return bytes([len(script)]) + script
    return b"\xfd" + len(script).to_bytes(2, "little") + script
