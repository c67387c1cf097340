"""What a person sees of a miner follows from the events that it tells, old and new."""

import io
import json
from collections.abc import Mapping

from rich.console import Console

from chain.params import MINIMAL
from chain.rules.reward import subsidy
from miner.picture import UNITS_SHOWN, Picture, Value
from miner.view import JsonView, LiveView, NoView, draw

MINER = b"\x02" * 33
STORY: tuple[tuple[str, Mapping[str, Value]], ...] = (
    ("started", {"miner": MINER.hex()}),
    ("registered", {"cycle": 7}),
    ("assigned", {"cycle": 7, "unit": 3, "segment": 1, "chunk": 3, "steps": 200}),
    (
        "training",
        {"cycle": 7, "unit": 3, "segment": 1, "step": 150, "steps": 200, "loss": 0.5},
    ),
    (
        "trained",
        {"cycle": 7, "unit": 3, "bytes": 500_000, "cpu_ms": 2_000, "energy_mj": 30_000}
        | {"energy_estimated": 1},
    ),
    ("committed", {"cycle": 7, "unit": 3}),
    ("uploaded", {"cycle": 7, "unit": 3, "bytes": 500_000, "receipts": 4}),
    ("revealed", {"cycle": 7, "unit": 3}),
    ("measured", {"cycle": 7, "unit": 3, "gain_micronats": -1_500, "tickets": 10}),
    ("scored", {"cycle": 7, "tickets": 10, "tickets_total": 40}),
    ("block", {"cycle": 7, "height": 150, "hash": "ab" * 32, "accepted": 4}),
)


def after(count: int) -> Picture:
    """The picture after so many events."""
    picture = Picture(MINIMAL)
    for event, told in STORY[:count]:
        picture.take(event, told)
    return picture


def test_a_units_way_is_followed_from_assignment_to_score() -> None:
    states = [after(count).units[7, 3].state for count in range(3, len(STORY) + 1)]
    assert states[:7] == [
        "assigned",
        "training",
        "trained",
        "committed",
        "uploaded",
        "revealed",
        "measured",
    ]
    unit = after(4).units[7, 3]
    assert (unit.segment, unit.step, unit.steps, unit.loss) == (1, 150, 200, 0.5)
    unit = after(len(STORY)).units[7, 3]
    assert (unit.step, unit.size, unit.gain, unit.tickets) == (200, 500_000, -1_500, 10)


def test_totals_are_those_of_all_events() -> None:
    picture = after(len(STORY))
    assert (picture.tickets, picture.tickets_total, picture.scored) == (10, 40, 1)
    assert (picture.uploaded_bytes, picture.cpu_ms, picture.energy_mj) == (500_000, 2_000, 30_000)
    assert picture.energy_estimated
    assert picture.rewards == subsidy(150, MINIMAL) == MINIMAL.subsidy // 2


def test_a_block_counts_once_and_only_when_somebody_took_it() -> None:
    picture = after(len(STORY))
    picture.take("block", STORY[-1][1])
    picture.take("block", {"cycle": 8, "height": 151, "hash": "cd" * 32, "accepted": 0})
    assert list(picture.blocks) == [150]


def test_only_the_newest_units_are_kept() -> None:
    picture = Picture(MINIMAL)
    for unit in range(UNITS_SHOWN + 1):
        picture.take("committed", {"cycle": 1, "unit": unit})
    assert sorted(picture.units) == [(1, unit) for unit in range(1, UNITS_SHOWN + 1)]


def test_a_silent_federation_is_told_until_it_is_heard_again() -> None:
    picture = Picture(MINIMAL)
    picture.take("federation-silent", {"reason": "0 usable answers"})
    assert picture.silent
    picture.take("registered", {"cycle": 1})
    assert not picture.silent


def test_an_event_of_another_version_does_no_harm() -> None:
    picture = Picture(MINIMAL)
    for event in ("training", "trained", "measured", "scored", "block", "unknown"):
        picture.take(event, {"cycle": "x", "step": "y"})
        picture.take(event, {})
    assert picture.tickets == 0 and not picture.blocks


def test_the_picture_shows_what_a_miner_asks_for() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(draw(after(len(STORY)), MINER, ("a line",)))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in (MINER.hex()[:16], "200 of 200", "0.500", "-0.0015", "25.0 %", "0.50 MB"):
        assert text in shown
    assert "about 30.0 J" in shown and "a line" in shown


def test_the_live_view_goes_on_from_old_totals_and_starts_no_thread() -> None:
    import threading

    stream = io.StringIO()
    before = threading.active_count()
    console = Console(file=stream, force_terminal=True, width=120, height=60)
    with LiveView(console, after(len(STORY)), MINER) as view:
        for event, told in STORY[:6]:
            view.tell(event, {**told, "cycle": 8} if "cycle" in told else told)
        assert threading.active_count() == before
    assert "committed" in stream.getvalue() and "about 60.0 J" in stream.getvalue()


def test_json_lines_are_those_of_the_events_file() -> None:
    stream = io.StringIO()
    with JsonView(stream) as view, NoView() as nothing:
        for event, told in STORY:
            view.tell(event, told)
            nothing.tell(event, told)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [event for event, _ in STORY]
    assert lines[3]["loss"] == 0.5 and lines[3]["at_ms"] > 0
