"""The gap that a state transfer leaves in the score log, and how it is closed.

The batches that were skipped are executed once more, beside the living state: that gives the log
entries that everybody else has, and at the end it must give the state that was installed.
Pure.
"""

from dataclasses import dataclass

from coordinator.application import Application
from coordinator.cycle.state import Rules, State
from coordinator.effects import Append, Restored

BASE_EVERY = 128  # batches between two states that a restart may go on from


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGap:
    """What is missing of the log, as the journal keeps it."""

    sequence: int  # the last that is stored before the gap
    index: int  # of the first log entry that is missing
    last_sequence: int  # the last whose batch is missing
    end_index: int  # of the first log entry after the gap
    state_root: bytes  # 32 bytes, of the state after `last_sequence`
    base: bytes  # a state before the gap
    batches: tuple[tuple[int, bytes], ...]  # (sequence, batch) from `base` through `sequence`


class Diverged(Exception):
    """The batches do not lead to the state that a quorum signed."""


class Refill:
    """Executes what was skipped."""

    def __init__(self, rules: Rules, gap: LogGap) -> None:
        """Raises DecodeError: `gap.base` is damaged."""
        self._application = Application(rules, gap.base)
        self._last, self._end, self._root = gap.last_sequence, gap.end_index, gap.state_root
        for sequence, batch in gap.batches:
            self._application.execute(sequence, batch)

    @property
    def state(self) -> State:
        """The state so far inside the gap."""
        return self._application.state

    @property
    def missing(self) -> tuple[int, int]:
        """Indices of the log entries that are missing: first, and the first that is not."""
        return self._application.state.log.size, self._end

    @property
    def sequences(self) -> tuple[int, int]:
        """First and last sequence whose batches are missing."""
        return self._application.state.sequence + 1, self._last

    def execute(self, sequence: int, batch: bytes, proof: bytes) -> Restored:
        """The next batch in the gap.

        Raises:
            Diverged: it was the last, and it does not lead to the state that was installed.
        """
        applied = self._application.execute(sequence, batch)
        closed = sequence == self._last
        if closed and self._application.root() != self._root:
            raise Diverged(f"the batches through {sequence} give another state than was signed")
        append = Append(
            sequence=sequence,
            batch=batch,
            proof=proof,
            first_index=applied.first_index,
            records=applied.records,
        )
        due = not closed and sequence % BASE_EVERY == 0
        base = self._application.save() if due else None
        return Restored(append=append, base=base, closed=closed)
