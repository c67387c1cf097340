"""The outer step: exact, independent of order, saturating, and deaf to what earned nothing."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.errors import ConfigError, DecodeError
from chain.records.evaluation import UNITS_MAX, ScoreRow
from chain.records.job import Job
from chain.rules.aggregation import (
    QUALITY_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
)
from chain.rules.aggregation import outer_step as outer_steps
from chain.rules.families.registry import segment_shapes
from chain.rules.sparse import encode_sparse
from chain.rules.tensors import Tensor, decode_tensors, encode_tensors
from chain.rules.updates import (
    VELOCITY,
    decode_snapshot,
    decode_update,
    snapshot_layout,
    sparse_format,
)
from tests.chain.rules.training_job import (
    JOB,
    random_update,
    row,
    snapshot,
    update,
    weights_of,
)

BASE = snapshot(100)


DRAW = bytes(range(32))


def outer_step(job: Job, base: bytes, updates: Sequence[tuple[ScoreRow, bytes]]) -> bytes:
    """The full step."""
    return outer_steps(job, base, updates, DRAW)[0]


def values(data: bytes, segment: int) -> set[int]:
    return set(weights_of(segment, decode_snapshot(JOB, data)))


def test_the_step_is_the_quality_weighted_mean_times_the_outer_rate() -> None:
    """(3 * 10 + 1 * 50) / 4 = 20, times 1 / 2."""
    after = outer_step(JOB, BASE, [(row(0, 0, 3), update(0, 10)), (row(1, 0, 1), update(0, 50))])
    assert values(after, 0) == {110}


def test_division_rounds_half_up_also_below_zero() -> None:
    assert values(outer_step(JOB, BASE, [(row(0, 0, 1), update(0, 3))]), 0) == {102}
    assert values(outer_step(JOB, BASE, [(row(0, 0, 1), update(0, -3))]), 0) == {99}


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


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


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
        divisor = sum(quality for quality, _ in counted) or 1
        merged = [half_up(change / divisor) for change in total]
        expected = [100 + half_up(Fraction(change, 2)) for change in merged]
        assert weights_of(segment, decode_snapshot(JOB, after)) == expected


BRISK = replace(
    JOB,
    outer_momentum=3 << 14,  # 0.75
    backtracking=2,
    outer_rate_numerator=1,
    outer_rate_denominator=1,
)


def everything(data: bytes) -> dict[str, Tensor]:
    return decode_tensors(data, snapshot_layout(BRISK))


def resting(value: int) -> bytes:
    """All weights have this value, all velocities are 0."""
    tensors = {
        name: part * (not name.startswith(VELOCITY))
        for name, part in everything(snapshot(value, BRISK)).items()
    }
    return encode_tensors(tensors)


def test_momentum_is_nesterovs_and_lives_in_the_snapshot() -> None:
    """v = 40, step 40 + 30; then v = 30 + 40, step 40 + 52 (52.5 towards 0)."""
    once = outer_step(BRISK, resting(100), [(row(0, 0, 1), update(0, 40))])
    assert weight_and_velocity(once) == (170, 40)
    twice = outer_step(BRISK, once, [(row(0, 0, 1), update(0, 40))])
    assert weight_and_velocity(twice) == (262, 70)
    third = outer_step(BRISK, twice, [(row(0, 0, 1), update(0, -40))])  # v = 52 - 40
    assert weight_and_velocity(third) == (262 - 40 + 9, 12)


def weight_and_velocity(data: bytes) -> tuple[int, int]:
    """Of segment 0, where all are equal."""
    found = everything(data)
    names = sorted(segment_shapes(BRISK, 0))
    (weight,) = {int(value) for name in names for value in found[name].ravel()}
    (velocity,) = {int(value) for name in names for value in found[VELOCITY + name].ravel()}
    return weight, velocity


def test_a_segment_without_updates_keeps_its_velocity() -> None:
    once = outer_step(BRISK, resting(100), [(row(0, 0, 1), update(0, 40))])
    assert outer_step(BRISK, once, [(row(0, 1, 0), update(1, 9))]) == once


def test_a_velocity_dies_out_when_nothing_feeds_it() -> None:
    data = outer_step(BRISK, resting(0), [(row(0, 0, 1), update(0, -100))])
    for _ in range(40):
        data = outer_step(BRISK, data, [(row(0, 0, 1), update(0, 0))])
    assert weight_and_velocity(data)[1] == 0
    assert outer_step(BRISK, data, [(row(0, 0, 1), update(0, 0))]) == data


def test_back_tracking_halves_the_step_and_never_the_velocity() -> None:
    made = outer_steps(BRISK, resting(100), [(row(0, 0, 1), update(0, 41))], DRAW)
    assert [weight_and_velocity(data) for data in made] == [(171, 41), (136, 41), (118, 41)]


def test_without_updates_every_halving_is_the_base() -> None:
    assert outer_steps(BRISK, resting(5), [], DRAW) == (resting(5),) * 3


@pytest.mark.parametrize("rule", [b"mean", b"multi-krum"])
def test_sparse_updates_merge(rule: bytes) -> None:
    """Each unit tells one weight of each segment; the others stay."""
    job = replace(JOB, compression=b"topk", keep=1, value_bits=2, aggregation=rule)
    job = replace(job, trim=1 if rule == b"multi-krum" else 0)
    form = sparse_format(job, 0)
    data = encode_sparse(form, np.array([5]), np.array([3]), np.array([4]))
    updates = [(row(unit, 0, 1), data) for unit in range(5)]
    weights = weights_of(0, decode_snapshot(job, outer_step(job, BASE, updates)))
    assert weights == [100] * 5 + [100 + 24] + [100] * (form.elements - 6)


def test_a_filter_with_no_agreement_leaves_the_segment_alone() -> None:
    """Two updates in opposite directions: neither is a majority."""
    job = replace(JOB, agreement=1 << 15)
    updates = [(row(0, 0, 1), update(0, 10)), (row(1, 0, 1), update(0, -10))]
    assert outer_step(job, BASE, updates) == BASE
    assert outer_step(job, BASE, updates[:1]) != BASE


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([(b"median", 0), (b"trimmed-mean", 1), (b"multi-krum", 1), (b"mean", 0)]),
    st.sampled_from([0, 60_000, 80_000]),
    st.lists(st.tuples(st.integers(1, QUALITY_MAX), st.integers(0, 2**16)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_no_rule_depends_on_the_order_of_updates(
    rule: tuple[bytes, int], agreement: int, units: list[tuple[int, int]], random: Random
) -> None:
    aggregation, trim = rule
    job = replace(BRISK, aggregation=aggregation, trim=trim, agreement=agreement)
    updates = [
        (row(unit, 0, quality), random_update(0, seed, job))
        for unit, (quality, seed) in enumerate(units)
    ]
    made = outer_steps(job, resting(7), updates, DRAW)
    random.shuffle(updates)
    assert outer_steps(job, resting(7), updates, DRAW) == made
