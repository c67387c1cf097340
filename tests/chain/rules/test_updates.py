"""Updates: exact decoding, the norm cap, and which jobs the rules accept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.errors import ConfigError, DecodeError
from chain.records.job import make_sizes
from chain.rules.changes import Change
from chain.rules.families.registry import segment_shapes
from chain.rules.jobs import OUTER_DAMPING_MAX, OUTER_RATE_MAX, check_job
from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.sparse import encode_sparse
from chain.rules.updates import (
    EXPONENT_MAX,
    EXPONENTS,
    decode_change,
    decode_snapshot,
    decode_update,
    norm_cap,
    snapshot_bytes,
    sparse_format,
    update_bytes_max,
    update_layout,
)
from tests.chain.rules.training_job import JOB, random_update, snapshot, update

SPARSE = replace(JOB, compression=b"topk", keep=2048, value_bits=2, fraction_bits=12)
LOOSE = replace(JOB, fraction_bits=24)


def test_a_decoded_change_is_magnitude_times_its_chunks_power_of_two() -> None:
    deltas = decode_update(JOB, 0, update(0, -3, 5))
    assert sorted(deltas) == sorted(segment_shapes(JOB, 0))
    for name, part in deltas.items():
        assert part.shape == segment_shapes(JOB, 0)[name]
        assert part.dtype == np.int64
        assert (part == -96).all()


def test_each_chunk_of_4096_weights_has_its_own_exponent() -> None:
    wide = replace(LOOSE, sizes=make_sizes(inputs=2048, width=3, depth=1, classes=2), segments=1)
    exponents = np.array([0, 3], np.int8)
    changed = {"block.0.weight" + EXPONENTS: exponents}
    weights = decode_update(wide, 0, update(0, 1, job=wide, changed=changed))[
        "block.0.weight"
    ].ravel()
    assert weights.size == 3 * 2048
    assert (weights[:CHUNK_ELEMENTS] == 1).all()
    assert (weights[CHUNK_ELEMENTS:] == 8).all()


@pytest.mark.parametrize("exponent", [-1, -128, EXPONENT_MAX + 1, 127])
def test_an_exponent_out_of_range_is_refused(exponent: int) -> None:
    with pytest.raises(DecodeError, match=f"exponent {exponent}; 0 to 16 allowed"):
        decode_update(JOB, 0, update(0, 1, exponent))


def test_an_exponent_at_the_bound_is_decoded() -> None:
    name = "auxiliary.0.bias"
    changed = {name + EXPONENTS: np.array([EXPONENT_MAX], np.int8)}
    assert (
        decode_update(LOOSE, 0, update(0, 1, job=LOOSE, changed=changed))[name] == 1 << 16
    ).all()


def test_an_update_of_another_segment_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"missing: 'auxiliary\.0\.bias'"):
        decode_update(JOB, 0, update(1, 1))


def test_a_segment_that_the_job_does_not_have_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="this job has 2"):
        update_layout(JOB, 2)


def test_sizes_are_known_beforehand() -> None:
    assert len(update(1, 1)) == update_bytes_max(JOB, 1)
    assert len(snapshot(0)) == snapshot_bytes(JOB)
    assert len(decode_snapshot(JOB, snapshot(7))) == 8


def change(*values: int) -> Change:
    return Change(len(values), None, np.array(values, np.int64))


def test_an_update_at_the_norm_cap_stays_and_one_past_it_is_halved() -> None:
    assert change(3, -4).squared_norm == 25
    assert change(3, -4).capped(25).values.tolist() == [3, -4]
    assert change(3, -4).capped(24).values.tolist() == [1, -2]


def test_halving_rounds_towards_zero_and_ends() -> None:
    assert change(-1, 1, -7).capped(0).values.tolist() == [0, 0, 0]


def test_scaling_an_update_up_buys_at_most_the_cap() -> None:
    """The strongest update that the format can say."""
    assert decode_change(JOB, 0, update(0, -128, EXPONENT_MAX)).squared_norm <= norm_cap(JOB, 0)


def test_a_sparse_update_is_capped_like_a_dense_one() -> None:
    form = sparse_format(SPARSE, 0)
    places = np.sort(np.random.default_rng(1).choice(form.elements, form.entries, replace=False))
    odd, exponents = np.full(form.entries, 3), np.full(form.chunks, 15)
    data = encode_sparse(form, places, odd, exponents)
    assert len(data) <= update_bytes_max(SPARSE, 0)
    told = decode_change(SPARSE, 0, data)
    assert told.squared_norm <= norm_cap(SPARSE, 0) < decode_sparse_norm(form.entries)
    deltas = decode_update(SPARSE, 0, data)
    assert {name: part.shape for name, part in deltas.items()} == segment_shapes(SPARSE, 0)
    flat = np.concatenate([part.ravel() for part in deltas.values()])
    assert np.flatnonzero(flat).tolist() == places.tolist()


def decode_sparse_norm(entries: int) -> int:
    """Before the cap."""
    return entries * (3 << 15) ** 2


def test_a_dense_update_is_no_sparse_one_and_the_other_way_round() -> None:
    form = sparse_format(SPARSE, 0)
    sparse = encode_sparse(
        form, np.arange(form.entries), np.ones(form.entries, np.int64), np.zeros(form.chunks)
    )
    with pytest.raises(DecodeError):
        decode_update(SPARSE, 0, update(0, 1))
    with pytest.raises(DecodeError):
        decode_update(JOB, 0, sparse)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_decoding_agrees_with_big_integers(seed: int, segment: int) -> None:
    data = random_update(segment, seed)
    deltas = decode_update(JOB, segment, data)
    norm = sum(int(v) ** 2 for part in deltas.values() for v in part.ravel())
    assert decode_change(JOB, segment, data).squared_norm == norm <= norm_cap(JOB, segment)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fraction_bits": 11},
        {"fraction_bits": 25},
        {"outer_rate_numerator": 0},
        {"outer_rate_numerator": OUTER_RATE_MAX + 1},
        {"outer_rate_denominator": 0},
        {"outer_rate_denominator": OUTER_DAMPING_MAX + 1},
        {"sizes": make_sizes(inputs=3, width=0, depth=2, classes=2)},
        {"batch_records": 0},
        {"chunk_records": 65},
        {"steps": 0},
        {"heldout_records": 0},
    ],
    ids=str,
)
def test_a_job_that_cannot_be_kept_exact_or_trained_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        check_job(replace(JOB, **wrong))


def test_a_job_at_the_bounds_is_accepted() -> None:
    check_job(replace(JOB, fraction_bits=12, outer_rate_numerator=OUTER_RATE_MAX))
    check_job(replace(JOB, fraction_bits=24, outer_rate_denominator=OUTER_DAMPING_MAX))
