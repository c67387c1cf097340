"""A whole federation in memory: virtual time, one seeded queue, disks that lose what is unsynced.

Drives real `Replica` objects exactly as `bft.pbft.events` asks of a driver, and watches every step:
agreement, at-most-once, no vote against an earlier promise, no accusation of a correct replica.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from typing import Protocol

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.errors import DecodeError
from bft.membership import Membership
from bft.ordering.batch import batch_digest, decode_batch
from bft.ordering.proof import Commit, verify_quorum_proof
from bft.ordering.request import Request, open_request, seal_request
from bft.pbft.clients import ClientTable
from bft.pbft.events import (
    Accuse,
    Decided,
    Durable,
    Event,
    Executed,
    Halt,
    HistoryRead,
    InstallState,
    Persist,
    Prune,
    Received,
    Refilled,
    Send,
    ServeHistory,
    StableCheckpoint,
    Submitted,
    Tick,
)
from bft.pbft.messages import (
    Checkpoint,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Verified,
    ViewChange,
    open_message,
    sign_message,
)
from bft.pbft.replica import Config, Recovered, Replica
from bft.pbft.snapshots import state_root
from tests.bft.pbft.promises import Place, needed, permits

CHAIN = sha256(b"test federation")
WALL_0 = 1_800_000_000_000
TICK_MS = 50


class Key(Protocol):
    """What a test needs of a private key."""

    public_key: bytes

    def sign(self, message: bytes) -> bytes: ...


make_key: Callable[[bytes], Key] = PrivateKey  # tests/keyed_signatures.py puts another here


@cache
def key(name: str) -> Key:
    """A deterministic identity."""
    return make_key(sha256(name.encode()))


@cache
def members(n: int) -> Membership:
    """n replicas with deterministic keys."""
    keys = tuple(key(f"replica {i}").public_key for i in range(n))
    return Membership(chain_id=CHAIN, epoch=0, keys=keys)


_signed: dict[tuple[int, bytes], bytes] = {}
_opened: dict[bytes, Verified | None] = {}


def signer(index: int) -> Callable[[bytes], bytes]:
    """Signs as replica `index`; RFC 6979 is deterministic, so remembering changes nothing."""
    private = key(f"replica {index}")

    def sign(message: bytes) -> bytes:
        found = _signed.get((index, message))
        if found is None:
            if len(_signed) > 200_000:
                _signed.clear()
            found = _signed[index, message] = private.sign(message)
        return found

    return sign


def opened(data: bytes, membership: Membership) -> Verified | None:
    """`open_message`, remembered; None where it refuses."""
    name = sha256(data + bytes([membership.n]))
    if name not in _opened:
        if len(_opened) > 50_000:
            _opened.clear()
        try:
            _opened[name] = open_message(data, membership)
        except DecodeError:
            _opened[name] = None
    return _opened[name]


def request(client: int, cseq: int, operation: bytes = b"op") -> bytes:
    """A signed request of test client `client`."""
    private = key(f"client {client}")
    name = encode((client, cseq, operation))
    if (-1, name) not in _signed:
        _signed[-1, name] = seal_request(CHAIN, private.public_key, cseq, operation, private.sign)
    return _signed[-1, name]


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


Outgoing = Callable[[int, int, bytes], list[bytes]]


class Cluster:
    """n replicas, a network with faults, and the oracles."""

    def __init__(self, n: int = 4, seed: int = 0, *, ballast: bytes = b"", **config: int) -> None:
        self.ballast = ballast
        self.random = random.Random(seed)
        self.members = members(n)
        self.config = {
            "checkpoint_interval": 8,
            "window": 16,
            "probation_ms": 0,
            **config,
        }
        self.now = 0
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self.order = 0
        self.nodes = [Node(index=i) for i in range(n)]
        self.loss = 0  # per cent
        self.duplication = 0  # per cent
        self.delay = (1, 10)  # ms
        self.sync = (0, 3)  # ms
        self.cut: set[tuple[int, int]] = set()  # links that deliver nothing
        self.byzantine: set[int] = set()  # no oracle holds for them
        self.outgoing: Outgoing = lambda source, to, data: [data]
        self.incoming: Callable[[int, Verified], bool] = lambda to, message: True
        self.agreed: dict[int, bytes] = {}
        self.submitted: set[bytes] = set()
        self.said: dict[tuple[object, ...], bytes] = {}
        self.left: dict[int, int] = {}
        self.sent: Counter[type[Message]] = Counter()
        for node in self.nodes:
            self.start(node.index)

    # time

    def at(self, delay: int, action: Callable[[], None]) -> None:
        self.order += 1
        heapq.heappush(self.queue, (self.now + delay, self.order, action))

    def run(self, ms: int) -> None:
        """Let `ms` of virtual time pass."""
        end = self.now + ms
        while self.queue and self.queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self.queue)
            action()
        self.now = end

    def run_until(self, done: Callable[[], bool], ms: int) -> None:
        """Until `done`, at most `ms`."""
        end = self.now + ms
        while not done():
            assert self.now < end, self.describe()
            self.run(min(TICK_MS, end - self.now))

    # machines

    def start(self, index: int) -> None:
        """Start or restart from what is on the disk."""
        node = self.nodes[index]
        node.life += 1
        last, saved = node.saved or (0, App(ballast=self.ballast).save())
        node.app = App.load(saved)
        for sequence, (batch, _) in enumerate(node.table[last:], last + 1):
            node.app.execute(sequence, batch)
        node.durable = node.journal[-1][0] if node.journal else node.durable
        config = Config(membership=self.members, index=index, sign=signer(index), **self.config)
        holes = [at for at, entry in enumerate(node.table, 1) if entry == HOLE]
        recovered = Recovered(
            records=tuple(node.journal),
            executed=len(node.table),
            state=node.saved,
            gap=(holes[0], holes[-1]) if holes else None,
        )
        node.replica = Replica(config, recovered)
        for sequence in sorted(node.roots):
            if sequence <= len(node.table):
                self.step(index, Executed(sequence, node.roots[sequence]))
        self.tick(index, node.life, self.random.randrange(TICK_MS))

    def crash(self, index: int) -> None:
        """Power off: everything that was not synced is gone."""
        node = self.nodes[index]
        node.life += 1
        node.replica = None
        node.unsynced, node.outbox, node.todo, node.sync_due = [], [], [], False

    def tick(self, index: int, life: int, delay: int) -> None:
        def action() -> None:
            node = self.nodes[index]
            if node.life == life:
                if not node.paused:
                    self.step(index, Tick())
                self.tick(index, life, TICK_MS)

        self.at(delay, action)

    def step(self, index: int, event: Event) -> None:
        """One event into one replica; its effects onto disk, network and application."""
        node = self.nodes[index]
        if node.replica is None or node.halted is not None:
            return
        for effect in node.replica.step(event, self.now, WALL_0 + self.now + node.clock_ms):
            if isinstance(effect, Persist):
                last = node.unsynced[-1][0] if node.unsynced else node.durable
                assert effect.lsn == last + 1
                node.unsynced.append((effect.lsn, effect.record))
            elif isinstance(effect, Send):
                if effect.after_lsn <= node.durable:
                    self.release(index, effect)
                else:
                    node.outbox.append(effect)
            elif isinstance(effect, Decided | InstallState | Refilled):
                last = node.unsynced[-1][0] if node.unsynced else node.durable
                node.todo.append((last, effect))
            elif isinstance(effect, Prune):
                assert effect.up_to_lsn <= node.durable
                node.journal = [r for r in node.journal if r[0] > effect.up_to_lsn]
            elif isinstance(effect, Accuse):
                node.accusations.append(effect)
                if index not in self.byzantine:
                    assert effect.culprit in self.byzantine, f"{index} accuses {effect}"
            elif isinstance(effect, StableCheckpoint):
                node.stable.append(effect)
            elif isinstance(effect, ServeHistory):
                self.serve(index, effect)
            elif isinstance(effect, Halt):
                node.halted = effect.reason
                node.journal, node.unsynced = node.journal + node.unsynced, []
                assert index in self.byzantine, f"{index} halts: {effect.reason}"
        if not node.sync_due:
            node.sync_due = True
            life = node.life
            self.at(self.random.randint(*self.sync), lambda: self.flush(index, life))

    def flush(self, index: int, life: int) -> None:
        """fsync; then what waited for it."""
        node = self.nodes[index]
        if node.life != life or node.halted is not None:
            return
        node.sync_due = False
        if node.unsynced:
            node.durable = node.unsynced[-1][0]
            node.synced()
            self.step(index, Durable(node.durable))
        ready = [send for send in node.outbox if send.after_lsn <= node.durable]
        node.outbox = [send for send in node.outbox if send.after_lsn > node.durable]
        for send in ready:
            self.release(index, send)
        while node.todo and node.todo[0][0] <= node.durable:
            effect = node.todo.pop(0)[1]
            if isinstance(effect, Decided):
                self.execute(node, effect)
            elif isinstance(effect, InstallState):
                self.install(node, effect)
            else:
                self.refill(node, effect)

    def execute(self, node: Node, decided: Decided) -> None:
        assert decided.sequence == len(node.table) + 1, "in order, exactly once"
        digest = batch_digest(decided.batch)
        verify_quorum_proof(decided.proof, self.members, decided.sequence, digest)
        if node.index not in self.byzantine:
            assert self.agreed.setdefault(decided.sequence, digest) == digest, "agreement"
            for data in decode_batch(decided.batch).requests:
                assert data in self.submitted, "validity"
        node.table.append((decided.batch, decided.proof))
        node.app.execute(decided.sequence, decided.batch)
        assert len(set(node.app.executed)) == len(node.app.executed), "at most once"
        assert decided.checkpoint == (decided.sequence % self.config["checkpoint_interval"] == 0)
        state = None
        if decided.checkpoint:
            state = node.app.save()
            node.saved = (decided.sequence, state)
            node.roots[decided.sequence] = state_root(state)
        root = bytes(32) if state is None else state_root(state)
        self.step(node.index, Executed(decided.sequence, root, state))

    def install(self, node: Node, effect: InstallState) -> None:
        assert state_root(effect.state) == effect.state_root
        assert effect.first_missing == len(node.table) + 1, "states come between batches"
        node.table += [HOLE] * (effect.sequence - len(node.table))
        node.app = App.load(effect.state)
        node.saved = (effect.sequence, effect.state)
        node.installed.append(effect.sequence)

    def refill(self, node: Node, effect: Refilled) -> None:
        assert node.table[effect.sequence - 1] == HOLE
        assert HOLE not in node.table[: effect.sequence - 1], "holes are filled in order"
        digest = batch_digest(effect.batch)
        verify_quorum_proof(effect.proof, self.members, effect.sequence, digest)
        assert self.agreed.setdefault(effect.sequence, digest) == digest, "agreement"
        node.table[effect.sequence - 1] = (effect.batch, effect.proof)

    def serve(self, index: int, effect: ServeHistory) -> None:
        table = self.nodes[index].table
        asked = range(effect.from_sequence, effect.to_sequence + 1)
        held = takewhile(lambda sequence: table[sequence - 1] != HOLE, asked)
        entries = tuple((sequence, *table[sequence - 1]) for sequence in held)
        life = self.nodes[index].life
        self.at(
            1,
            lambda: (
                self.step(index, HistoryRead(effect.to, entries))
                if self.nodes[index].life == life
                else None
            ),
        )

    # network

    def release(self, source: int, send: Send) -> None:
        targets = (
            [i for i in range(self.members.n) if i != source] if send.to is None else [send.to]
        )
        if source not in self.byzantine:
            self.watch(source, send.message)
        for to in targets:
            for data in self.outgoing(source, to, send.message):
                self.transmit(source, to, data)

    def transmit(self, source: int, to: int, data: bytes) -> None:
        """Onto the wire, with whatever the wire does to it."""
        if (source, to) in self.cut:
            return
        copies = 1 + (self.random.randrange(100) < self.duplication)
        for _ in range(copies):
            if self.random.randrange(100) >= self.loss:
                self.at(self.random.randint(*self.delay), lambda: self.arrive(to, data))

    def arrive(self, to: int, data: bytes) -> None:
        node = self.nodes[to]
        if node.replica is None or node.paused:
            return
        message = opened(data, self.members)
        if message is not None and self.incoming(to, message):
            self.step(to, Received(message))

    def watch(self, source: int, data: bytes) -> None:
        """A correct replica never says two things in one place, nor goes back on its word."""
        found = opened(data, self.members)
        assert found is not None, f"replica {source} sends what nobody can open"
        message = found.message
        self.sent[type(message)] += 1
        if found.sender != source:
            return
        promise = needed(message, found.envelope)
        assert promise is None or promise in self.nodes[source].promises, (
            f"replica {source} says what no durable record of it permits: {message}"
        )
        if isinstance(message, ViewChange):
            self.once(("vc", source, message.view), found.envelope)
            self.left[source] = max(self.left.get(source, 0), message.view)
        elif isinstance(message, NewView):
            self.once(("nv", source, message.view), found.envelope)
        elif isinstance(message, PrePrepare | Prepare | Commit):
            place = (message.TAG, source, message.view, message.sequence)
            self.once(place, message.digest)
            assert message.view >= self.left.get(source, 0), f"{source} votes in a view it left"
        elif isinstance(message, Checkpoint):
            self.once(("cp", source, message.sequence), message.chain + message.state_root)

    def once(self, place: tuple[object, ...], what: bytes) -> None:
        assert self.said.setdefault(place, what) == what, f"{place} said twice"

    def split(self, *groups: set[int]) -> None:
        """Only links inside a group deliver."""
        self.cut = {
            (a, b)
            for a in range(self.members.n)
            for b in range(self.members.n)
            if not any(a in group and b in group for group in groups)
        }

    def heal(self) -> None:
        self.cut = set()
        self.loss = self.duplication = 0

    # clients and questions

    def submit(self, to: int, client: int, cseq: int, operation: bytes = b"op") -> bytes:
        """A client's request at one replica's door."""
        data = request(client, cseq, operation)
        self.submitted.add(data)
        self.step(to, Submitted(data))
        return data

    def open(self, data: bytes) -> Verified:
        """The message in a frame that a correct replica sent."""
        found = opened(data, self.members)
        assert found is not None
        return found

    def forge(self, index: int, message: Message, attachment: bytes = b"") -> bytes:
        """A frame under a Byzantine replica's key."""
        assert index in self.byzantine
        return sign_message(message, self.members, signer(index), attachment).frame

    def correct(self) -> list[Node]:
        return [
            node
            for node in self.nodes
            if node.index not in self.byzantine and node.replica is not None
        ]

    def executed_everywhere(self, client: int, cseq: int) -> bool:
        name = (key(f"client {client}").public_key, cseq)
        return all(name in node.app.executed for node in self.correct())

    def views(self) -> list[int | None]:
        return [None if node.replica is None else node.replica.view for node in self.nodes]

    def describe(self) -> str:
        lines = [f"at {self.now} ms"]
        for node in self.nodes:
            replica = node.replica
            if replica is None:
                lines.append(f"  {node.index}: down, executed {len(node.table)}")
            else:
                lines.append(
                    f"  {node.index}: view {replica.view}/{replica.pending_view} "
                    f"low {replica.low_watermark} decided {replica.last_decided} "
                    f"pool {replica.pool_size} journal {len(node.journal)}"
                )
        return "\n".join(lines)
