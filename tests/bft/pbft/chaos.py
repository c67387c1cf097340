"""Random schedules: one seed is one whole history of faults, replayed bit by bit.

`python -m tests.bft.pbft.chaos FIRST COUNT` runs many seeds and prints those that fail.
"""

import random
import sys
import traceback
from collections.abc import Callable

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.ordering.batch import NULL_BATCH, Batch, batch_digest
from bft.pbft.clients import CSEQ_WINDOW
from bft.pbft.messages import (
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    Verified,
    ViewChange,
)
from tests.bft.pbft.cluster import Cluster, key, opened, request

CHAOS_MS = 12_000
HEALED_MS = 300_000
Behaviour = Callable[["Chaos", int, int, bytes, Verified], list[bytes]]


def silent(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    return []


def picky(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Talks to some replicas only."""
    return [data] if (source + to) % 2 else []


def flaky(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    return [data] if world.random.random() < 0.5 else []


def stale(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Replays what it said before."""
    world.heard.append(data)
    if len(world.heard) > 200:
        del world.heard[0]
    return [data, world.random.choice(world.heard)]


def withhold(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Headers without their batches."""
    if isinstance(found.message, PrePrepare) and found.sender == source and to % 2:
        return [Verified(found.sender, found.message, found.envelope, found.signature).frame]
    return [data]


def equivocate(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Tells every second replica something else, in all three phases."""
    message = found.message
    if to % 2 == 0 or found.sender != source:
        return [data]
    if isinstance(message, PrePrepare | Prepare | Commit):
        batch = encode(Batch(timestamp_ms=message.sequence, requests=(world.extra,)))
        other = type(message)(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            sequence=message.sequence,
            digest=batch_digest(batch),
            replica=source,
        )
        attachment = batch if isinstance(message, PrePrepare) else b""
        forged = world.cluster.forge(source, other, attachment)
        return [data, forged] if world.random.random() < 0.5 else [forged]
    return [data]


def nullify(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Starts views without what was prepared; proposes nothing at all."""
    message = found.message
    if isinstance(message, NewView) and found.sender == source:
        other = NewView(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            view_changes=message.view_changes,
            proposals=message.proposals[:-1],
            replica=source,
        )
        return [world.cluster.forge(source, other)]
    if isinstance(message, PrePrepare) and found.sender == source and to % 2:
        other = PrePrepare(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            sequence=message.sequence,
            digest=batch_digest(NULL_BATCH),
            replica=source,
        )
        return [world.cluster.forge(source, other, NULL_BATCH)]
    return [data]


def forgetful(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Hides what it prepared, and always asks for later views."""
    message = found.message
    if isinstance(message, ViewChange) and found.sender == source:
        other = ViewChange(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view + world.random.randrange(3),
            low=message.low,
            stable=message.stable,
            prepared=(),
            replica=source,
        )
        return [world.cluster.forge(source, other)]
    return [data]


def boastful(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Lies about how far it is."""
    message = found.message
    if isinstance(message, Status) and found.sender == source:
        other = Status(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            pending_view=message.pending_view + world.random.randrange(1000),
            low=message.low + 8 * world.random.randrange(100),
            decided=message.decided + world.random.randrange(1000),
            helper=to,
            slots=(),
            replica=source,
        )
        return [world.cluster.forge(source, other)]
    return [data]


def corrupt(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Flips a bit now and then."""
    if world.random.random() < 0.3:
        place = world.random.randrange(len(data))
        data = (
            data[:place] + bytes([data[place] ^ 1 << world.random.randrange(8)]) + data[place + 1 :]
        )
    return [data]


def sluggish(world: "Chaos", source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Says everything late."""
    delay = world.random.randint(200, 1500)
    world.cluster.at(delay, lambda: world.cluster.transmit(source, to, data))
    return []


BEHAVIOURS: tuple[Behaviour, ...] = (
    silent,
    picky,
    flaky,
    stale,
    withhold,
    equivocate,
    nullify,
    forgetful,
    boastful,
    corrupt,
    sluggish,
)


class Chaos:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.random = rng = random.Random(seed)
        n = rng.choice((4, 4, 4, 4, 5, 6, 7))
        interval = rng.choice((2, 4, 8))
        self.cluster = Cluster(
            n=n,
            seed=rng.randrange(2**32),
            checkpoint_interval=interval,
            window=interval * rng.choice((2, 3)),
            pipeline=rng.choice((1, 4, 16)),
            batch_requests=rng.choice((1, 3, 400)),
            request_ms=1_500,
            progress_ms=1_000,
            view_change_ms=1_000,
            view_change_ms_max=8_000,
        )
        f = self.cluster.members.f
        liars = rng.sample(range(n), rng.randint(0, f))
        self.cluster.byzantine = set(liars)
        self.behaviour = {i: rng.choice(BEHAVIOURS) for i in liars}
        self.spare = f - len(liars)  # correct replicas that may stay down for good
        self.heard: list[bytes] = []
        self.requests: list[tuple[int, int]] = []
        self.cluster.outgoing = self.outgoing
        self.cluster.loss = rng.choice((0, 0, 5, 20, 30))
        self.cluster.duplication = rng.choice((0, 20, 50))
        self.cluster.delay = rng.choice(((1, 10), (1, 80), (20, 300)))
        self.cluster.sync = rng.choice(((0, 0), (0, 5), (0, 60)))
        self.extra = request(99, seed + 1, b"equivocation")
        self.cluster.submitted.add(self.extra)
        self.calm = rng.random() < 0.2  # no crashes, no splits
        for node in self.cluster.nodes:
            node.clock_ms = rng.choice((0, 0, 0, rng.randint(-4000, 4000)))

    def outgoing(self, source: int, to: int, data: bytes) -> list[bytes]:
        behave = self.behaviour.get(source)
        if behave is None:
            return [data]
        found = opened(data, self.cluster.members)
        return [data] if found is None else behave(self, source, to, data, found)

    def disturb(self) -> None:
        """One random fault, or its end."""
        cluster, rng = self.cluster, self.random
        n = cluster.members.n
        kind = rng.randrange(8)
        index = rng.randrange(n)
        node = cluster.nodes[index]
        if kind <= 1 and node.replica is not None:
            cluster.crash(index)
        elif kind <= 3 and node.replica is None:
            cluster.start(index)
        elif kind == 4:
            side = set(rng.sample(range(n), rng.randint(1, n - 1)))
            cluster.split(side, set(range(n)) - side)
        elif kind == 5:
            cluster.cut = {(rng.randrange(n), rng.randrange(n)) for _ in range(rng.randrange(5))}
        elif kind == 6:
            cluster.cut = set()
        else:
            node.paused = not node.paused

    def load(self) -> None:
        """A client asks, unless too many of its requests are still under way."""
        client = self.random.randrange(4)
        done = {done for node in self.cluster.nodes for done in node.app.executed}
        name = key(f"client {client}").public_key
        mine = [cseq for asked, cseq in self.requests if asked == client]
        waiting = [cseq for cseq in mine if (name, cseq) not in done]
        cseq = len(mine) + 1
        if not waiting or cseq - waiting[0] < CSEQ_WINDOW - 2:
            self.requests.append((client, cseq))
            self.retry(client, cseq)

    def retry(self, client: int, cseq: int) -> None:
        up = [node.index for node in self.cluster.correct() if not node.paused]
        if up:
            self.cluster.submit(self.random.choice(up), client, cseq)

    def run(self) -> None:
        cluster, rng = self.cluster, self.random
        end = CHAOS_MS
        while cluster.now < end:
            cluster.run(rng.randint(1, 400))
            if not self.calm and rng.random() < 0.3:
                self.disturb()
            for _ in range(rng.choice((0, 1, 1, 5))):
                self.load()
        self.heal()
        self.finish()

    def heal(self) -> None:
        cluster, rng = self.cluster, self.random
        cluster.heal()
        cluster.delay = (1, 20)
        cluster.sync = (0, 3)
        dead = set(rng.sample(range(cluster.members.n), rng.randint(0, self.spare)))
        for node in cluster.nodes:
            node.paused = False
            if node.index in dead and node.index not in cluster.byzantine:
                if node.replica is not None:
                    cluster.crash(node.index)
            elif node.replica is None:
                cluster.start(node.index)

    def finish(self) -> None:
        cluster = self.cluster
        end = cluster.now + HEALED_MS
        while True:
            left = [r for r in self.requests if not cluster.executed_everywhere(*r)]
            if not left:
                break
            assert cluster.now < end, f"{len(left)} requests never executed\n{cluster.describe()}"
            for client, cseq in left:
                self.retry(client, cseq)
            cluster.run(2_000)
        tables = [node.app.executed for node in cluster.correct()]
        longest = max(tables, key=len)
        assert all(table == longest[: len(table)] for table in tables), "total order"
        window = cluster.config["window"]
        for node in cluster.correct():
            assert node.replica is not None
            assert len(node.journal) < 40 * window + 400, cluster.describe()

    def trace(self) -> bytes:
        """What happened, in 32 bytes."""
        nodes = [
            (len(node.table), [list(t) for t in node.table], [list(r) for r in node.journal])
            for node in self.cluster.nodes
        ]
        return sha256(encode((self.cluster.now, nodes)))


def run_seed(seed: int) -> Chaos:
    world = Chaos(seed)
    world.run()
    return world


def main(arguments: list[str]) -> int:
    first, count = int(arguments[0]), int(arguments[1])
    failed = 0
    for seed in range(first, first + count):
        try:
            run_seed(seed)
        except Exception:
            failed += 1
            print(f"seed {seed}")
            traceback.print_exc(limit=-4, file=sys.stdout)
    print(f"{count} seeds, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
