"""How a model became better: held-out loss and accuracy of each cycle, from a score log's archive.

As CSV, JSON, or a plot in SVG.  The numbers are those that a strong quorum agreed on.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bft.codec.canonical import decode
from chain.audit.archive import open_archive
from chain.audit.replay import LOG_ENTRY_BYTES_MAX
from chain.records.score_log import Aggregated, LogEntry, decode_leaf

_MICRO = 1_000_000
_WIDTH, _HEIGHT, _MARGIN = 640, 320, 48
_LOSS, _ACCURACY = "#1f6f8b", "#c05621"


class Point(NamedTuple):
    """One cycle."""

    cycle: int
    loss: float  # nats per prediction, held out
    accuracy: float  # share of predictions that are right
    predictions: int
    model: str  # digest of the snapshot


def read_history(archive: Path) -> list[Point]:
    """Every cycle's model that the archive has.

    Raises:
        ConfigError: it is no archive of a score log.
        DecodeError: an entry is cut off or malformed.
    """
    points = []
    with archive.open("rb") as file:
        _, entries = open_archive(file)
        for data in entries:
            record = decode_leaf(decode(LogEntry, data, bytes_max=LOG_ENTRY_BYTES_MAX).leaf)
            if isinstance(record, Aggregated):
                share = record.correct / max(1, record.records)
                digest = record.digest.hex()
                points.append(
                    Point(record.cycle, record.loss / _MICRO, share, record.records, digest)
                )
    return points


def as_csv(points: Sequence[Point]) -> str:
    """With a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    writer.writerows(points)
    return text.getvalue()


def as_json(points: Sequence[Point]) -> str:
    """A list of objects."""
    return json.dumps([point._asdict() for point in points]) + "\n"


def as_svg(points: Sequence[Point]) -> str:
    """Loss against the left axis, accuracy against the right one, 0 to 100 %."""
    top = max((point.loss for point in points), default=1.0) or 1.0
    curves = _curve([point.loss / top for point in points], _LOSS)
    curves += _curve([point.accuracy for point in points], _ACCURACY)
    left, right = _MARGIN, _WIDTH - _MARGIN
    bottom = _HEIGHT - _MARGIN
    last = points[-1].cycle if points else 0
    first = points[0].cycle if points else 0
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<path d="M{left} {_MARGIN}V{bottom}H{right}V{_MARGIN}" fill="none" stroke="#888"/>\n'
        f'<text x="4" y="{_MARGIN}" fill="{_LOSS}">{top:.3f} nats</text>\n'
        f'<text x="4" y="{bottom}" fill="{_LOSS}">0</text>\n'
        f'<text x="{right + 4}" y="{_MARGIN}" fill="{_ACCURACY}">100 %</text>\n'
        f'<text x="{right + 4}" y="{bottom}" fill="{_ACCURACY}">0</text>\n'
        f'<text x="{left}" y="{bottom + 20}">cycle {first}</text>\n'
        f'<text x="{right}" y="{bottom + 20}" text-anchor="end">cycle {last}</text>\n'
        f"{curves}</svg>\n"
    )


def _curve(shares: Sequence[float], colour: str) -> str:
    """A line through shares of the plot's height."""
    wide, high = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    step = wide / max(1, len(shares) - 1)
    places = " ".join(
        f"{_MARGIN + number * step:.1f},{_HEIGHT - _MARGIN - share * high:.1f}"
        for number, share in enumerate(shares)
    )
    dots = "".join(
        f'<circle cx="{place.split(",")[0]}" cy="{place.split(",")[1]}" r="2.5" fill="{colour}"/>'
        for place in places.split()
    )
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}\n'
