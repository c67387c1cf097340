"""What counts as full in the next cycle, against a second, naive rule."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.params import MINIMAL
from chain.records.evaluation import References, ScoreRow
from chain.rules.scoring import initial_references, next_references
from tests.chain.audit.mill import JOB

losses = st.one_of(st.integers(-500, 500), st.integers(-(2**62), 2**62))


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
            valid=draw(st.integers(0, 1)),
            gain=draw(losses),
            advantage=draw(losses),
            volume=1,
            coverage=0,
            quality=0,
            tickets=0,
        )
        for unit in range(draw(st.integers(0, 8)))
    ]


def naive(before: int, measured: list[int]) -> int:
    """The lower median of what is positive, never below the floor; as before if nothing is."""
    positive = sorted(value for value in measured if value > 0)
    if not positive:
        return before
    middle = positive[(len(positive) + 1) // 2 - 1]
    return max(MINIMAL.reference_floor_micronats, middle)


@settings(deadline=None)
@given(rows())
def test_references_follow_the_medians_of_each_segment_down_to_the_floor(
    given_rows: list[ScoreRow],
) -> None:
    before = initial_references(MINIMAL, JOB)
    expected = []
    for segment in range(JOB.segments):
        own = [row for row in given_rows if row.segment == segment and row.valid]
        expected.append(
            References(
                gain=naive(before[segment].gain, [row.gain for row in own]),
                advantage=naive(before[segment].advantage, [row.advantage for row in own]),
            )
        )
    assert next_references(before, given_rows, MINIMAL) == tuple(expected)
