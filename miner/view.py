"""What a person sees while a miner runs: a live picture, JSON lines, or nothing but the log."""

import json
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chain.bitcoin.text import amount
from miner.picture import Picture, UnitPicture, Value

LINES_SHOWN = 8
REDRAW_S = 0.1  # training tells of every step
MICRO = 1_000_000


class View(AbstractContextManager["View"], Protocol):
    """Shows what a miner tells of itself."""

    def tell(self, event: str, told: Mapping[str, Value]) -> None:
        """Something happened."""


class NoView(View):
    """The log on stderr says it all."""

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def tell(self, event: str, told: Mapping[str, Value]) -> None:
        """Nothing."""


class JsonView(View):
    """One JSON object a line, as in events.jsonl."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __exit__(self, *_: object) -> None:
        """The stream is not ours."""

    def tell(self, event: str, told: Mapping[str, Value]) -> None:
        """Write it, now."""
        line = {"at_ms": time.time_ns() // 1_000_000, "event": event, **told}
        print(json.dumps(line), file=self._stream, flush=True)


class LiveView(View):
    """A picture that is redrawn in place.  Starts no thread: training forks from this process."""

    def __init__(self, console: Console, picture: Picture, miner: bytes) -> None:
        self._picture, self._miner = picture, miner
        self._lines: deque[str] = deque(maxlen=LINES_SHOWN)
        self._live = Live(console=console, auto_refresh=False)
        self._drawn_s = 0.0

    def __enter__(self) -> "LiveView":
        self._live.start()
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._draw()
        self._live.stop()

    def tell(self, event: str, told: Mapping[str, Value]) -> None:
        """Redraw; while training, not more often than a person can see."""
        self._picture.take(event, told)
        if event != "training":
            fields = " ".join(f"{name}={_short(told[name])}" for name in told)
            self._lines.append(f"{time.strftime('%H:%M:%S')}  {event} {fields}")
        if event != "training" or time.monotonic() - self._drawn_s >= REDRAW_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        self._live.update(draw(self._picture, self._miner, tuple(self._lines)), refresh=True)


def draw(picture: Picture, miner: bytes, lines: tuple[str, ...]) -> Group:
    """The whole of it."""
    happened = Panel(Text("\n".join(lines)), title="what happened", title_align="left")
    return Group(_totals(picture, miner), _units(picture), happened)


def _totals(picture: Picture, miner: bytes) -> Table:
    table = Table(title=f"miner {miner.hex()[:16]}…", title_justify="left", expand=True)
    for column in ("cycle", "tickets", "of all", "blocks", "rewards", "uploaded", "CPU", "energy"):
        table.add_column(column, no_wrap=True)
    part = 100 * picture.tickets / picture.tickets_total if picture.tickets_total else 0.0
    about = "about " if picture.energy_estimated else ""
    table.add_row(
        str(picture.cycle) if not picture.silent else f"{picture.cycle}, federation silent",
        str(picture.tickets),
        f"{part:.1f} %" if picture.scored else "",
        str(len(picture.blocks)),
        str(amount(picture.rewards)),
        f"{picture.uploaded_bytes / 1e6:.2f} MB",
        f"{picture.cpu_ms / 1000:.1f} s",
        f"{about}{picture.energy_mj / 1000:.1f} J",
    )
    return table


def _units(picture: Picture) -> Table:
    table = Table(title="units", title_justify="left", expand=True)
    for column in ("cycle", "unit", "segment", "state", "step", "loss", "gain", "tickets"):
        table.add_column(column, no_wrap=True)
    for place in sorted(picture.units, reverse=True):
        table.add_row(*_unit_row(picture.units[place]))
    return table


def _unit_row(unit: UnitPicture) -> tuple[str, ...]:
    return (
        str(unit.cycle),
        str(unit.unit),
        "" if unit.segment is None else str(unit.segment),
        unit.state,
        f"{unit.step} of {unit.steps}" if unit.steps else "",
        "" if unit.loss is None else f"{unit.loss:.3f}",
        "" if unit.gain is None else f"{unit.gain / MICRO:+.4f}",
        "" if unit.tickets is None else str(unit.tickets),
    )


def _short(value: Value) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text if len(text) <= 20 else text[:16] + "…"
