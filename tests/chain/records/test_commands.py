"""Several operations under one signature: bounds, one encoding, nothing nested."""

import pytest

from bft.codec.canonical import encode
from bft.errors import DecodeError
from chain.records.commands import (
    COMMANDS_MAX,
    Commands,
    encode_commands,
    readable_operations,
    split_operations,
)
from chain.records.contribution import UpdateCommitment
from chain.records.operations import Operation, decode_operation, encode_operation


def commitment(unit: int) -> UpdateCommitment:
    return UpdateCommitment(cycle=1, unit=unit, commitment=bytes(32))


def holding(operations: tuple[bytes, ...]) -> bytes:
    return encode_operation(Commands(operations=operations))


def test_one_operation_stands_for_itself_and_several_come_apart_in_order() -> None:
    one = encode_operation(commitment(0))
    assert split_operations(one) == (one,)
    records = [commitment(unit) for unit in range(3)]
    parts = split_operations(encode_commands(records))
    assert [decode_operation(part) for part in parts] == records


def test_one_to_commands_max_fit() -> None:
    one = encode_operation(commitment(0))
    assert len(split_operations(holding((one,)))) == 1
    assert len(split_operations(holding((one,) * COMMANDS_MAX))) == COMMANDS_MAX
    for wrong in ((), (one,) * (COMMANDS_MAX + 1)):
        with pytest.raises(DecodeError):
            split_operations(holding(wrong))


def test_commands_in_commands_are_no_operation() -> None:
    inner = holding((encode_operation(commitment(0)),))
    (part,) = split_operations(holding((inner,)))
    with pytest.raises(DecodeError, match="unknown operation"):
        decode_operation(part)


def test_a_second_encoding_is_refused() -> None:
    body = encode(Commands(operations=(b"x",)))
    longer = b"\x91\xdc\x00\x01" + body[2:]  # an array of 16 bit length
    with pytest.raises(DecodeError):
        split_operations(encode(Operation(tag=Commands.TAG.encode(), body=longer)))
    with pytest.raises(DecodeError):
        split_operations(holding((b"x",)) + b"\0")


def test_readers_of_the_log_skip_what_cannot_be_read() -> None:
    good = encode_operation(commitment(5))
    assert readable_operations(holding((b"rubbish", good))) == [commitment(5)]
    assert readable_operations(holding(())) == []
    assert readable_operations(b"rubbish") == []
