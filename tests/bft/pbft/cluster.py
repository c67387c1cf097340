"""A whole federation in memory: real replicas, a network with faults, and the oracles.

Drives `Replica` objects exactly as `bft.pbft.events` asks of a driver, and watches every step:
agreement, at-most-once, no vote against an earlier promise, no accusation of a correct replica.
"""

from collections.abc import Callable
from itertools import takewhile

from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
from bft.pbft.config import Era
from bft.pbft.events import (
    Accuse,
    Decided,
    Durable,
    EpochEnded,
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
from bft.pbft.messages import Message, Verified, claimed_epoch, sign_message
from bft.pbft.replica import Config, Recovered, Replica
from bft.pbft.snapshots import state_root
from tests.bft.pbft.disk import HOLE, App, Node
from tests.bft.pbft.identities import key, members, membership, opened, request, signer
from tests.bft.pbft.network import Network, below
from tests.bft.pbft.oracles import Oracles

WALL_0 = 1_800_000_000_000
TICK_MS = 50
TICK = Tick()


def last_of(app: App, epoch: int) -> int | None:
    """The last sequence of an epoch, as far as this application knows."""
    return app.last if epoch == app.epoch else app.eras[epoch][1] if epoch >= 0 else None


Outgoing = Callable[[int, int, bytes], list[bytes]]


class Cluster(Network, Oracles):
    """n replicas and `spare` machines that may become some, and what drives them."""

    def __init__(
        self, n: int = 4, seed: int = 0, *, ballast: bytes = b"", spare: int = 0, **config: int
    ) -> None:
        Network.__init__(self, n + spare, seed)
        Oracles.__init__(self)
        self.members = members(n)
        self.config = {
            "checkpoint_interval": 8,
            "window": 16,
            "probation_ms": 0,
            **config,
        }
        interval, window = self.config["checkpoint_interval"], self.config["window"]
        self.opening = App(interval, window, tuple(range(n)), ballast=ballast).save()
        self.follows(0, tuple(range(n)), 0)
        self.nodes = [Node(i, App.load(self.opening)) for i in range(n + spare)]
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
        last, saved = node.saved or (0, self.opening)
        node.app = App.load(saved)
        for sequence, (batch, _) in enumerate(node.table[last:], last + 1):
            node.app.execute(sequence, batch)
        self.follows(node.app.epoch, node.app.machines, last_of(node.app, node.app.epoch - 1) or 0)
        node.durable = node.journal[-1][0] if node.journal else node.durable
        epoch = self.epoch_of(node)
        if epoch is not None:
            self.begin(node, epoch)
        node.up = True
        self.tick(index, node.life, self.random.randrange(TICK_MS))

    def epoch_of(self, node: Node) -> int | None:
        """The epoch in which this machine is a replica now."""
        return node.app.epoch if node.index in node.app.machines else None

    def begin(self, node: Node, epoch: int) -> None:
        """Start the replica of an epoch that is running, or has just ended."""
        app = node.app
        lists = app.lists()
        last = last_of(app, epoch)
        executed = len(node.table) if epoch == app.epoch or last is None else last
        node.config = Config(
            membership=membership(epoch, lists[epoch]),
            index=lists[epoch].index(node.index),
            sign=signer(node.index),
            past=tuple(Era(membership(e, lists[e]), app.eras[e][1]) for e in range(epoch)),
            **self.config,
        )
        holes = [at for at, entry in enumerate(node.table[:executed], 1) if entry == HOLE]
        recovered = Recovered(
            records=tuple(node.journal),
            executed=executed,
            state=node.saved if node.saved and node.saved[0] <= executed else None,
            gap=(holes[0], holes[-1]) if holes else None,
            last=last,
        )
        node.replica = Replica(node.config, recovered)
        for sequence in sorted(node.roots):
            if node.config.first < sequence <= executed:
                root, known = node.roots[sequence]
                self.step(node.index, Executed(sequence, root, None, known))

    def crash(self, index: int) -> None:
        """Power off: everything that was not synced is gone."""
        node = self.nodes[index]
        node.life += 1
        node.up = node.ended = False
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
                    assert node.config is not None
                    culprit = self.lists[node.config.membership.epoch][effect.culprit]
                    assert culprit in self.byzantine, f"{index} accuses {effect}"
            elif isinstance(effect, StableCheckpoint):
                node.stable.append(effect)
            elif isinstance(effect, EpochEnded):
                self.on_ended(index, effect)
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
        app = node.app
        listed = membership(app.epoch, app.machines)
        verify_quorum_proof(decided.proof, listed, decided.sequence, digest)
        if node.index not in self.byzantine:
            self.decided(decided.sequence, digest, decided.batch)
        last = self.append(node, decided.batch, decided.proof)
        assert decided.checkpoint == (decided.sequence % self.config["checkpoint_interval"] == 0)
        state, root = None, bytes(32)
        if decided.checkpoint:
            assert node.saved is not None
            state, root = node.saved[1], node.roots[decided.sequence][0]
        self.step(node.index, Executed(decided.sequence, root, state, last))

    def append(self, node: Node, batch: bytes, proof: bytes) -> int | None:
        """Execute and store the next batch; the last sequence of its epoch, if that is known."""
        app = node.app
        node.table.append((batch, proof))
        sequence = len(node.table)
        last = app.execute(sequence, batch)
        assert len(set(app.executed)) == len(app.executed), "at most once"
        if sequence == last and node.index not in self.byzantine:
            self.follows(app.epoch, app.machines, sequence)
        if sequence % self.config["checkpoint_interval"] == 0:
            state = app.save()
            node.saved = (sequence, state)
            node.roots[sequence] = (state_root(state), last)
        return last

    def install(self, node: Node, effect: InstallState) -> None:
        assert state_root(effect.state) == effect.state_root
        assert effect.first_missing == len(node.table) + 1, "states come between batches"
        node.table += [HOLE] * (effect.sequence - len(node.table))
        node.app = app = App.load(effect.state)
        self.follows(app.epoch, app.machines, last_of(app, app.epoch - 1) or 0)
        node.saved = (effect.sequence, effect.state)
        node.installed.append(effect.sequence)

    def refill(self, node: Node, effect: Refilled) -> None:
        assert node.table[effect.sequence - 1] == HOLE
        assert HOLE not in node.table[: effect.sequence - 1], "holes are filled in order"
        digest = batch_digest(effect.batch)
        ends = [last for _, last in node.app.eras]
        epoch = sum(last < effect.sequence for last in ends)
        listed = membership(epoch, node.app.lists()[epoch])
        verify_quorum_proof(effect.proof, listed, effect.sequence, digest)
        assert self.agreed.setdefault(effect.sequence, digest) == digest, "agreement"
        node.table[effect.sequence - 1] = (effect.batch, effect.proof)

    def on_ended(self, index: int, effect: EpochEnded) -> None:
        """The epoch of a machine's replica is over."""
        raise NotImplementedError

    def serve(self, index: int, effect: ServeHistory) -> None:
        table = self.nodes[index].table
        asked = range(effect.from_sequence, effect.to_sequence + 1)
        here = takewhile(
            lambda sequence: sequence <= len(table), asked
        )  # a state may wait for fsync
        held = takewhile(lambda sequence: table[sequence - 1] != HOLE, here)
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
        node = self.nodes[source]
        assert node.config is not None
        machines = self.lists[node.config.membership.epoch]
        targets = [i for i in machines if i != source] if send.to is None else [machines[send.to]]
        if source not in self.byzantine:
            found = opened(send.message, node.config.membership) or self.open(send.message)
            self.watch(source, found, node.promises)
        for to in targets:
            for data in self.outgoing(source, to, send.message):
                self.transmit(source, to, data)

    def arrive(self, to: int, data: bytes) -> None:
        node = self.nodes[to]
        if node.replica is None or node.config is None or node.paused:
            return
        message = opened(data, node.config.membership)
        if message is None and node.config.past:
            message = opened(data, node.config.past[-1].membership)
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
        epoch = claimed_epoch(data)
        assert epoch is not None, "no frame"
        found = opened(data, membership(epoch, self.lists[epoch]))
        assert found is not None, "somebody sends what nobody can open"
        return found

    def forge(self, index: int, message: Message, attachment: bytes = b"") -> bytes:
        """A frame under a Byzantine machine's key."""
        assert index in self.byzantine
        listed = membership(message.epoch, self.lists[message.epoch])
        return sign_message(message, listed, signer(index), attachment).frame

    def correct(self) -> list[Node]:
        return [node for node in self.nodes if node.index not in self.byzantine and node.up]

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
