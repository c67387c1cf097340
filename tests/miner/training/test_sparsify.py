"""Sparse updates as miners write them: the largest entries are told, well enough, come what may."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.sparse import SparseFormat, decode_sparse
from miner.training.sparsify import encode_topk

TWO_AND_A_BIT = 2 * CHUNK_ELEMENTS + 700


def normal(elements: int, seed: int, size: float) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(elements) * size).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, TWO_AND_A_BIT),
    st.integers(1, 512),
    st.integers(2, 8),
    st.floats(10, 1e5),
    st.integers(0, 2**32 - 1),
)
def test_exactly_the_largest_entries_are_told(
    elements: int, keep: int, bits: int, size: float, seed: int
) -> None:
    form = SparseFormat(elements=elements, keep=keep, value_bits=bits)
    change = normal(elements, seed, size)
    update = decode_sparse(form, encode_topk(form, change))
    told = np.zeros(elements, bool)
    told[update.places] = True
    for number, kept in enumerate(form.kept):
        part = slice(number * CHUNK_ELEMENTS, (number + 1) * CHUNK_ELEMENTS)
        sizes = np.abs(change[part])
        assert told[part].sum() == kept
        assert kept == sizes.size or sizes[told[part]].min() >= sizes[~told[part]].max()
    signs = np.sign(change[update.places])
    assert (np.sign(update.values)[signs != 0] == signs[signs != 0]).all()


@pytest.mark.parametrize(("bits", "error"), [(2, 0.1), (4, 0.01), (8, 0.0001)])
def test_more_bits_tell_values_more_closely(bits: int, error: float) -> None:
    """Share of the squared norm of the entries told that is lost."""
    form = SparseFormat(elements=CHUNK_ELEMENTS, keep=64, value_bits=bits)
    change = normal(CHUNK_ELEMENTS, 5, 3e3)
    update = decode_sparse(form, encode_topk(form, change))
    exact = change[update.places].astype(np.float64)
    assert np.square(exact - update.values).sum() < error * np.square(exact).sum()


def test_no_change_is_told_as_the_smallest_one() -> None:
    """A sparse update has no way to say nothing; one unit is 2**-fraction_bits."""
    form = SparseFormat(elements=5000, keep=64, value_bits=2)
    update = decode_sparse(form, encode_topk(form, np.zeros(5000, np.float32)))
    assert set(np.abs(update.values).tolist()) == {1}


def test_a_change_beyond_the_format_saturates() -> None:
    form = SparseFormat(elements=CHUNK_ELEMENTS, keep=64, value_bits=8)
    change = np.full(CHUNK_ELEMENTS, -1e12, np.float32)
    update = decode_sparse(form, encode_topk(form, change))
    assert set(update.values.tolist()) == {-(255 << 15)}
