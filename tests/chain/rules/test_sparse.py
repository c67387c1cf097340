"""Sparse updates: one encoding for each content, bounds before anything is unpacked."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_safetensors

from bft.errors import DecodeError
from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.sparse import (
    EXPONENTS,
    QUOTIENTS,
    REMAINDERS,
    SPARSE_EXPONENT_MAX,
    VALUES,
    Ints,
    SparseFormat,
    SparseUpdate,
    decode_sparse,
    encode_sparse,
)
from chain.rules.tensors import Tensor, encode_tensors, header_bytes

FORM = SparseFormat(elements=2 * CHUNK_ELEMENTS + 100, keep=64, value_bits=2)


def drawn(form: SparseFormat, seed: int) -> tuple[Ints, Ints, Ints]:
    """Places, odd multiples and exponents from a seed."""
    generator = np.random.default_rng(seed)
    parts = [
        np.sort(generator.choice(length, kept, replace=False)) + number * CHUNK_ELEMENTS
        for number, (length, kept) in enumerate(zip(form.lengths, form.kept, strict=True))
    ]
    odd = 2 * generator.integers(0, 1 << form.value_bits - 1, form.entries) + 1
    signs = generator.choice([-1, 1], form.entries)
    return np.concatenate(parts), odd * signs, generator.integers(0, 16, form.chunks)


def sample(form: SparseFormat, seed: int) -> bytes:
    """A file."""
    return encode_sparse(form, *drawn(form, seed))


def encoded_again(form: SparseFormat, update: SparseUpdate) -> bytes:
    """The file of what was decoded, from nothing but places and values."""
    odd, exponents = update.values.copy(), np.zeros(form.chunks, np.int64)
    chunk = update.places // CHUNK_ELEMENTS
    for number in range(form.chunks):
        while (odd[chunk == number] % 2 == 0).all():
            odd[chunk == number] //= 2
            exponents[number] += 1
    return encode_sparse(form, update.places, odd, exponents)


def parts(data: bytes) -> dict[str, Any]:
    """The file's tensors, by the library's own reader."""
    return {name: tensor.copy() for name, tensor in load_safetensors(data).items()}


forms = st.builds(
    SparseFormat,
    elements=st.integers(1, 3 * CHUNK_ELEMENTS),
    keep=st.integers(1, CHUNK_ELEMENTS),
    value_bits=st.integers(2, 8),
)


@settings(deadline=None)
@given(forms, st.integers(0, 2**32 - 1))
def test_what_was_encoded_is_decoded(form: SparseFormat, seed: int) -> None:
    places, odd, exponents = drawn(form, seed)
    data = encode_sparse(form, places, odd, exponents)
    assert len(data) <= form.bytes_max
    update = decode_sparse(form, data)
    assert np.array_equal(update.places, places)
    assert np.array_equal(update.values, odd << np.repeat(exponents, form.kept))
    dense = update.dense(form.elements)
    assert np.count_nonzero(dense) == form.entries
    assert np.abs(dense).max() < 1 << 23


def content(form: SparseFormat, data: bytes) -> tuple[bytes, bytes]:
    update = decode_sparse(form, data)
    return update.places.tobytes(), update.values.tobytes()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 300), st.integers(1, 4096), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_a_changed_byte_is_refused_or_says_something_else(
    elements: int, keep: int, bits: int, seed: int
) -> None:
    """Exactly one encoding: whatever another file decodes to, it is not the same content."""
    form = SparseFormat(elements=elements, keep=keep, value_bits=bits)
    data = encode_sparse(form, *drawn(form, seed))
    original = content(form, data)
    generator = np.random.default_rng(seed)
    start = header_bytes(data)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= int(generator.integers(1, 256))
        try:
            other = decode_sparse(form, bytes(changed))
        except DecodeError:
            continue
        assert place >= start, "two headers mean the same"
        assert (other.places.tobytes(), other.values.tobytes()) != original
        assert other.places.min() >= 0
        assert other.places.max() < elements
        assert (np.diff(other.places) > 0).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_whatever_decodes_encodes_to_the_same_bytes(seed: int) -> None:
    """Random sections below an honest header: what gets through is canonical."""
    generator = np.random.default_rng(seed)
    form = SparseFormat(elements=6, keep=4096, value_bits=2)
    tensors = {
        EXPONENTS: generator.integers(0, 17, 1).astype(np.uint8),
        QUOTIENTS: generator.integers(0, 256, int(generator.integers(1, 3))).astype(np.uint8),
        REMAINDERS: np.zeros(0, np.uint8),
        VALUES: generator.integers(0, 256, 2).astype(np.uint8) & np.array([255, 240], np.uint8),
    }
    if generator.random() < 0.5:  # the one list of gaps that fits, so that some get through
        tensors[QUOTIENTS] = np.array([0b11111100], np.uint8)
    data = encode_tensors(tensors)
    try:
        update = decode_sparse(form, data)
    except DecodeError:
        return
    assert encoded_again(form, update) == data


def refused(changed: dict[str, Tensor], text: str) -> None:
    data = parts(encode_sparse(FORM, *drawn(FORM, 1)))
    with pytest.raises(DecodeError, match=text):
        decode_sparse(FORM, encode_tensors(data | changed))


def test_an_exponent_out_of_range_is_refused() -> None:
    refused({EXPONENTS: np.array([0, 16, 0], np.uint8)}, "exponent 16; 0 to 15 allowed")


def test_too_few_and_too_many_quotients_are_refused() -> None:
    size = parts(encode_sparse(FORM, *drawn(FORM, 1)))[QUOTIENTS].size
    refused({QUOTIENTS: np.zeros(size, np.uint8)}, "0 quotients came; this format tells 130")
    refused({QUOTIENTS: np.full(size, 255, np.uint8)}, "quotients came; this format tells 130")


def test_bytes_that_tell_nothing_are_refused() -> None:
    data = parts(encode_sparse(FORM, *drawn(FORM, 1)))
    longer = np.concatenate([data[QUOTIENTS], np.zeros(1, np.uint8)])
    refused({QUOTIENTS: longer}, "end in bytes that tell nothing")
    values = data[VALUES].copy()
    values[-1] |= 1  # 130 values of two bits: four bits at the end are not used
    refused({VALUES: values}, "'values' ends in bits that tell nothing and are not 0")


def test_an_entry_beyond_its_chunk_is_refused() -> None:
    """The first gap as long as it can be: everything after it moves out of the chunk."""
    places, odd, exponents = drawn(FORM, 1)
    far = places.copy()
    far[:64] = np.arange(64) + CHUNK_ELEMENTS - 64  # the last 64 places of the first chunk
    data = parts(encode_sparse(FORM, far, odd, exponents))
    remainders = data[REMAINDERS].copy()
    assert remainders[0] >> 3 == 0  # 4032 is 126 * 32 + 0
    remainders[0] |= 1 << 3
    data[REMAINDERS] = remainders
    with pytest.raises(DecodeError, match="chunk 0 has an entry at 4096; it has 4096 weights"):
        decode_sparse(FORM, encode_tensors(data))


def test_a_bomb_is_refused_by_its_size() -> None:
    """Quotients cannot be long: before they are unpacked their bytes are counted."""
    bomb = np.zeros(FORM.quotient_bytes_max + 1, np.uint8)
    refused({QUOTIENTS: bomb}, f"1 to {FORM.quotient_bytes_max} allowed")


@pytest.mark.parametrize("cut", [0, 7, 8, 100, -1])
def test_a_file_cut_off_or_with_more_behind_it_is_refused(cut: int) -> None:
    data = encode_sparse(FORM, *drawn(FORM, 1))
    with pytest.raises(DecodeError):
        decode_sparse(FORM, data[:cut])
    with pytest.raises(DecodeError):
        decode_sparse(FORM, data + bytes(1))


def test_other_places_than_the_kept_ones_are_our_own_mistake() -> None:
    places, odd, exponents = drawn(FORM, 1)
    places[63] = CHUNK_ELEMENTS  # an entry of the first chunk moved into the second
    with pytest.raises(AssertionError, match="kept entries"):
        encode_sparse(FORM, places, odd, exponents)


def test_the_usual_format_is_more_than_two_hundred_times_smaller_than_fp32() -> None:
    form = SparseFormat(elements=1 << 20, keep=64, value_bits=2)
    places, odd, exponents = drawn(form, 7)
    data = encode_sparse(form, places, odd, np.minimum(exponents, SPARSE_EXPONENT_MAX))
    assert 4 * form.elements / len(data) > 200
