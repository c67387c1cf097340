"""What several replicas say, put side by side: who answers, who is behind, what has changed.

Nothing here is proven; `gristmill audit` proves.
Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bft import quorum
from chain.params import Params

LIMITS = {
    "REGISTRATION": "registration_ms",
    "TRAINING": "training_ms",
    "REVEAL": "reveal_ms",
    "EVALUATION": "evaluation_ms",
    "AGGREGATION": "snapshot_ms",
    "BLOCK": "block_ms",
}
"""Phases that end by the clock, and where their time stands; the others wait for signatures."""


Count = Annotated[int, Meta(ge=0)]
Words = Annotated[str, Meta(max_length=200)]


class Status(msgspec.Struct, frozen=True):
    """What is read of GET /v1/status."""

    role: Literal["member", "observer"]
    operator: Words
    sequence: Count
    cycle: Count
    phase: Words
    height: Count
    tip: Words
    epoch: Count
    members: Annotated[int, Meta(ge=1, le=10_000)]
    peers_up: list[int]
    replica: Count | None = None
    primary: Count | None = None
    view: Count | None = None
    active: bool = True
    reason: Words = ""


class CycleLine(msgspec.Struct, frozen=True):
    """What is read of a line of GET /v1/cycles."""

    cycle: Count
    closed: Words | None
    loss: int | None  # micro-nats
    correct: Count | None
    records: Count | None
    winner: Words | None
    height: Count | None


class Score(msgspec.Struct, frozen=True):
    """What is read of a row of a cycle's scores."""

    unit: Count
    miner: Words
    segment: Count
    gain: int  # micro-nats
    tickets: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One replica at one look."""

    url: str
    status: "Status | None"  # what /v1/status says
    error: str = ""  # why there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All replicas at one time."""

    replicas: tuple[Seen, ...]
    cycles: "tuple[CycleLine, ...]" = ()  # newest first
    scores: "tuple[Score, ...]" = ()  # of the newest scored cycle
    scored_cycle: int | None = None

    @property
    def best(self) -> "Status | None":
        """The status of whoever has executed most."""
        told = [seen.status for seen in self.replicas if seen.status is not None]
        return max(told, key=lambda status: status.sequence, default=None)


@dataclass(frozen=True, slots=True)
class Line:
    """One replica in the table."""

    url: str
    operator: str
    state: str  # "primary", "backup", "view change", "observer" or why there is nothing
    cells: tuple[str, ...] = field(default=())  # view, epoch, height, batches, behind, links
    good: bool = True


COLUMNS = ("operator", "part", "view", "epoch", "height", "batch", "behind", "links", "address")


def lines(look: Look) -> list[Line]:
    """The table of replicas, in the order in which they were named."""
    best = look.best
    newest = 0 if best is None else best.sequence
    return [_line(seen, newest) for seen in look.replicas]


def _line(seen: Seen, newest: int) -> Line:
    status = seen.status
    if status is None:
        return Line(seen.url, "?", seen.error, ("-",) * 6, False)
    behind = newest - status.sequence
    member = status.role == "member"
    cells = (
        str(status.view) if member else "-",
        str(status.epoch),
        str(status.height),
        str(status.sequence),
        str(behind),
        f"{len(status.peers_up)} of {int(status.members) - int(member)}",
    )
    return Line(seen.url, str(status.operator), _part(status), cells)


def _part(status: Status) -> str:
    if status.role != "member":
        return f"observer: {status.reason}".rstrip(": ")
    if not status.active:
        return "view change"
    return "primary" if status.replica == status.primary else "backup"


def margin(look: Look) -> str:
    """How many more replicas may fail, by the links of the one that has executed most."""
    best = look.best
    if best is None:
        return "no replica answers"
    members = best.members
    up = len(best.peers_up) + int(best.role == "member")
    spare = up - quorum.strong(members)
    text = f"{up} of {members} replicas are up, {quorum.strong(members)} are needed: "
    if spare < 0:
        return text + "the federation stands still"
    return text + (f"{spare} more may fail" if spare else "none more may fail")


def phase_text(look: Look, params: Params | None, seen_s: float) -> str:
    """The phase, how long it has been seen, and how long it may take."""
    best = look.best
    if best is None:
        return "nothing is known"
    text = f"cycle {best.cycle}: {str(best.phase).lower()}, seen for {seen_s:.0f} s"
    name = LIMITS.get(str(best.phase))
    if name is None or params is None:
        return text
    limit_s = getattr(params, name) / 1000
    return f"{text} of at most {limit_s:g} s, {max(0.0, limit_s - seen_s):.0f} s left"


def news(before: Look | None, after: Look) -> Iterator[str]:
    """What has changed between two looks, one sentence each."""
    earlier = {} if before is None else {seen.url: seen for seen in before.replicas}
    for seen in after.replicas:
        then = earlier.get(seen.url)
        if seen.status is None and (then is None or then.status is not None):
            yield f"{seen.url} does not answer: {seen.error}"
        elif seen.status is not None and then is not None and then.status is None:
            yield f"{seen.url} answers again"
        elif seen.status is not None and then is not None and then.status is not None:
            yield from _moved(seen.url, then.status, seen.status)
    old, new = None if before is None else before.best, after.best
    if new is not None and (old is None or (old.cycle, old.phase) != (new.cycle, new.phase)):
        yield f"cycle {new.cycle}: {str(new.phase).lower()}"
    if old is not None and new is not None and old.height != new.height:
        yield f"block {new.height} is final: {str(new.tip)[:16]}"


def _moved(url: str, before: Status, after: Status) -> Iterator[str]:
    if before.view != after.view and after.role == "member":
        yield f"{url} is in view {after.view} now"
    if before.epoch != after.epoch:
        yield f"{url} is in epoch {after.epoch} now"


def plain(look: Look, phase: str) -> list[str]:
    """The same as text, for whoever has no terminal."""
    said = [phase, margin(look)]
    rows: Sequence[Sequence[str]] = [
        COLUMNS,
        *((each.operator, each.state, *each.cells, each.url) for each in lines(look)),
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    said += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return said
