"""What counts as full in the next cycle, against a second, naive rule."""

from fractions import Fraction
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.evaluation import References, ScoreRow
from chain.rules.scoring import initial_references, next_references
from tests.chain.audit.mill import JOB

losses = st.one_of(st.integers(1, 500), st.integers(1, 2**62))  # of units with tickets


@st.composite
def rows(draw: st.DrawFn) -> list[ScoreRow]:
    return [
        ScoreRow(
            cycle=1,
            unit=unit,
            miner=b"\x02" + bytes(32),
            segment=draw(st.integers(0, JOB.segments - 1)),
            parameters=1,
            samples=1,
            valid=1,
            gain=draw(losses),
            advantage=draw(losses),
            volume=1,
            coverage=0,
            quality=draw(st.integers(0, 2**16)),
            tickets=0,
            merit=draw(st.integers(0, 3)),
            norm=draw(st.integers(0, 2**32 - 1)),
        )
        for unit in range(draw(st.integers(0, 8)))
    ]


def moved(before: int, measured: list[int]) -> int:
    """A quarter of the way to the lower median, rounded down; the first value if there is none."""
    if not measured:
        return before
    middle = sorted(measured)[(len(measured) + 1) // 2 - 1]
    return middle if before == 0 else before + floor(Fraction(middle - before, 4))


@settings(deadline=None)
@given(rows(), st.integers(0, 2**32 - 1))
def test_references_go_a_quarter_of_the_way_to_the_medians_of_each_segment(
    given_rows: list[ScoreRow], norm: int
) -> None:
    before = tuple(replace(one, norm=norm) for one in initial_references(MINIMAL, JOB))
    expected = []
    for segment in range(JOB.segments):
        own = [row for row in given_rows if row.segment == segment and row.merit > 0]
        good = [row.norm for row in own if row.quality >= 2**15]
        gain = moved(before[segment].gain, [row.gain for row in own])
        advantage = moved(before[segment].advantage, [row.advantage for row in own])
        expected.append(
            References(
                gain=max(MINIMAL.reference_floor, gain),
                advantage=max(MINIMAL.reference_floor, advantage),
                norm=moved(norm, good),
            )
        )
    assert next_references(before, given_rows, MINIMAL) == tuple(expected)
