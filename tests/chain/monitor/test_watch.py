"""Several replicas side by side: who is behind, who is silent, what is news."""

import msgspec

from chain.monitor.watch import Look, Seen, Status, lines, margin, news, phase_text, plain
from chain.params import MINIMAL

STATUS = Status(
    role="member",
    operator="alice",
    sequence=40,
    cycle=3,
    phase="REVEAL",
    height=2,
    tip="ab" * 32,
    epoch=0,
    members=4,
    peers_up=[1, 2],
    replica=0,
    primary=0,
    view=0,
)
A, B = "http://a", "http://b"


def look(a: Status | None = STATUS, b: Status | None = None, error: str = "refused") -> Look:
    return Look(
        replicas=tuple(
            Seen(url=url, status=status, error="" if status else error)
            for url, status in ((A, a), (B, b))
        )
    )


def changed(**fields: object) -> Status:
    return msgspec.structs.replace(STATUS, **fields)


def test_who_is_behind_and_who_is_silent() -> None:
    behind = changed(operator="bob", sequence=31, replica=1)
    first, second = lines(look(b=behind))
    assert (first.state, first.cells[4]) == ("primary", "0")
    assert (second.state, second.cells[4]) == ("backup", "9")
    silent = lines(look())[1]
    assert (silent.state, silent.good) == ("refused", False)
    assert lines(look(changed(active=False)))[0].state == "view change"
    observer = lines(look(changed(role="observer", view=None, reason="it joins")))[0]
    assert observer.state == "observer: it joins"


def test_the_margin_is_a_strong_quorums() -> None:
    assert "3 of 4 replicas are up, 3 are needed: none more may fail" in margin(look())
    assert "1 more may fail" in margin(look(changed(peers_up=[1, 2, 3])))
    assert "stands still" in margin(look(changed(peers_up=[1])))
    assert margin(look(None)) == "no replica answers"


def test_a_phase_with_a_clock_counts_down_and_one_without_does_not() -> None:
    limit_s = MINIMAL.reveal_ms / 1000
    assert f"{limit_s - 1:.0f} s left" in phase_text(look(), MINIMAL, 1.0)
    assert "left" not in phase_text(look(changed(phase="DRAW")), MINIMAL, 1.0)
    assert "left" not in phase_text(look(), None, 1.0)


def test_only_what_has_changed_is_news() -> None:
    assert list(news(look(), look())) == []
    assert list(news(None, look())) == [f"{B} does not answer: refused", "cycle 3: reveal"]
    moved = look(changed(phase="DRAW", height=3, view=1, tip="cd" * 32), STATUS)
    assert list(news(look(), moved)) == [
        f"{A} is in view 1 now",
        f"{B} answers again",
        "cycle 3: draw",
        "block 3 is final: cdcdcdcdcdcdcdcd",
    ]


def test_text_has_a_line_for_each_replica() -> None:
    said = plain(look(), "a phase")
    assert said[0] == "a phase" and len(said) == 5
    assert said[3].startswith("alice") and said[4].endswith(B)
