"""The outer step: exact, independent of order, saturating, and deaf to what earned nothing."""

from fractions import Fraction
from math import floor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.errors import ConfigError, DecodeError
from chain.records.evaluation import UNITS_MAX, ScoreRow
from chain.rules.aggregation import (
    QUALITY_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    outer_step,
)
from chain.rules.updates import decode_snapshot, decode_update
from tests.chain.rules.training_job import (
    JOB,
    random_update,
    row,
    snapshot,
    update,
    weights_of,
)

BASE = snapshot(100)


def values(data: bytes, segment: int) -> set[int]:
    return set(weights_of(segment, decode_snapshot(JOB, data)))


def test_the_step_is_the_quality_weighted_mean_times_the_outer_rate() -> None:
    """(3 * 10 + 1 * 50) / 4 = 20, times 1 / 2."""
    after = outer_step(JOB, BASE, [(row(0, 0, 3), update(0, 10)), (row(1, 0, 1), update(0, 50))])
    assert values(after, 0) == {110}


def test_division_rounds_down_also_below_zero() -> None:
    assert values(outer_step(JOB, BASE, [(row(0, 0, 1), update(0, 3))]), 0) == {101}
    assert values(outer_step(JOB, BASE, [(row(0, 0, 1), update(0, -3))]), 0) == {98}


def test_a_segment_without_updates_stays() -> None:
    after = outer_step(JOB, BASE, [(row(0, 1, 5), update(1, 10))])
    assert values(after, 0) == {100}
    assert values(after, 1) == {105}


@pytest.mark.parametrize(
    "nothing",
    [row(0, 0, 0), row(0, 0, 9, valid=0), row(0, 0, 9, tickets=0)],
    ids=["no quality", "invalid", "no tickets"],
)
def test_a_unit_that_earned_nothing_moves_nothing_and_is_not_even_decoded(
    nothing: ScoreRow,
) -> None:
    assert outer_step(JOB, BASE, [(nothing, b"rubbish")]) == BASE
    with_other = [(row(1, 0, 1), update(0, 10)), (nothing, b"rubbish")]
    assert outer_step(JOB, BASE, with_other) == outer_step(JOB, BASE, with_other[:1])


def test_no_updates_give_the_same_bytes() -> None:
    assert outer_step(JOB, BASE, []) == BASE


@pytest.mark.parametrize(("start", "magnitude"), [(WEIGHT_MAX, 127), (WEIGHT_MIN, -128)])
def test_a_weight_saturates_within_32_bits(start: int, magnitude: int) -> None:
    job = replace(JOB, outer_rate_numerator=64, outer_rate_denominator=1)
    after = outer_step(job, snapshot(start), [(row(0, 0, QUALITY_MAX), update(0, magnitude, 8))])
    assert values(after, 0) == {start}


def test_bytes_that_were_not_scored_are_refused() -> None:
    with pytest.raises(DecodeError):
        outer_step(JOB, BASE, [(row(0, 0, 1), update(1, 10))])
    with pytest.raises(DecodeError):
        outer_step(JOB, BASE[:-1], [])


def test_limits_of_exactness_are_kept() -> None:
    with pytest.raises(ValueError, match="at most 65536"):
        outer_step(JOB, BASE, [(row(0, 0, QUALITY_MAX + 1), update(0, 1))])
    outer_step(JOB, BASE, [(row(0, 0, QUALITY_MAX), update(0, 1))])
    with pytest.raises(ValueError, match=f"at most {UNITS_MAX}"):
        outer_step(JOB, BASE, [(row(0, 0, 0), b"")] * (UNITS_MAX + 1))
    with pytest.raises(ConfigError):
        outer_step(replace(JOB, outer_rate_denominator=0), BASE, [])


scored = st.tuples(st.integers(0, 1), st.integers(0, QUALITY_MAX), st.integers(0, 2**16))


@settings(deadline=None, max_examples=50)
@given(st.lists(scored, max_size=6), st.randoms(use_true_random=False))
def test_order_changes_nothing_and_fractions_agree(
    units: list[tuple[int, int, int]], random: Random
) -> None:
    updates = [
        (row(unit, segment, quality), random_update(segment, seed))
        for unit, (segment, quality, seed) in enumerate(units)
    ]
    after = outer_step(JOB, BASE, updates)
    shuffled = list(updates)
    random.shuffle(shuffled)
    assert outer_step(JOB, BASE, shuffled) == after
    for segment in range(JOB.segments):
        counted = [(r.quality, data) for r, data in updates if r.segment == segment and r.quality]
        total = [Fraction(0)] * len(weights_of(segment, decode_snapshot(JOB, BASE)))
        for quality, data in counted:
            moved = weights_of(segment, decode_update(JOB, segment, data))
            total = [before + quality * change for before, change in zip(total, moved, strict=True)]
        divisor = 2 * sum(quality for quality, _ in counted) or 1
        expected = [100 + floor(change / divisor) for change in total]
        assert weights_of(segment, decode_snapshot(JOB, after)) == expected
