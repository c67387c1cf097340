"""A whole federation in memory: real replicas, a network with faults, and the oracles.

Drives `Replica` objects exactly as `bft.pbft.events` asks of a driver, and watches every step:
agreement, at-most-once, no vote against an earlier promise, no accusation of a correct replica.
"""

from collections.abc import Callable
from itertools import takewhile

from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
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
from bft.pbft.messages import Message, Verified, sign_message
from bft.pbft.replica import Config, Recovered, Replica
from bft.pbft.snapshots import state_root
from tests.bft.pbft.disk import HOLE, App, Node
from tests.bft.pbft.identities import key, members, opened, request, signer
from tests.bft.pbft.network import Network, below
from tests.bft.pbft.oracles import Oracles

WALL_0 = 1_800_000_000_000
TICK_MS = 50
TICK = Tick()

Outgoing = Callable[[int, int, bytes], list[bytes]]


class Cluster(Network, Oracles):
    """n replicas, and what drives them."""

    def __init__(self, n: int = 4, seed: int = 0, *, ballast: bytes = b"", **config: int) -> None:
        Network.__init__(self, n, seed)
        Oracles.__init__(self)
        self.ballast = ballast
        self.members = members(n)
        self.config = {
            "checkpoint_interval": 8,
            "window": 16,
            "probation_ms": 0,
            **config,
        }
        self.nodes = [Node(index=i) for i in range(n)]
        self.sync = (0, 3)  # ms
        self.outgoing: Outgoing = lambda source, to, data: [data]
        self.incoming: Callable[[int, Verified], bool] = lambda to, message: True
        for node in self.nodes:
            self.start(node.index)

    # time

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
        self.at(delay, self.ticked, index, life)

    def ticked(self, index: int, life: int) -> None:
        node = self.nodes[index]
        if node.life == life:
            if not node.paused:
                self.step(index, TICK)
            self.tick(index, life, TICK_MS)

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
            soonest, latest = self.sync
            delay = soonest + below(self.random, latest - soonest + 1)
            self.at(delay, self.flush, index, node.life)

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
        if node.outbox:
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
            self.decided(decided.sequence, digest, decided.batch)
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
            found = opened(send.message, self.members)
            assert found is not None, f"replica {source} sends what nobody can open"
            self.watch(source, found, self.nodes[source].promises)
        for to in targets:
            for data in self.outgoing(source, to, send.message):
                self.transmit(source, to, data)

    def arrive(self, to: int, data: bytes) -> None:
        node = self.nodes[to]
        if node.replica is None or node.paused:
            return
        message = opened(data, self.members)
        if message is not None and self.incoming(to, message):
            self.step(to, Received(message))

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
