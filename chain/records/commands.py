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
from chain.records.operations import Operation, decode_operation, encode_operation

COMMANDS_MAX = 64


class Commands(Record):
    """Operations of one client, executed in this order, each for itself."""

    TAG = "gristmill.commands/1"

    # Encoded `Operation`s; none of them is `Commands` again.
    operations: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=COMMANDS_MAX)]


_TAG = Commands.TAG.encode()
_PREFIX = encode(Operation(tag=_TAG, body=b""))[: 3 + len(_TAG)]  # array, bin, length, tag


def encode_commands(records: Sequence[Record]) -> bytes:
    """The bytes that stand in a request which carries all of `records`, 1 to COMMANDS_MAX."""
    assert 1 <= len(records) <= COMMANDS_MAX, f"{len(records)} operations under one signature"
    return encode_operation(Commands(operations=tuple(map(encode_operation, records))))


def split_operations(data: bytes) -> tuple[bytes, ...]:
    """The encoded operations in a request: one, or those of `Commands`.  Not yet decoded.

    Raises:
        DecodeError: malformed `Commands`: empty, too many, or not the canonical encoding.
    """
    if not data.startswith(_PREFIX):
        return (data,)
    operation = decode(Operation, data, bytes_max=REQUEST_BYTES_MAX)
    return decode(Commands, operation.body, bytes_max=REQUEST_BYTES_MAX).operations


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
