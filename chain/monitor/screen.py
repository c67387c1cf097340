"""The watch on a terminal, by textual: replicas, last cycles, newest scores, what happens."""

import time
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Footer, Header, RichLog, Static

from chain.monitor.ask import Asker
from chain.monitor.watch import COLUMNS, CycleLine, Look, lines, margin, news, phase_text

KEY_SHOWN = 12


class Monitor(App[None]):
    """Looks every `every_s` seconds."""

    TITLE = "Gristmill"
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit"), ("r", "look", "Look now")]
    CSS = """
    #summary { height: auto; padding: 0 1; }
    #replicas { height: auto; max-height: 40%; margin: 1 0; }
    #below { height: 1fr; }
    #cycles, #scores { width: 1fr; }
    #happened { height: 8; border-top: solid $primary; }
    """

    def __init__(self, asker: Asker, every_s: float) -> None:
        super().__init__()
        self._asker, self._every_s = asker, every_s
        self._last: Look | None = None
        self._looking = False
        self._phase: tuple[int, str] | None = None
        self._since_s = time.monotonic()

    def compose(self) -> ComposeResult:
        """The parts of the screen, from top to bottom."""
        yield Header()
        yield Static(id="summary")
        yield DataTable(id="replicas", cursor_type="row", zebra_stripes=True)
        with Horizontal(id="below"):
            yield DataTable(id="cycles", cursor_type="row")
            yield DataTable(id="scores", cursor_type="row")
        yield RichLog(id="happened", max_lines=500, wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        """Columns, and the first look."""
        self._table("replicas").add_columns(*COLUMNS)
        self._table("cycles").add_columns("cycle", "loss, nats", "right", "winner", "block")
        self._table("scores").add_columns("unit", "miner", "segment", "gain", "tickets")
        self.set_interval(self._every_s, self.action_look)
        self.set_interval(1.0, self._tell_phase)
        self.action_look()

    def action_look(self) -> None:
        """Ask now, unless a look is under way: a slow replica must not undo every one."""
        if not self._looking:
            self._looking = True
            self.run_worker(self._look())

    async def _look(self) -> None:
        try:
            look = await self._asker.look()
        finally:
            self._looking = False
        log = self.query_one("#happened", RichLog)
        for sentence in news(self._last, look):
            log.write(Text(f"{time.strftime('%H:%M:%S')} {sentence}"))
        best = look.best
        if best is not None and self._phase != (best.cycle, best.phase):
            self._phase, self._since_s = (best.cycle, best.phase), time.monotonic()
        self._last = look
        self._show(look)

    def _tell_phase(self) -> None:
        if self._last is not None:
            seen_s = time.monotonic() - self._since_s
            text = f"{phase_text(self._last, self._asker.params, seen_s)}\n{margin(self._last)}"
            self.query_one("#summary", Static).update(Text(text))

    def _show(self, look: Look) -> None:
        self._tell_phase()
        rows = [(each.operator, each.state, *each.cells, each.url) for each in lines(look)]
        self._fill("replicas", rows)
        self._fill("cycles", [_cycle(line) for line in look.cycles])
        self._fill(
            "scores",
            [
                (
                    str(row.unit),
                    row.miner[:KEY_SHOWN],
                    str(row.segment),
                    str(row.gain),
                    f"{row.tickets:,}",
                )
                for row in look.scores
            ],
        )

    def _table(self, name: str) -> DataTable[Text]:
        return self.query_one(f"#{name}", DataTable)

    def _fill(self, name: str, rows: list[tuple[str, ...]]) -> None:
        """New rows under the same cursor."""
        table = self._table(name)
        at = table.cursor_row
        table.clear()
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        table.move_cursor(row=min(at, max(0, len(rows) - 1)))


def _cycle(line: CycleLine) -> tuple[str, ...]:
    right = "-"
    if line.correct is not None and line.records:
        right = f"{100 * line.correct / line.records:.1f} %"
    return (
        str(line.cycle),
        "-" if line.loss is None else f"{line.loss / 1_000_000:.4f}",
        right,
        (line.winner or "-")[:KEY_SHOWN],
        line.closed or "-" if line.height is None else str(line.height),
    )
