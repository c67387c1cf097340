"""chain/rules/scoring.py against a second, naive scoring in fractions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.contribution import Standing, WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable, References
from chain.rules.scoring import agree, clamp_ratio, lower_median, score, struck
from tests.chain.audit.mill import JOB, key
from tests.oracle import naive

losses = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-50_000, 200_000))
positive = st.integers(1, 2**40)


@st.composite
def tables(draw: st.DrawFn) -> dict[int, EvaluationTable]:
    """Any replicas' tables over the same units."""
    units = draw(st.lists(st.integers(0, 50), unique=True, max_size=6).map(sorted))
    return {
        replica: EvaluationTable(
            cycle=1,
            rows=tuple(
                EvaluationRow(
                    unit=unit,
                    valid=draw(st.integers(0, 1)),
                    gain=draw(losses),
                    advantage=draw(losses),
                    norm=draw(st.integers(0, 2**32 - 1)),
                    replay=draw(st.integers(0, 2**16)),
                )
                for unit in units
            ),
        )
        for replica in range(draw(st.integers(1, 7)))
    }


@settings(deadline=None)
@given(st.lists(losses, min_size=1))
def test_the_median_is_the_middle_value_the_lower_of_two(values: list[int]) -> None:
    assert lower_median(values) == naive.median(values)


@settings(deadline=None)
@given(tables())
def test_medians_are_taken_column_by_column(given_tables: dict[int, EvaluationTable]) -> None:
    rows = [
        (row.unit, row.valid, row.gain, row.advantage, row.norm, row.replay)
        for row in agree(given_tables)
    ]
    assert rows == naive.agreed(given_tables)


@settings(deadline=None)
@given(losses, positive)
def test_a_ratio_is_clamped_and_rounded_down(value: int, reference: int) -> None:
    assert clamp_ratio(value, reference) == naive.share_of(value, reference) * naive.FULL


@settings(deadline=None)
@given(tables(), positive, positive, st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_tickets_are_volume_times_coverage_twice_times_quality(
    given_tables: dict[int, EvaluationTable], gain: int, advantage: int, shift: int, steps: int
) -> None:
    params = replace(MINIMAL, volume_shift=shift)
    medians = agree(given_tables)
    units = {
        row.unit: WorkUnit(
            unit=row.unit,
            miner=key("miner 0").public_key,
            segment=row.unit % JOB.segments,
            chunk=row.unit,
            steps=steps,
        )
        for row in medians
    }
    references = (References(gain=gain, advantage=advantage),) * JOB.segments
    rows = score(1, units, medians, references, params, JOB)
    assert [row.merit for row in rows] == [
        naive.tickets(units[unit], valid, told_gain, told_advantage, (gain, advantage), params, JOB)
        for unit, valid, told_gain, told_advantage, _, _ in naive.agreed(given_tables)
    ]


@settings(deadline=None)
@given(tables(), st.sets(st.integers(0, 50)), st.integers(0, 2**16))
def test_an_audited_unit_that_fails_costs_all_tickets_of_its_miner(
    given_tables: dict[int, EvaluationTable], audited: set[int], cosine: int
) -> None:
    params = replace(MINIMAL, audit_cosine=cosine)
    medians = agree(given_tables)
    miners = [key(f"miner {number}").public_key for number in range(3)]
    units = {
        row.unit: WorkUnit(
            unit=row.unit, miner=miners[row.unit % 3], segment=0, chunk=row.unit, steps=9
        )
        for row in medians
    }
    references = (References(gain=1, advantage=1),) * JOB.segments
    caught = {
        units[unit].miner
        for unit, valid, _, _, _, replay in naive.agreed(given_tables)
        if unit in audited and valid and replay < cosine
    }
    assert struck(units, medians, audited, params) == tuple(sorted(caught))
    free = score(1, units, medians, references, params, JOB)
    rows = score(1, units, medians, references, params, JOB, audited)
    for row, before in zip(rows, free, strict=True):
        assert row.tickets == (0 if row.miner in caught else before.tickets)
        assert row.audited == (row.unit in audited)


@pytest.mark.parametrize(("passed", "counts"), [((2, 0), (True, False)), ((0, 2), (True, True))])
def test_tickets_of_miners_on_trial_count_only_where_they_earned_most(
    passed: tuple[int, int], counts: tuple[bool, bool]
) -> None:
    """The first miner earns four times as much as the second."""
    params = replace(MINIMAL, trial_audits=2)
    miners = [key(f"miner {number}").public_key for number in range(2)]
    standings = {
        miner: Standing(units=1, segment=0, cycle=1, barred_until=0, passed=audits)
        for miner, audits in zip(miners, passed, strict=True)
    }
    units = {
        number: WorkUnit(unit=number, miner=miner, segment=0, chunk=number, steps=9)
        for number, miner in enumerate(miners)
    }
    references = (References(gain=100, advantage=100),) * JOB.segments
    measured = [
        EvaluationRow(unit=number, valid=1, gain=100, advantage=advantage, norm=1, replay=0)
        for number, advantage in enumerate((100, 50))
    ]
    rows = score(1, units, measured, references, params, JOB, (), standings)
    assert rows[0].merit == 4 * rows[1].merit > 0
    assert [row.tickets == row.merit for row in rows] == list(counts)
    assert [row.tickets == 0 for row in rows] == [not each for each in counts]
