"""Updates: exact decoding, the norm cap, and which jobs the rules accept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.errors import ConfigError, DecodeError
from chain.records.job import make_sizes
from chain.rules.families.registry import segment_shapes
from chain.rules.jobs import OUTER_DAMPING_MAX, OUTER_RATE_MAX, check_job
from chain.rules.updates import (
    CHUNK_ELEMENTS,
    DELTA_MAX,
    EXPONENT_MAX,
    EXPONENTS,
    capped,
    decode_snapshot,
    decode_update,
    norm_cap,
    snapshot_bytes,
    squared_norm,
    update_bytes,
    update_layout,
)
from tests.chain.rules.training_job import JOB, random_update, snapshot, update

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
    assert len(update(1, 1)) == update_bytes(JOB, 1)
    assert len(snapshot(0)) == snapshot_bytes(JOB)
    assert len(decode_snapshot(JOB, snapshot(7))) == 8


def test_an_update_at_the_norm_cap_stays_and_one_past_it_is_halved() -> None:
    deltas = {"a": np.array([3, -4], np.int64)}
    assert squared_norm(deltas) == 25
    assert capped(deltas, 25) is deltas
    halved = capped(deltas, 24)
    assert halved["a"].tolist() == [1, -2]


def test_halving_rounds_towards_zero_and_ends() -> None:
    assert capped({"a": np.array([-1, 1, -7], np.int64)}, 0)["a"].tolist() == [0, 0, 0]


def test_scaling_an_update_up_buys_at_most_the_cap() -> None:
    """The strongest update that the format can say."""
    deltas = decode_update(JOB, 0, update(0, -128, EXPONENT_MAX))
    assert squared_norm(deltas) <= norm_cap(JOB, 0)


def test_the_squared_norm_is_exact_where_64_bits_are_not_enough() -> None:
    wide = {"a": np.full(2 * CHUNK_ELEMENTS + 1, -DELTA_MAX, np.int64)} | {
        f"b{number}": np.full(30 * CHUNK_ELEMENTS, DELTA_MAX, np.int64) for number in range(2)
    }
    count = 62 * CHUNK_ELEMENTS + 1
    assert squared_norm(wide) == count * DELTA_MAX**2 > 2**63


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_decoding_agrees_with_big_integers(seed: int, segment: int) -> None:
    data = random_update(segment, seed)
    deltas = decode_update(JOB, segment, data)
    norm = sum(int(v) ** 2 for part in deltas.values() for v in part.ravel())
    assert squared_norm(deltas) == norm <= norm_cap(JOB, segment)


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
