"""What counts as full gain and coverage: trailing medians of work that paid, above a floor."""

from chain.params import MINIMAL
from chain.records.evaluation import References, ScoreRow
from chain.rules.scoring import QUALITY_MAX, next_references, trailing

FLOOR = MINIMAL.reference_floor


def row(gain: int, advantage: int, tickets: int = 1, norm: int = 0, segment: int = 0) -> ScoreRow:
    """A unit of good quality."""
    return ScoreRow(
        cycle=1,
        unit=0,
        miner=bytes([2]) * 33,
        segment=segment,
        parameters=1,
        samples=1,
        valid=1,
        gain=gain,
        advantage=advantage,
        volume=1,
        coverage=QUALITY_MAX,
        quality=QUALITY_MAX,
        tickets=tickets,
        merit=tickets,
        norm=norm,
    )


def test_a_quarter_of_the_way_to_the_lower_median_is_gone() -> None:
    assert trailing(1_000, [2_000, 5_000, 9_000]) == 2_000
    assert trailing(1_000, [200, 600]) == 800
    assert trailing(1_000, []) == 1_000
    assert trailing(0, [77]) == 77


def test_no_gain_or_advantage_falls_below_the_floor() -> None:
    low = References(gain=FLOOR + 1, advantage=FLOOR + 1, norm=FLOOR + 1)
    (after,) = next_references([low], [row(1, 1, norm=1)] * 3, MINIMAL)
    assert (after.gain, after.advantage) == (FLOOR, FLOOR)
    assert after.norm < FLOOR + 1


def test_units_without_tickets_and_of_other_segments_tell_nothing() -> None:
    before = References(gain=10 * FLOOR, advantage=10 * FLOOR, norm=10 * FLOOR)
    rows = [row(10**6, 10**6, tickets=0, norm=9), row(10**6, 10**6, norm=9, segment=1)]
    after, other = next_references([before, before], rows, MINIMAL)
    assert after == before
    assert other.gain > before.gain
