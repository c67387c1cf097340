"""Random schedules in which the member list changes: everything of `chaos`, and one to four epochs.

`python -m tests.bft.pbft.moving --seed N --count C --budget SECONDS --jobs J` runs many of them.
A search of its own, so that the seeds of the other one mean what they meant.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bft.pbft.messages import Message, Verified
from bft.quorum import faults
from tests import keyed_signatures
from tests.bft.pbft.chaos import Chaos, Told
from tests.bft.pbft.disk import Node
from tests.bft.pbft.federation import Federation
from tests.search import Search, arguments, command

SPARES = 3
SIZES = (1, 2, 3, 4, 4, 4, 5, 6, 7)
MOVING_MS = 300_000


class ToldFederation(Told, Federation):
    """Also notes when a machine begins an epoch."""

    def begin(self, node: Node, epoch: int) -> None:
        self.tell(f"R{node.index} begins epoch {epoch} behind {len(node.table)}")
        super().begin(node, epoch)


@dataclass
class Seat:
    """A liar's place in an epoch: it knows indices, the network knows machines."""

    random: random.Random
    heard: list[bytes]
    extra: bytes
    federation: Federation
    machines: tuple[int, ...]

    @property
    def cluster(self) -> "Seat":
        return self

    def forge(self, index: int, message: Message, attachment: bytes = b"") -> bytes:
        return self.federation.forge(self.machines[index], message, attachment)

    def transmit(self, source: int, to: int, data: bytes) -> None:
        self.federation.transmit(self.machines[source], self.machines[to], data)

    def at(self, delay: int, action: Callable[[], None]) -> None:
        self.federation.at(delay, action)


class Moving(Chaos):
    """One seed."""

    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        super().__init__(seed, without)
        self.moves = random.Random(f"{seed}/moves")
        self.spare = 0  # nobody stays down: each list has its own number of faults to bear
        self.lists = [self.listed() for _ in range(self.moves.randint(1, 4))]
        self.begun = 0
        self.cluster.incoming = self.incoming

    def federation(self, n: int, seed: int, **config: int) -> Told:
        self.told_federation = ToldFederation(n, seed, spare=SPARES, **config)
        return self.told_federation

    def listed(self) -> tuple[int, ...]:
        """Some machines, of which no more than f are liars."""
        size = self.moves.choice([size for size in SIZES if size <= self.cluster.size - 1])
        liars = sorted(self.cluster.byzantine)
        honest = [i for i in range(self.cluster.size) if i not in self.cluster.byzantine]
        count = self.moves.randint(0, min(len(liars), faults(size)))
        count = max(count, size - len(honest))
        chosen = self.moves.sample(liars, count) + self.moves.sample(honest, size - count)
        self.moves.shuffle(chosen)
        return tuple(chosen)

    def incoming(self, to: int, found: Verified) -> bool:
        """A liar does not stop because it is shown its lies."""
        author = self.told_federation.lists[found.message.epoch][found.sender]
        return to not in self.behaviour or author != to

    def outgoing(self, source: int, to: int, data: bytes) -> list[bytes]:
        behave = self.behaviour.get(source)
        if behave is None:
            return [data]
        found = self.cluster.open(data)
        machines = self.told_federation.lists[found.message.epoch]
        if source not in machines or to not in machines:
            return [data]
        seat = Seat(self.random, self.heard, self.extra, self.told_federation, machines)
        return behave(seat, machines.index(source), machines.index(to), data, found)

    def more(self) -> None:
        """Somebody asks for the next list, now and then, until it is in force."""
        federation = self.told_federation
        epoch = federation.epoch + 1
        if epoch > len(self.lists) or self.moves.random() > 0.15:
            return
        machines = self.lists[epoch - 1]
        if epoch > self.begun:
            self.begun = epoch
            if not self.allowed(f"epoch {epoch} is {machines}"):
                del self.lists[epoch - 1 :]
                return
            self.told.tell(f"somebody asks for epoch {epoch} of {machines}")
        up = [node.index for node in self.cluster.correct() if not node.paused]
        if up:
            federation.change(self.moves.choice(up), machines, epoch)

    def finish(self) -> None:
        federation = self.told_federation
        end = federation.now + MOVING_MS
        while federation.epoch < len(self.lists):
            assert federation.now < end, f"the list does not change\n{federation.describe()}"
            self.more()
            federation.run(500)
        super().finish()
        last = len(self.lists)
        members = [i for i in federation.lists[last] if i not in federation.byzantine]
        federation.run_until(lambda: federation.in_epoch(last, members), 60_000)


SEARCH = Search("moving", Moving, keyed_signatures.install)


def main(argv: list[str]) -> int:
    options = arguments("tests.bft.pbft.moving", __doc__).parse_args(argv)
    return command(SEARCH, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
