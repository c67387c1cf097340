"""Worlds whose members change while machines die, links break and a member lies.

`python -m tests.sim.moving --seed N --count C --budget SECONDS --jobs J` runs many of them.  A
search of its own, so that the seeds of `tests.sim` mean what they meant.
"""

import sys
from random import Random

from chain.epochs import follow_epochs
from chain.records.score_log import KeyActivated
from tests.search import Search, arguments, command
from tests.sim.checkers import Broken
from tests.sim.faults import FAULTS, RESHARING_FAULTS
from tests.sim.host import Host
from tests.sim.network import Weather
from tests.sim.operators import Operators
from tests.sim.scenarios import Deeds, kill
from tests.sim.world import World

SPARES = 4
FOUNDERS = 4
EPOCHS_MAX = 4
SIZES = (1, 4, 4, 4, 5, 7)
CHAOS_MS = 30_000
LIMIT_MS = 1_200_000
"""A resharing whose phases wait for the clocks takes two minutes, and may take four attempts."""

LIARS = {**FAULTS, **RESHARING_FAULTS}


class Moving:
    """One seed's changes of members."""

    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        self._random = Random(f"{seed}/moving")
        self._deeds = Deeds(without)
        machines = range(FOUNDERS + SPARES)
        liar = self._random.choice((None, *machines))
        kind = self._random.choice(sorted(LIARS))
        kinds: dict[int, type[Host]] = {}
        if liar is not None and self._deeds.allowed(f"R{liar} is {kind}"):
            kinds[liar] = LIARS[kind]
        self.plan = [self._list(liar) for _ in range(self._random.randint(1, EPOCHS_MAX))]
        self.world = World(seed, replicas=FOUNDERS, spares=SPARES, kinds=kinds)
        Operators(self.world, self.plan)
        if self._random.randrange(2):
            self._strike()
        if self._random.randrange(2):
            self._split()
        weather = self._random.choice((Weather(), Weather(delay_ms_max=80, loss_ppm=30_000)))
        if self._deeds.allowed(str(weather)):
            self.world.network.weather = weather
        self.world.agenda.after(CHAOS_MS, self.world.network.heal)

    @property
    def faults(self) -> list[str]:
        """What was done."""
        return self._deeds.done

    @property
    def story(self) -> list[str]:
        """What happened, for people."""
        world = self.world
        return [f"{self.plan}", *self._deeds.story, f"{world.now:>7} ms  {world.report()}"]

    def run(self) -> None:
        """Raises Stalled, Broken or FederationError."""
        world, last = self.world, len(self.plan)
        world.run_until(lambda: world.now > CHAOS_MS or self._there(last), LIMIT_MS)
        world.run_until(lambda: world.enough and self._there(last), LIMIT_MS)
        closed = world.closed
        world.run_until(lambda: world.enough and world.closed > closed, LIMIT_MS)
        check_epochs(world, self.plan)
        world.verdict()

    def _there(self, epoch: int) -> bool:
        return all(host.settled.epoch >= epoch for host in self.world.up)

    def _list(self, liar: int | None) -> tuple[int, ...]:
        """A liar is one of four and more, never alone."""
        size = self._random.choice(SIZES)
        drawn = self._random.sample(range(FOUNDERS + SPARES), size)
        return (0, 1, 2, 3) if size == 1 and drawn[0] == liar else tuple(drawn)

    def _strike(self) -> None:
        """Now and then some machine dies for a while, member or not."""
        world = self.world
        if world.now >= CHAOS_MS:
            return
        world.agenda.after(self._random.randint(300, 4_000), self._strike)
        host, down_ms = self._random.choice(world.hosts), self._random.randint(1, 4_000)
        if host.alive:
            self._deeds.do(world, f"kill R{host.index}", lambda: kill(world, host, down_ms))

    def _split(self) -> None:
        world, random = self.world, self._random
        if world.now >= CHAOS_MS:
            return
        order = random.sample(range(len(world.hosts)), len(world.hosts))
        cut = random.randint(1, len(order) - 1)
        sides = order[:cut], order[cut:]
        self._deeds.do(world, f"split {sides}", lambda: world.network.split(*sides))
        world.agenda.after(random.randint(200, 4_000), world.network.heal)
        world.agenda.after(random.randint(4_000, 9_000), self._split)


def check_epochs(world: World, plan: list[tuple[int, ...]]) -> None:
    """The log's certificates are the chain of epochs that was planned, under one key."""
    made = [r.federation_key for r in world.records() if isinstance(r, KeyActivated)]
    followed = follow_epochs(world.genesis, made[0].key, made)
    members = [tuple(world.machines[new.key] for new in each.members) for each in followed]
    if members[1:] != plan:
        raise Broken(f"the epochs were to be {plan}; they are {members[1:]}")


SEARCH = Search("sim-moving", Moving)


def main(argv: list[str]) -> int:
    """0: all checks passed."""
    return command(SEARCH, arguments("tests.sim.moving", __doc__).parse_args(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
