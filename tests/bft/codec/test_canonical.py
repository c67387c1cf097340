"""One record, one sequence of bytes."""

from contextlib import suppress
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import I64, U8, U16, U63, Bytes32, GroupKey, IdentityKey, Name
from bft.errors import DecodeError


class Inner(Record):
    """A record inside another."""

    count: U16
    key: IdentityKey


class Sample(Record):
    """Every kind of field that we use."""

    TAG = "test.sample/1"

    kind: U8
    height: U63
    delta: I64
    digest: Bytes32
    name: Name
    parts: Annotated[tuple[Inner, ...], Meta(max_length=4)]


inner = st.builds(Inner, count=st.integers(0, 2**16 - 1), key=st.binary(min_size=33, max_size=33))
samples = st.builds(
    Sample,
    kind=st.integers(0, 255),
    height=st.integers(0, 2**63 - 1),
    delta=st.integers(-(2**63), 2**63 - 1),
    digest=st.binary(min_size=32, max_size=32),
    name=st.binary(min_size=1, max_size=64),
    parts=st.lists(inner, max_size=4).map(tuple),
)

ONE = Sample(
    kind=12, height=1, delta=-1, digest=bytes(32), name=b"n", parts=(Inner(count=7, key=bytes(33)),)
)


@given(samples)
def test_what_was_encoded_decodes_to_itself(sample: Sample) -> None:
    assert decode(Sample, encode(sample)) == sample


@given(samples)
def test_whatever_decodes_encodes_to_the_same_bytes(sample: Sample) -> None:
    data = encode(sample)
    assert encode(decode(Sample, data)) == data


@given(st.binary(max_size=300))
def test_random_bytes_are_a_record_or_a_decode_error(data: bytes) -> None:
    with suppress(DecodeError):
        assert encode(decode(Sample, data)) == data


@pytest.mark.parametrize(
    "twelve", [b"\xcc\x0c", b"\xcd\x00\x0c", b"\xce\x00\x00\x00\x0c", b"\xd0\x0c", b"\xd1\x00\x0c"]
)
def test_a_longer_encoding_of_an_integer_is_refused(twelve: bytes) -> None:
    data = encode(ONE)
    assert data[:2] == b"\x96\x0c"  # an array of six, its first element 12
    longer = data[:1] + twelve + data[2:]
    assert msgspec.msgpack.decode(longer)[0] == 12  # MessagePack allows it
    with pytest.raises(DecodeError, match="canonical"):
        decode(Sample, longer)


def test_a_longer_encoding_of_an_array_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode(Sample, b"\xdc\x00\x06" + encode(ONE)[1:])


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_has_32_bytes(size: int) -> None:
    fields = [*msgspec.structs.astuple(ONE)]
    fields[3] = bytes(size)
    with pytest.raises(DecodeError):
        decode(Sample, msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, -1), (0, 256), (0, True), (0, 12.0), (0, "12"), (0, None), (1, 2**63), (3, "a" * 32)],
)
def test_a_value_of_another_type_or_range_is_refused(position: int, value: object) -> None:
    fields: list[object] = [*msgspec.structs.astuple(ONE)]
    fields[position] = value
    with pytest.raises(DecodeError):
        decode(Sample, msgspec.msgpack.encode(fields))


def test_one_element_more_is_refused() -> None:
    fields: list[object] = [*msgspec.structs.astuple(ONE), 1]
    with pytest.raises(DecodeError):
        decode(Sample, msgspec.msgpack.encode(fields))


def test_a_list_at_its_bound_is_taken_and_one_past_it_refused() -> None:
    part = Inner(count=1, key=bytes(33))
    at_bound = msgspec.structs.replace(ONE, parts=(part,) * 4)
    assert decode(Sample, encode(at_bound)) == at_bound
    with pytest.raises(DecodeError):
        decode(Sample, encode(msgspec.structs.replace(ONE, parts=(part,) * 5)))


def test_every_truncation_and_trailing_byte_is_refused() -> None:
    data = encode(ONE)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            decode(Sample, data[:cut])
    with pytest.raises(DecodeError):
        decode(Sample, data + b"\x00")


def test_bytes_max_is_taken_and_one_byte_more_refused() -> None:
    data = encode(ONE)
    assert decode(Sample, data, bytes_max=len(data)) == ONE
    with pytest.raises(DecodeError, match="at most"):
        decode(Sample, data, bytes_max=len(data) - 1)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(DecodeError):
        decode(Sample, b"\x91" * 100_000)


def test_a_group_key_has_96_bytes() -> None:
    class Holder(Record):
        key: GroupKey

    assert decode(Holder, encode(Holder(key=bytes(96)))) == Holder(key=bytes(96))
    with pytest.raises(DecodeError):
        decode(Holder, encode(Holder(key=bytes(48))))
