"""Random schedules: one seed is one whole history of faults, replayed bit by bit.

`python -m tests.bft.pbft.chaos --seed N --count C --budget SECONDS --jobs J` runs many of them.
"""

import random
import sys

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError
from bft.pbft.clients import CSEQ_WINDOW
from bft.pbft.events import Event
from tests import keyed_signatures
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import key, opened, request
from tests.bft.pbft.liars import BEHAVIOURS
from tests.search import Search, arguments, command

CHAOS_MS = 12_000
SHORT_MS = 3_000
HEALED_MS = 300_000


class Told(Cluster):
    """Notes when a replica changes its view, and when one decides."""

    def __init__(self, n: int, seed: int, **config: int) -> None:
        self.story: list[str] = []
        super().__init__(n, seed, **config)

    def step(self, index: int, event: Event) -> None:
        replica = self.nodes[index].replica
        if replica is None:
            return
        view, pending = replica.view, replica.pending_view
        decided = replica.last_decided
        super().step(index, event)
        if replica.view != view or replica.pending_view != pending:
            self.tell(f"R{index} is in view {replica.view}, asks for {replica.pending_view}")
        if replica.last_decided != decided:
            self.tell(f"R{index} has decided through {replica.last_decided}")

    def tell(self, text: str) -> None:
        self.story.append(f"{self.now:>7} ms  {text}")


class Chaos:
    """One seed."""

    def __init__(
        self, seed: int, without: frozenset[str] = frozenset(), chaos_ms: int = CHAOS_MS
    ) -> None:
        self.seed = seed
        self.chaos_ms = chaos_ms
        self.without = without
        self.faults: list[str] = []
        self.deeds = 0
        self.random = random.Random(f"{seed}/lies")
        self.loads = random.Random(f"{seed}/load")
        rng = random.Random(f"{seed}/world")
        catching_up = random.Random(f"{seed}/catching up")
        reigns = random.Random(f"{seed}/reigns")
        n = rng.choice((4, 4, 4, 4, 5, 6, 7, 10))
        interval = rng.choice((2, 4, 8))
        self.told = self.federation(
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
            reign_ms=reigns.choice((60_000, 60_000, 2_000)),
            history_batches_max=catching_up.choice((4, 2_048)),
            probation_ms=catching_up.choice((0, 400)),
        )
        self.cluster: Cluster = self.told
        f = self.cluster.members.f
        liars = rng.sample(range(n), rng.randint(0, f))
        self.cluster.byzantine = set(liars)
        chosen = {i: rng.choice(BEHAVIOURS) for i in liars}
        self.behaviour = {
            i: behave for i, behave in chosen.items() if self.allowed(f"R{i} is {behave.__name__}")
        }
        self.spare = f - len(liars)  # correct replicas that may stay down for good
        self.heard: list[bytes] = []
        self.requests: list[tuple[int, int]] = []
        self.cluster.outgoing = self.outgoing
        # A liar does not stop because it is shown its lies.
        self.cluster.incoming = lambda to, found: to not in self.behaviour or found.sender != to
        self.weather(rng)
        self.extra = request(99, seed + 1, b"equivocation")
        self.cluster.submitted.add(self.extra)
        self.calm = rng.random() < 0.2  # no crashes, no splits
        for node in self.cluster.nodes:
            skew = rng.choice((0, 0, 0, rng.randint(-4000, 4000)))
            if skew and self.allowed(f"the clock of R{node.index} is {skew} ms off"):
                node.clock_ms = skew

    def federation(self, n: int, seed: int, **config: int) -> Told:
        """Whom all this happens to."""
        return Told(n, seed, **config)

    def weather(self, rng: random.Random) -> None:
        """What links and disks do all the time."""
        loss = rng.choice((0, 0, 5, 20, 30))
        duplication = rng.choice((0, 20, 50))
        delay = rng.choice(((1, 10), (1, 80), (20, 300)))
        sync = rng.choice(((0, 0), (0, 5), (0, 60)))
        if loss and self.allowed(f"{loss} % are lost"):
            self.cluster.loss = loss
        if duplication and self.allowed(f"{duplication} % come twice"):
            self.cluster.duplication = duplication
        if delay != (1, 10) and self.allowed(f"links take {delay} ms"):
            self.cluster.delay = delay
        if sync != (0, 5) and self.allowed(f"disks take {sync} ms"):
            self.cluster.sync = sync

    def allowed(self, fault: str) -> bool:
        """Note a fault, unless this run goes without it."""
        if fault in self.without:
            return False
        self.faults.append(fault)
        return True

    @property
    def story(self) -> list[str]:
        """What happened, for people."""
        return [*self.told.story, self.told.describe()]

    def outgoing(self, source: int, to: int, data: bytes) -> list[bytes]:
        behave = self.behaviour.get(source)
        if behave is None:
            return [data]
        found = opened(data, self.cluster.members)
        return [data] if found is None else behave(self, source, to, data, found)

    def disturb(self) -> None:
        """One random fault, or its end.  Its choices depend on its number alone."""
        self.deeds += 1
        rng = random.Random(f"{self.seed}/deed/{self.deeds}")
        n = self.cluster.size
        index = rng.randrange(n)
        kind = rng.randrange(8)
        side = set(rng.sample(range(n), rng.randint(1, n - 1)))
        links = {(rng.randrange(n), rng.randrange(n)) for _ in range(rng.randrange(5))}
        if kind <= 3:
            name = f"kill or start R{index}"
        elif kind <= 6:
            name = ("split off " + str(sorted(side)), f"cut {sorted(links)}", "heal")[kind - 4]
        else:
            name = f"stop or resume R{index}"
        if not self.allowed(f"#{self.deeds} {name}"):
            return
        self.told.tell(name)
        node = self.cluster.nodes[index]
        if kind <= 3:
            if not node.up:
                self.start(index)
            elif kind <= 1:
                self.cluster.crash(index)
        elif kind == 4:
            self.cluster.split(side, set(range(n)) - side)
        elif kind <= 6:
            self.cluster.cut = links if kind == 5 else set()
        else:
            node.paused = not node.paused

    def start(self, index: int) -> None:
        """A liar's key signed what its replica never said; shown it, the replica stays down."""
        try:
            self.cluster.start(index)
        except ConfigError:
            if index not in self.cluster.byzantine:
                raise

    def load(self) -> None:
        """A client asks, unless too many of its requests are still under way."""
        client = self.loads.randrange(4)
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
            self.cluster.submit(self.loads.choice(up), client, cseq)

    def run(self) -> None:
        cluster, rng = self.cluster, random.Random(f"{self.seed}/time")
        end = self.chaos_ms
        while cluster.now < end:
            cluster.run(rng.randint(1, 400))
            if rng.random() < 0.3 and not self.calm:
                self.disturb()
            for _ in range(rng.choice((0, 1, 1, 5))):
                self.load()
            self.more()
        self.heal()
        self.finish()

    def more(self) -> None:
        """What else happens while faults do."""

    def heal(self) -> None:
        cluster, rng = self.cluster, random.Random(f"{self.seed}/heal")
        self.told.tell("everything heals")
        cluster.heal()
        cluster.delay = (1, 20)
        cluster.sync = (0, 3)
        dead = set(rng.sample(range(cluster.size), rng.randint(0, self.spare)))
        for node in cluster.nodes:
            node.paused = False
            if node.index in dead and node.index not in cluster.byzantine:
                if node.up and self.allowed(f"R{node.index} stays down for good"):
                    cluster.crash(node.index)
            elif not node.up:
                self.start(node.index)

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


def short(seed: int, without: frozenset[str]) -> Chaos:
    """A quarter of the time, so four times as many beginnings."""
    return Chaos(seed, without, SHORT_MS)


SEARCH = Search("pbft", Chaos, keyed_signatures.install)
SHORT = Search("pbft-short", short, keyed_signatures.install)


def main(argv: list[str]) -> int:
    parser = arguments("tests.bft.pbft.chaos", __doc__)
    parser.add_argument("--ecdsa", action="store_true", help="real signatures (slower)")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_MS / 1000:g} s of faults")
    options = parser.parse_args(argv)
    search = SHORT if options.short else SEARCH
    return command(Search(search.name, search.make) if options.ecdsa else search, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
