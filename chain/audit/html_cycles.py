"""Cycle by cycle in the report for people: a line each, in hundreds; details of the newest.

A page of thousands of cycles must open on a phone: scores and draws are told of the newest cycles,
and of those with findings, as long as the page's bounds allow; of the others, `audit explain` and
`--json` tell all.
Pure: parts of the page, one after the other, so that a long log needs no more memory than a short.
"""

import html
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator

from chain.audit.findings import CycleSummary, Figure, Throw, UnitScore
from chain.audit.html_words import COLUMNS, ENDINGS

DETAILED_CYCLES = 20  # the newest
UNITS_SHOWN_MAX = 200  # of one cycle
GROUP = 100  # cycles under one heading
KEY_SHOWN = 12  # hex digits of a key or digest
_MILLION = 1_000_000
_ONE = 1 << 16  # of the own-data test and of likeness


def cycle_parts(
    cycles: Iterable[CycleSummary], remarkable: Collection[int], date: Callable[[int], str]
) -> Iterator[str]:
    """All cycles.

    Args:
        cycles: in their order.
        remarkable: numbers of cycles to tell in detail wherever they stand.
        date: Unix seconds as people write them.
    """
    newest: deque[CycleSummary] = deque()
    group: list[str] = []
    bounds: list[int] = []

    def closed() -> Iterator[str]:
        if group:
            yield f"<details><summary>Cycles {bounds[0]} to {bounds[-1]}</summary>"
            yield from group
            yield "</details>"
            group.clear()
            bounds.clear()

    for cycle in cycles:
        newest.append(cycle)
        if len(newest) <= DETAILED_CYCLES:
            continue
        old = newest.popleft()
        if bounds and (old.cycle - 1) // GROUP != (bounds[0] - 1) // GROUP:
            yield from closed()
        bounds.append(old.cycle)
        group.append("".join(_cycle(old, date, detailed=old.cycle in remarkable)))
    yield from closed()
    for cycle in newest:
        yield from _cycle(cycle, date, detailed=True)
    if not newest:
        yield "<p>No cycle has begun.</p>"


def _cycle(cycle: CycleSummary, date: Callable[[int], str], *, detailed: bool) -> Iterator[str]:
    when = f" ({date(cycle.certified_s)})" if cycle.certified_s is not None else ""
    yield f"<details><summary>Cycle {cycle.cycle}{when}: {_outcome(cycle)}</summary>"
    yield f"<p>{_told(cycle)}</p>"
    if not cycle.scores:
        yield "<p>Nothing was scored in this cycle.</p>"
    elif not detailed:
        text = f"gristmill audit explain MINER --cycle {cycle.cycle}"
        yield f"<p>How a score and the draw came about: <code>{text}</code></p>"
    else:
        yield from _scores(cycle)
        if cycle.throws:
            yield from _draw(cycle)
    yield "</details>"


def _outcome(cycle: CycleSummary) -> str:
    if cycle.height is not None and cycle.winner is not None:
        loss = f", loss {_millionths(cycle.loss_micronats)}" if cycle.loss_micronats else ""
        return f"block {cycle.height} by miner {key(cycle.winner)}{loss}"
    return ENDINGS.get(cycle.closed, html.escape(cycle.closed or ""))


def _told(cycle: CycleSummary) -> str:
    """The cycle in sentences."""
    parts = [f"{cycle.units} units of work were given out, {cycle.revealed} came back."]
    if cycle.winner is not None and cycle.tickets is not None:
        chance = _share(cycle.tickets, cycle.tickets_total)
        how = f", after {cycle.rank} before it were passed over" if cycle.rank else ""
        parts.append(
            f"Miner {key(cycle.winner)} was drawn{how}: it held {grouped(cycle.tickets)} of "
            f"{grouped(cycle.tickets_total)} tickets, a chance of {chance}."
        )
    if cycle.loss_micronats is not None:
        parts.append(
            f"The model after it has a loss of {_millionths(cycle.loss_micronats)} nats and "
            f"answers {cycle.correct} of {cycle.records} test questions right."
        )
    if cycle.certificates:
        one = cycle.certificates == 1
        parts.append(
            f"{cycle.certificates} {'certificate' if one else 'certificates'} of the federation "
            f"{'was' if one else 'were'} checked and {'holds' if one else 'hold'}."
        )
    if cycle.block is not None:
        parts.append(f"Block {cycle.height} is <code>{cycle.block[::-1].hex()}</code>.")
    ending = ENDINGS.get(cycle.closed, html.escape(cycle.closed or ""))
    parts.append(ending[0].upper() + ending[1:] + ".")
    return " ".join(parts)


def _scores(cycle: CycleSummary) -> Iterator[str]:
    names = [figure.name for figure in cycle.scores[0].figures]
    told = ", ".join(str(index) for index in cycle.evaluators)
    yield from table(
        f"Scores, as measured by replicas {told}. Each figure is their median; where they "
        "differ, the lowest and the highest of them stand in brackets.",
        [
            ("unit", True),
            ("miner", False),
            ("segment", True),
            *((COLUMNS.get(name, html.escape(name)), True) for name in names),
            ("tickets", True),
        ],
        map(_score, cycle.scores[:UNITS_SHOWN_MAX]),
    )
    if len(cycle.scores) > UNITS_SHOWN_MAX:
        yield f"<p>{len(cycle.scores) - UNITS_SHOWN_MAX} more units are not shown.</p>"


def _score(score: UnitScore) -> list[str]:
    return [
        str(score.unit),
        key(score.miner),
        str(score.segment),
        *map(_figure, score.figures),
        grouped(score.tickets),
    ]


def _figure(figure: Figure) -> str:
    name = figure.name
    text = _measured(name, figure.median)
    if figure.lowest == figure.highest:
        return text
    return f"{text} ({_measured(name, figure.lowest)} to {_measured(name, figure.highest)})"


def _measured(name: str, value: int) -> str:
    """A field of an EvaluationRow as people read it."""
    match name:
        case "valid":
            return "yes" if value else "no"
        case "gain":
            return _millionths(value)
        case "advantage":
            return _thousandths(value)
        case "replay":
            return _thousandths(value) if value else "–"
    return grouped(value)


def _draw(cycle: CycleSummary) -> Iterator[str]:
    first = cycle.throws[0]
    last = first.first + first.tickets - 1
    seed = cycle.randomness.hex() if cycle.randomness else ""
    yield (
        "<p>The draw. All tickets lie in one row, miner after miner in the order of their keys, "
        "counted from 0. The beacon's random number, which nobody could know before the scores "
        f"were fixed, picks one point of the row: point {grouped(first.point)} of "
        f"{grouped(first.total)}. It lies between {grouped(first.first)} and {grouped(last)}, "
        f"where the tickets of miner {key(first.miner)} are. The next ranks, who may make the "
        "block if the one before them does not, are drawn in the same way among the others. "
        f"The random number: <code>{seed}</code></p>"
    )
    yield from table(
        "The draw, rank by rank.",
        [
            ("rank", True),
            ("miner", False),
            ("its tickets", True),
            ("of", True),
            ("chance", True),
            ("point drawn", True),
            ("its tickets lie at", True),
        ],
        (_throw(rank, throw) for rank, throw in enumerate(cycle.throws)),
    )


def _throw(rank: int, throw: Throw) -> list[str]:
    last = throw.first + throw.tickets - 1
    return [
        str(rank),
        key(throw.miner),
        grouped(throw.tickets),
        grouped(throw.total),
        _share(throw.tickets, throw.total),
        grouped(throw.point),
        f"{grouped(throw.first)} to {grouped(last)}",
    ]


def table(
    caption: str, columns: list[tuple[str, bool]], rows: Iterable[list[str]]
) -> Iterator[str]:
    """A table that scrolls where the screen is narrow; keyboards reach it.

    Args:
        columns: (heading, whether it holds numbers).
        rows: cells as HTML.
    """
    label = html.escape(caption.partition(".")[0], quote=True)
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>'
    yield f"<caption>{caption}</caption><thead><tr>"
    kinds = [' class="n"' if number else "" for _, number in columns]
    for (heading, _), kind in zip(columns, kinds, strict=True):
        yield f'<th scope="col"{kind}>{heading}</th>'
    yield "</tr></thead><tbody>"
    for row in rows:
        cells = zip(row, kinds, strict=True)
        yield "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in cells) + "</tr>"
    yield "</tbody></table></div>"


def key(data: bytes) -> str:
    """The beginning of a key, enough to tell keys apart."""
    return f"<code>{data.hex()[:KEY_SHOWN]}</code>"


def grouped(number: int) -> str:
    """Digits in threes, by narrow spaces."""
    return f"{number:,}".replace(",", "\u202f")


def _share(part: int, whole: int) -> str:
    """In per cent, one decimal, rounded down."""
    tenths = 1000 * part // whole if whole else 0
    return f"{tenths // 10}.{tenths % 10}\u202f%"


def _millionths(value: int | None) -> str:
    value = value or 0
    sign, size = ("-" if value < 0 else ""), abs(value)
    return f"{sign}{size // _MILLION}.{size % _MILLION:06d}"


def _thousandths(value: int) -> str:
    """2**-16 as a decimal number, rounded towards zero."""
    sign, size = ("-" if value < 0 else ""), abs(value) * 1000 // _ONE
    return f"{sign}{size // 1000}.{size % 1000:03d}"
