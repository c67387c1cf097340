"""What consensus drives: the cycle machine's state with its client table, and how both are saved.

Pure.
"""

from collections.abc import Iterable
from typing import NamedTuple

from bft.codec.canonical import Record, decode, encode
from bft.pbft.clients import ClientTable
from bft.pbft.snapshots import STATE_BYTES_MAX, state_root
from coordinator.cycle.machine import Answer, execute
from coordinator.cycle.state import Rules, State, opening_state


class Saved(Record):
    """An application as it is stored at a checkpoint."""

    state: State
    clients: bytes


class Applied(NamedTuple):
    """What executing one batch gave."""

    first_index: int  # of the first new leaf of the score log
    records: tuple[Record, ...]
    answers: tuple[Answer, ...]


class Application:
    """The replicated state of one replica."""

    def __init__(self, rules: Rules, saved: bytes | None = None) -> None:
        """`saved`: what `save` gave, or nothing for the opening state.  Raises DecodeError."""
        self.rules = rules
        if saved is None:
            self.state, self.clients = opening_state(rules), ClientTable()
        else:
            stored = decode(Saved, saved, bytes_max=STATE_BYTES_MAX)
            self.state, self.clients = stored.state, ClientTable.decode(stored.clients)

    def execute(self, sequence: int, batch: bytes) -> Applied:
        """Apply the batch decided at `sequence`, the next one."""
        first_index = self.state.log.size
        executed = execute(self.rules, self.state, self.clients, sequence, batch)
        self.state = executed.state
        return Applied(first_index, executed.records, executed.answers)

    def root(self) -> bytes:
        """32 bytes that checkpoints vote on: they bind every chunk of `save`."""
        return state_root(self.save())

    def save(self) -> bytes:
        """Everything, for a restart and for replicas that are far behind.  The same at all."""
        return encode(Saved(state=self.state, clients=self.clients.encode()))


def resume(
    rules: Rules, saved: bytes | None, tail: Iterable[tuple[int, bytes]] = ()
) -> Application:
    """The application as it was: a saved state, and (sequence, batch) of all after it, in order.

    Raises:
        DecodeError: `saved` is damaged.
    """
    application = Application(rules, saved)
    for sequence, batch in tail:
        application.execute(sequence, batch)
    return application
