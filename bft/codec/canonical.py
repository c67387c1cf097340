"""Records <-> the one sequence of bytes that is signed and hashed.

Thin over msgspec's MessagePack.  MessagePack has several encodings of one integer, so bytes that
came from outside count only if encoding the decoded record gives the same bytes again.
Pure.
"""

from functools import cache
from typing import Any, ClassVar, TypeVar, cast, dataclass_transform

import msgspec

from bft.errors import DecodeError

RECORD_BYTES_MAX = 16 * 1024 * 1024


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True
):
    """A value with exactly one encoding.  Fields: integers, bytes, tuples, other records.

    Anything that is signed or logged sets TAG, so that no signature or leaf serves another type.
    """

    TAG: ClassVar[str] = ""


R = TypeVar("R")

# Maps are written as they stand, because msgspec sorts text keys only: the one record that has
# maps (coordinator/cycle/state.py) keeps them sorted.
_encoder = msgspec.msgpack.Encoder()


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind, strict=True)


def encode(value: object) -> bytes:
    """The canonical bytes of a record (or of a tuple of records)."""
    return _encoder.encode(value)


def decode(kind: type[R], data: bytes, *, bytes_max: int = RECORD_BYTES_MAX) -> R:
    """The record in `data`.

    Raises:
        DecodeError: longer than `bytes_max`, malformed, wrong types or sizes, trailing bytes, or
            a second encoding of the same record.
    """
    if len(data) > bytes_max:
        raise DecodeError(f"{len(data)} bytes came for {kind.__name__}; at most {bytes_max} fit")
    try:
        value: R = _decoder(cast(Any, kind)).decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from None
    if _encoder.encode(value) != data:
        raise DecodeError(f"not the canonical encoding of a {kind.__name__}")
    return value
