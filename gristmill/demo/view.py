"""What a person sees: a live picture on a terminal, plain lines everywhere else."""

import time
from collections import deque
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gristmill.demo.observer import Picture
from gristmill.demo.story import NATS, Story

LINES_SHOWN = 12


class View(Protocol):
    """Shows a demonstration while it runs."""

    def __enter__(self) -> "View": ...

    def __exit__(self, *_: object) -> None: ...

    def say(self, line: str) -> None:
        """Something happened."""

    def show(self, picture: Picture, story: Story) -> None:
        """Everything as it is now."""


class PlainView:
    """One line for each event, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console, self._start = console, time.monotonic()

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Print it."""
        elapsed = time.monotonic() - self._start
        text = f"{elapsed:6.1f} s  {line}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, picture: Picture, story: Story) -> None:
        """Nothing: the lines say it."""


class LiveView:
    """Tables that are redrawn in place, above the newest lines."""

    def __init__(self, console: Console) -> None:
        self._start = time.monotonic()
        self._lines: deque[str] = deque(maxlen=LINES_SHOWN)
        self._live = Live(console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Keep it among the newest lines."""
        self._lines.append(f"{time.monotonic() - self._start:6.1f} s  {line}")

    def show(self, picture: Picture, story: Story) -> None:
        """Redraw."""
        lines = Panel(Text("\n".join(self._lines)), title="what happened", title_align="left")
        self._live.update(Group(_replicas(picture), _miners(picture, story), _cycles(story), lines))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", expand=True, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _replicas(picture: Picture) -> Table:
    table = _table("Replicas", "replica", "view", "cycle", "phase", "batches", "log", "height")
    for index, status in enumerate(picture.replicas):
        if status is None:
            table.add_row(str(index), Text("down", style="red"), "", "", "", "", "")
            continue
        primary = status["primary"] == index
        name = Text(f"{index} primary" if primary else str(index), style="bold" * primary)
        keys = ("view", "cycle", "phase", "sequence", "log_size", "height")
        table.add_row(name, *(str(status[key]) for key in keys))
    for index, status in enumerate(picture.nodes):
        height = "down" if status is None else str(status["height"])
        table.add_row(f"node {index}", "", "", "follows the chain", "", "", height)
    return table


def _miners(picture: Picture, story: Story) -> Table:
    table = _table("Miners", "miner", "cycle", "segment", "doing", "loss", "tickets")
    for index, view in enumerate(picture.miners):
        doing = view.event
        if doing == "training" and view.steps:
            doing = f"training {100 * view.step // view.steps} %"
        table.add_row(
            f"miner {index}",
            str(view.cycle),
            "" if view.segment is None else str(view.segment),
            doing,
            "" if view.loss is None else f"{view.loss:.3f}",
            "" if view.tickets is None else str(view.tickets),
        )
    return table


def _cycles(story: Story) -> Table:
    columns = ("cycle", "held-out loss", "accuracy", "winner", "certificate", "block")
    table = _table("Cycles", *columns)
    for cycle in sorted(story.cycles)[-8:]:
        told = story.cycles[cycle]
        table.add_row(
            str(cycle),
            f"{told.loss / NATS:.4f}" if told.records else "",
            f"{100 * told.correct / told.records:.1f} %" if told.records else "",
            story.name(told.winner) if told.winner else "",
            "signed" if told.certificates else "",
            told.block.hex()[:16] if told.block else told.closed.lower(),
        )
    return table


def choose(console: Console, plain: bool) -> View:
    """The live picture where a person watches, plain lines elsewhere."""
    return PlainView(console) if plain or not console.is_terminal else LiveView(console)
