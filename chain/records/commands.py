"""Several operations under one signature: what a client with much to say sends as one request.

A signature check costs more than all the rest that a replica does for a small operation, so one
check for many of them lets the federation order several times as much (docs/adr).
Pure.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.errors import DecodeError
from bft.ordering.request import REQUEST_BYTES_MAX
from chain.records.operations import (
    PUBLIC_OPERATIONS,
    Operation,
    decode_operation,
    encode_operation,
)

COMMANDS_MAX = 64


class Commands(Record):
    """Operations of one client, executed in this order, each for itself."""

    TAG = "gristmill.commands/1"

    # Encoded `Operation`s; none of them is `Commands` again.
    operations: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=COMMANDS_MAX)]


def _prefix(kind: type[Record]) -> bytes:
    """Array, bin, length, tag: what every `Operation` of a kind begins with."""
    tag = kind.TAG.encode()
    return encode(Operation(tag=tag, body=b""))[: 3 + len(tag)]


_PREFIX = _prefix(Commands)
_ALONE = tuple(_prefix(kind) for kind in PUBLIC_OPERATIONS)
"""Each costs a pairing, and anybody may send them: one for each request that was paid for."""


def encode_commands(records: Sequence[Record]) -> bytes:
    """The bytes that stand in a request which carries all of `records`, 1 to COMMANDS_MAX."""
    assert 1 <= len(records) <= COMMANDS_MAX, f"{len(records)} operations under one signature"
    return encode_operation(Commands(operations=tuple(map(encode_operation, records))))


def split_operations(data: bytes) -> tuple[bytes, ...]:
    """The encoded operations in a request: one, or those of `Commands`.  Not yet decoded.

    Raises:
        DecodeError: malformed `Commands`: empty, too many, not the canonical encoding, or with
            one among them that must be alone in its request.
    """
    if not data.startswith(_PREFIX):
        return (data,)
    operation = decode(Operation, data, bytes_max=REQUEST_BYTES_MAX)
    operations = decode(Commands, operation.body, bytes_max=REQUEST_BYTES_MAX).operations
    if any(each.startswith(_ALONE) for each in operations):
        raise DecodeError("evidence is alone in its request; it came among commands")
    return operations


def readable_operations(data: bytes) -> list[Record]:
    """The operations in an executed request, without those that cannot be decoded."""
    found = []
    try:
        for operation in split_operations(data):
            with suppress(DecodeError):
                found.append(decode_operation(operation))
    except DecodeError:
        return []
    return found
