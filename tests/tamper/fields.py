"""Every field of a record, one after the other, with another value in it that still decodes."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.errors import DecodeError

Variant = tuple[str, Any]
"""(where the change is, the changed value)."""


def variants(value: Any) -> Iterator[Variant]:
    """Of a record, an integer, bytes, or a list of them."""
    if isinstance(value, Record):
        for name in value.__struct_fields__:
            for path, changed in variants(getattr(value, name)):
                yield f".{name}{path}", replace(value, **{name: changed})
    elif isinstance(value, int):
        yield "", value + 1
        yield "", value - 1
    elif isinstance(value, bytes) and value:
        yield "", bytes([value[0] ^ 1]) + value[1:]
        yield "", value[:-1] + bytes([value[-1] ^ 0x80])
    elif isinstance(value, tuple):
        for place, each in enumerate(value):
            for path, changed in variants(each):
                yield f"[{place}]{path}", (*value[:place], changed, *value[place + 1 :])
        if value:
            yield "[less]", value[:-1]
            yield "[twice]", (*value, value[-1])
        if len(value) > 1:
            yield "[turned]", tuple(reversed(value))


def changed_fields(record: Record) -> Iterator[tuple[str, Record]]:
    """Each variant that is a record again: what remains must be found by a rule, not by a width."""
    for path, changed in variants(record):
        try:
            if decode(type(record), encode(changed)) != record:
                yield path, changed
        except (DecodeError, OverflowError):
            continue
