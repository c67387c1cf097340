"""A state in the making, with the log records that its making has produced so far.

Pure.
"""

from dataclasses import dataclass, replace

from bft.codec.canonical import Record
from chain.records.score_log import hash_leaf
from chain.rules.limits import ATTEMPTS
from coordinator.cycle.state import Phase, State


@dataclass(frozen=True, slots=True)
class Draft:
    """Each step returns a new one; a step that raises has changed nothing."""

    state: State
    records: tuple[Record, ...] = ()

    def set(self, **changes: object) -> "Draft":
        """With these fields of the state changed."""
        return replace(self, state=self.state.set(**changes))

    def log(self, record: Record) -> "Draft":
        """With one more leaf in the score log."""
        state = self.state.set(log=self.state.log.push(hash_leaf(record)))
        return Draft(state=state, records=(*self.records, record))

    def enter(self, phase: Phase, **changes: object) -> "Draft":
        """In another phase, its clocks and shares fresh."""
        return self.set(phase=int(phase), attempt=0, elapsed=(), shares={}, faulty=(), **changes)

    def extend(self) -> "Draft":
        """The same phase gets its time once more."""
        return self.set(attempt=(self.state.attempt + 1) % ATTEMPTS, elapsed=())
