"""One machine of the cluster: its disk, which loses what is unsynced, and a small application."""

from dataclasses import dataclass, field

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request, open_request
from bft.pbft.clients import ClientTable
from bft.pbft.events import Accuse, Decided, InstallState, Refilled, Send, StableCheckpoint
from bft.pbft.replica import Replica
from bft.pbft.snapshots import state_root
from tests.bft.pbft.identities import CHAIN
from tests.bft.pbft.promises import Place, permits


@dataclass
class App:
    """What a coordinator does with decided batches, in small."""

    clients: ClientTable = field(default_factory=ClientTable)
    root: bytes = bytes(32)
    executed: list[tuple[bytes, int]] = field(default_factory=list)
    ballast: bytes = b""  # makes the state as large as a test needs it

    def execute(self, sequence: int, batch: bytes) -> None:
        for data in decode_batch(batch).requests:
            message: Request = open_request(data, CHAIN)
            if self.clients.fresh(message.client, message.cseq):
                self.clients.mark(message.client, message.cseq, sequence)
                self.executed.append((message.client, message.cseq))
                self.root = sha256(self.root + data)

    def save(self) -> bytes:
        return encode((self.root, self.clients.encode(), tuple(self.executed), self.ballast))

    def state_root(self) -> bytes:
        return state_root(self.save())

    @classmethod
    def load(cls, saved: bytes) -> "App":
        kind = tuple[bytes, bytes, tuple[tuple[bytes, int], ...], bytes]
        root, clients, executed, ballast = decode(kind, saved)
        return cls(ClientTable.decode(clients), root, list(executed), ballast)


HOLE = (b"", b"")
"""Where a batch was skipped by a state transfer."""


@dataclass
class Node:
    """One machine: a replica (None while it is down), its disk, and what is on its way out."""

    index: int
    replica: Replica | None = None
    journal: list[tuple[int, bytes]] = field(default_factory=list)
    table: list[tuple[bytes, bytes]] = field(default_factory=list)  # (batch, proof) by sequence - 1
    roots: dict[int, bytes] = field(default_factory=dict)  # at checkpoints, as the journal has them
    saved: tuple[int, bytes] | None = None  # the state at the last checkpoint
    installed: list[int] = field(default_factory=list)  # sequences of transferred states
    app: App = field(default_factory=App)
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
