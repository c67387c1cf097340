"""A cluster whose member list changes: what a driver does where one epoch follows another.

A member goes on in the next epoch from the same disk.  A machine that is no member, and one whose
peers speak of a later epoch, reads the others' logs, batch by batch, and believes the proofs alone.
"""

import random
from collections.abc import Sequence

from bft.codec.canonical import decode, encode
from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
from bft.pbft.certificates import Verifier, verify_stable
from bft.pbft.events import EpochEnded, Learned, Submitted
from bft.pbft.journal import has_ended
from bft.pbft.messages import StableProof, claimed_epoch
from tests.bft.pbft.cluster import Cluster, last_of
from tests.bft.pbft.disk import HOLE, Change, Node
from tests.bft.pbft.identities import membership, opened

READING_MS = 200  # between two looks at somebody's log
ENTRIES_MAX = 16  # read at a time
HINT_MS = 3_000  # how long a frame says something about who is where


class Federation(Cluster):
    """Machines of which some are the members of an epoch."""

    def __init__(self, n: int = 4, seed: int = 0, *, spare: int = 0, **config: int) -> None:
        self.reading = random.Random(f"{seed}/reading")
        self.published = True  # whether logs can be read
        self.hints: dict[int, int] = {}  # machine -> until when it looks for a later epoch
        self.heard: dict[int, dict[int, int]] = {}  # machine -> member of its epoch -> when last
        super().__init__(n, seed, spare=spare, **config)
        self.at(READING_MS, self.read_all)

    # members

    @property
    def epoch(self) -> int:
        """The latest that a correct replica is in."""
        return max(self.lists)

    def change(self, to: int, machines: Sequence[int], epoch: int | None = None) -> None:
        """A client asks for another member list."""
        following = self.epoch + 1 if epoch is None else epoch
        operation = encode(Change(epoch=following, machines=tuple(machines)))
        self.submit(to, 50, following, operation)

    def in_epoch(self, epoch: int, machines: Sequence[int]) -> bool:
        """Whether these run as members of `epoch`."""
        return all(self.running(self.nodes[i]) == epoch for i in machines)

    @staticmethod
    def running(node: Node) -> int | None:
        """The epoch of the machine's replica."""
        if node.replica is None or node.config is None:
            return None
        return node.config.membership.epoch

    # from one epoch to the next

    def epoch_of(self, node: Node) -> int | None:
        """An epoch is over with the proof of its last state; who leaves goes on answering in it."""
        app = node.app
        if app.eras and node.index in app.eras[-1][0]:
            last = app.eras[-1][1]
            if len(node.table) == last and not has_ended(node.journal, last):
                return app.epoch - 1
            interval = self.config["checkpoint_interval"]
            if node.index not in app.machines and len(node.table) < last + interval:
                return app.epoch - 1
        return super().epoch_of(node)

    def on_ended(self, index: int, effect: EpochEnded) -> None:
        node = self.nodes[index]
        assert node.config is not None
        proof = decode(StableProof, effect.proof)
        assert proof.last == proof.sequence == effect.sequence
        assert proof.state_root == effect.state_root
        verify_stable(proof, Verifier(node.config.membership))
        node.ended = True

    def flush(self, index: int, life: int) -> None:
        super().flush(index, life)
        node = self.nodes[index]
        if node.life == life and node.ended and not node.todo and not node.unsynced:
            node.ended = False
            if node.index in node.app.machines:
                self.go_on(node)

    def go_on(self, node: Node) -> None:
        """Close the replica of the epoch that is over; start that of the next."""
        replica = node.replica
        assert replica is not None
        node.outbox, node.sync_due = [], False
        node.life += 1
        node.replica = None
        self.heard[node.index] = {}
        self.begin(node, node.app.epoch)
        self.tick(node.index, node.life, 0)
        for request in replica.pending():
            self.step(node.index, Submitted(request))

    # reading logs

    def arrive(self, to: int, data: bytes) -> None:
        super().arrive(to, data)
        config = self.nodes[to].config
        claimed = claimed_epoch(data)
        if config is None or claimed is None:
            return
        if claimed > config.membership.epoch:
            self.hints[to] = self.now + HINT_MS
        found = opened(data, config.membership)
        if found is not None:
            self.heard.setdefault(to, {})[found.sender] = self.now

    def is_left_alone(self, node: Node) -> bool:
        """Whether it hears of a later epoch, or too few in its own to decide anything there."""
        assert node.config is not None
        heard = self.heard.get(node.index, {}).values()
        present = 1 + sum(self.now - at <= HINT_MS for at in heard)
        return self.now < self.hints.get(node.index, 0) or present < node.config.membership.strong

    def read_all(self) -> None:
        self.at(READING_MS, self.read_all)
        for node in self.nodes:
            if self.published and node.up and not node.paused and node.halted is None:
                source = self.nodes[self.reading.randrange(self.size)]
                links = {(source.index, node.index), (node.index, source.index)}
                if source.up and not source.paused and not links & self.cut:
                    self.read(node, source)

    def read(self, node: Node, source: Node) -> None:
        """What `source` publishes and `node` lacks."""
        running = self.running(node)
        if node.replica is not None and running == node.app.epoch:
            if self.is_left_alone(node):
                after = node.replica.last_decided
                for sequence, (batch, proof) in enumerate(self.entries(source, after), after + 1):
                    self.step(node.index, Learned(sequence, batch, proof))
            return
        for batch, proof in self.entries(source, len(node.table)):
            listed = membership(node.app.epoch, node.app.machines)
            verify_quorum_proof(proof, listed, len(node.table) + 1, batch_digest(batch))
            if node.replica is not None and node.index in node.app.machines:
                self.go_on(node)  # the next epoch has decided something: ours is over
                return
            self.append(node, batch, proof)
            if node.index in node.app.machines:
                self.begin(node, node.app.epoch)
                return
            self.retire(node)

    def entries(self, source: Node, after: int) -> list[tuple[bytes, bytes]]:
        found = source.table[after : after + ENTRIES_MAX]
        return found[: found.index(HOLE)] if HOLE in found else found

    def retire(self, node: Node) -> None:
        """Who has left stops answering when the next epoch has come to a checkpoint."""
        running = self.running(node)
        if running is not None:
            last = last_of(node.app, running)
            assert last is not None
            if len(node.table) >= last + self.config["checkpoint_interval"]:
                node.replica = None
