"""Tensor files: the one canonical safetensors file of a layout, and every other one refused."""

import json
import re
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.errors import DecodeError
from chain.rules.tensors import (
    HEADER_BYTES_MAX,
    Tensor,
    TensorSpec,
    decode_tensors,
    encode_tensors,
    file_bytes,
)

TENSORS: dict[str, Tensor] = {
    "b": np.array([[1, -2, 3], [2**31 - 1, -(2**31), 0]], np.int32),
    "a": np.array([127, -128, 5], np.int8),
}
LAYOUT: dict[str, TensorSpec] = {"a": ("I8", (3,)), "b": ("I32", (2, 3))}
FILE = encode_tensors(TENSORS)


def with_header(header: object, data: bytes = FILE[-27:]) -> bytes:
    """A file with another header before the same data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def header(**changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(FILE[8 : 8 + int.from_bytes(FILE[:8], "little")])
    return fields | changed


def test_the_safetensors_library_reads_what_we_write() -> None:
    read = safetensors.numpy.load(FILE)
    assert sorted(read) == ["a", "b"]
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert (read[name] == tensor).all()


def test_what_is_read_encodes_to_the_same_bytes() -> None:
    tensors = decode_tensors(FILE, LAYOUT)
    assert encode_tensors(tensors) == FILE
    assert encode_tensors(dict(reversed(TENSORS.items()))) == FILE
    assert len(FILE) == file_bytes(LAYOUT)
    assert (tensors["b"] == TENSORS["b"]).all()


def test_a_big_endian_array_is_written_little_endian() -> None:
    assert encode_tensors(TENSORS | {"b": TENSORS["b"].astype(">i4")}) == FILE


@pytest.mark.parametrize("kind", ["float32", "int64", "uint16"])
def test_only_bytes_and_int32_are_written(kind: str) -> None:
    with pytest.raises(ValueError, match=kind):
        encode_tensors({"a": np.zeros(1, kind)})


def test_a_file_cut_anywhere_is_refused() -> None:
    for length in range(len(FILE)):
        with pytest.raises(DecodeError, match=r"came"):
            decode_tensors(FILE[:length], LAYOUT)


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(DecodeError, match=f"{len(FILE) + 1} bytes came"):
        decode_tensors(FILE + b"\0", LAYOUT)


@pytest.mark.parametrize("announced", [HEADER_BYTES_MAX + 1, 2**63, 2**64 - 1])
def test_an_oversized_header_is_refused_before_it_is_parsed(announced: int) -> None:
    with pytest.raises(DecodeError, match="at most 65536 allowed"):
        decode_tensors(announced.to_bytes(8, "little") + FILE[8:], LAYOUT)


def test_a_header_at_the_bound_is_parsed_and_told_what_is_wrong() -> None:
    file = with_header(b"{" + b" " * (HEADER_BYTES_MAX - 2) + b"}")
    with pytest.raises(DecodeError, match="missing: 'a', 'b'; not expected: none"):
        decode_tensors(file, LAYOUT)


SPEC = {"dtype": "I8", "shape": [3], "data_offsets": [0, 3]}
REFUSED = [
    (header(c=SPEC), "not expected: 'c'"),
    ({"a": SPEC}, "missing: 'b'"),
    (header(__metadata__={"a": "b"}), "not expected: '__metadata__'"),
    (header(a=SPEC | {"dtype": "F32"}), "'a' is F32; it must be I8"),
    (header(a=SPEC | {"dtype": "U8"}), "'a' is U8; it must be I8"),
    (header(a=SPEC | {"shape": [4]}), r"'a' has shape [4]; it must be (3,)"),
    (header(a=SPEC | {"shape": [3, 1]}), "'a' has shape [3, 1]"),
    (header(a=SPEC | {"shape": [2**80]}), "'a' has shape"),
    (header(a=SPEC | {"data_offsets": [0, 4]}), "other offsets"),
    (header(b=header()["b"] | {"data_offsets": [0, 24]}), "other offsets"),
    (header(a=SPEC | {"data_offsets": [-3, 0]}), "other offsets"),
    (header(a=SPEC | {"extra": 1}), "other offsets"),
    (header(a=[1]), "'a' is None"),
    (b'{"a":1,"a":2}', "a key appears twice"),
    ([], "is a list"),
    (b"null", "is a NoneType"),
    (b"{" * 20_000, "no JSON object"),
    (b"[" * 20_000, "no JSON object"),
    (b"9" * 20_000, "no JSON object"),
    (b"\xff\xfe", "no JSON object"),
    (b"", "no JSON object"),
    ({"x" * 9_000 + str(number): 1 for number in range(5)}, "and 2 more"),
]


@pytest.mark.parametrize(("wrong", "text"), REFUSED, ids=range(len(REFUSED)))
def test_another_header_is_refused_with_its_difference(wrong: object, text: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(text)) as caught:
        decode_tensors(with_header(wrong), LAYOUT)
    assert len(str(caught.value)) < 400


def test_a_second_spelling_of_the_right_header_is_refused() -> None:
    with pytest.raises(DecodeError, match="spelling"):
        decode_tensors(with_header(header()), LAYOUT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_floating_tensor_is_refused_whatever_it_holds(value: float) -> None:
    file = safetensors.numpy.save(
        {"a": np.full(3, 1, np.int8), "b": np.full((2, 3), value, np.float32)}
    )
    with pytest.raises(DecodeError, match="'b' is F32; it must be I32"):
        decode_tensors(file, LAYOUT)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_our_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_tensors(data, LAYOUT)


@settings(deadline=None)
@given(st.integers(0, len(FILE) - 28), st.integers(1, 255))
def test_a_flipped_byte_before_the_data_is_refused(place: int, flip: int) -> None:
    changed = bytearray(FILE)
    changed[place] ^= flip
    with pytest.raises(DecodeError):
        decode_tensors(bytes(changed), LAYOUT)
