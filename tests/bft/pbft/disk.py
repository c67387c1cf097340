"""One machine of the cluster: its disk, which loses what is unsynced, and a small application."""

from contextlib import suppress
from dataclasses import dataclass, field

from bft.codec.canonical import Record, decode, encode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request, open_request
from bft.pbft.clients import ClientTable
from bft.pbft.config import Config
from bft.pbft.epoch import boundary
from bft.pbft.events import Accuse, Decided, InstallState, Refilled, Send, StableCheckpoint
from bft.pbft.replica import Replica
from bft.pbft.snapshots import state_root
from tests.bft.pbft.identities import CHAIN
from tests.bft.pbft.promises import Place, permits


class Change(Record):
    """The operation that ends an epoch: the machines of the next one."""

    TAG = "test.change/1"

    epoch: int
    machines: tuple[int, ...]


class Saved(Record):
    """An application on disk."""

    interval: int
    window: int
    machines: tuple[int, ...]
    eras: tuple[tuple[tuple[int, ...], int], ...]
    coming: tuple[int, ...]
    last: int | None
    clients: bytes
    root: bytes
    executed: tuple[tuple[bytes, int], ...]
    ballast: bytes


@dataclass
class App:
    """What a coordinator does with decided batches, in small."""

    interval: int = 1
    window: int = 2
    machines: tuple[int, ...] = ()  # members of the running epoch
    eras: list[tuple[tuple[int, ...], int]] = field(default_factory=list)  # before it, with ends
    coming: tuple[int, ...] = ()  # members of the next epoch, once that is decided
    last: int | None = None  # of the running epoch, once that is decided
    clients: ClientTable = field(default_factory=ClientTable)
    root: bytes = bytes(32)
    executed: list[tuple[bytes, int]] = field(default_factory=list)
    ballast: bytes = b""  # makes the state as large as a test needs it

    @property
    def epoch(self) -> int:
        return len(self.eras)

    def lists(self) -> list[tuple[int, ...]]:
        """The members of all epochs so far."""
        return [*(machines for machines, _ in self.eras), self.machines]

    def execute(self, sequence: int, batch: bytes) -> int | None:
        """The last sequence of the epoch that `sequence` is in, if that is known."""
        last = self.last
        for data in decode_batch(batch).requests:
            message: Request = open_request(data, CHAIN)
            if self.clients.fresh(message.client, message.cseq):
                self.clients.mark(message.client, message.cseq, sequence)
                self.executed.append((message.client, message.cseq))
                self.root = sha256(self.root + data)
                self.change(sequence, message.operation)
        last = last or self.last
        if sequence == last:
            self.eras.append((self.machines, sequence))
            self.machines, self.coming, self.last = self.coming, (), None
        return last

    def change(self, sequence: int, operation: bytes) -> None:
        """A member list, if it is one for the next epoch and the first."""
        with suppress(DecodeError):
            change = decode(Change, operation)
            if change.epoch == self.epoch + 1 and self.last is None:
                self.coming = change.machines
                self.last = boundary(sequence, interval=self.interval, window=self.window)

    def save(self) -> bytes:
        return encode(
            Saved(
                interval=self.interval,
                window=self.window,
                machines=self.machines,
                eras=tuple(self.eras),
                coming=self.coming,
                last=self.last,
                clients=self.clients.encode(),
                root=self.root,
                executed=tuple(self.executed),
                ballast=self.ballast,
            )
        )

    def state_root(self) -> bytes:
        return state_root(self.save())

    @classmethod
    def load(cls, saved: bytes) -> "App":
        found = decode(Saved, saved)
        return cls(
            interval=found.interval,
            window=found.window,
            machines=found.machines,
            eras=list(found.eras),
            coming=found.coming,
            last=found.last,
            clients=ClientTable.decode(found.clients),
            root=found.root,
            executed=list(found.executed),
            ballast=found.ballast,
        )


HOLE = (b"", b"")
"""Where a batch was skipped by a state transfer."""


@dataclass
class Node:
    """One machine: a replica (None while it is down), its disk, and what is on its way out."""

    index: int
    app: App = field(default_factory=App)
    replica: Replica | None = None
    config: Config | None = None  # of the replica
    up: bool = False
    ended: bool = False  # the replica's epoch is over
    journal: list[tuple[int, bytes]] = field(default_factory=list)
    table: list[tuple[bytes, bytes]] = field(default_factory=list)  # (batch, proof) by sequence - 1
    roots: dict[int, tuple[bytes, int | None]] = field(default_factory=dict)  # at checkpoints
    saved: tuple[int, bytes] | None = None  # the state at the last checkpoint
    installed: list[int] = field(default_factory=list)  # sequences of transferred states
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)
    outbox: list[Send] = field(default_factory=list)
    todo: list[tuple[int, Decided | InstallState | Refilled]] = field(default_factory=list)
    durable: int = 0
    sync_due: bool = False
    life: int = 0  # restarts; events of an earlier life are void
    paused: bool = False
    halted: str | None = None
    clock_ms: int = 0  # skew of its wall clock
    accusations: list[Accuse] = field(default_factory=list)
    stable: list[StableCheckpoint] = field(default_factory=list)
    promises: set[Place] = field(default_factory=set)  # what durable records permit to say

    def synced(self) -> None:
        """What was written is durable."""
        self.journal += self.unsynced
        for _, record in self.unsynced:
            self.promises.update(permits(record))
        self.unsynced = []
