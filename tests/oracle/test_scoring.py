"""chain/rules/scoring.py against a second, naive scoring in fractions."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable, References
from chain.rules.scoring import agree, clamp_ratio, lower_median, score
from tests.chain.audit.mill import JOB, key
from tests.oracle import naive

losses = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-50_000, 200_000))
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
    rows = [(row.unit, row.valid, row.gain, row.advantage) for row in agree(given_tables)]
    assert rows == naive.agreed(given_tables)


@settings(deadline=None)
@given(losses, positive)
def test_a_ratio_is_clamped_and_rounded_down(value: int, reference: int) -> None:
    assert clamp_ratio(value, reference) == naive.share_of(value, reference) * naive.FULL


@settings(deadline=None)
@given(tables(), positive, positive, st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_tickets_are_volume_times_coverage_times_quality(
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
    assert [row.tickets for row in rows] == [
        naive.tickets(units[unit], valid, told_gain, told_advantage, (gain, advantage), params, JOB)
        for unit, valid, told_gain, told_advantage in naive.agreed(given_tables)
    ]
