"""Named bad days for the command: how a world is made, and what happens to it."""

from collections.abc import Callable
from random import Random

from bft.quorum import faults
from coordinator.cycle.state import Phase
from tests.sim.faults import FAULTS
from tests.sim.host import Host, Moment, primary_in
from tests.sim.miners import HONEST, Habits
from tests.sim.network import STORM, Weather
from tests.sim.world import World

LIMIT_MS_CYCLE = 150_000
"""Virtual time that one cycle may take on a bad day."""

CHAOS_MS = 60_000
"""So long everything may go wrong; what has to happen has to happen after it."""


class Deeds:
    """What is done to a world, by names; a run may go without some of it (tests/search.py)."""

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self.without = without
        self.done: list[str] = []
        self.story: list[str] = []
        self._number = 0

    def allowed(self, name: str) -> bool:
        """Note a fault that lasts, unless this run goes without it."""
        if name in self.without:
            return False
        self.done.append(name)
        return True

    def do(self, world: World, name: str, action: Callable[[], None]) -> None:
        """One fault, or its end, now."""
        self._number += 1
        named = f"#{self._number} {name}"
        if self.allowed(named):
            self.story.append(f"{world.now:>7} ms  {named}; {world.report()}")
            action()


Plan = Callable[[World, Random, Deeds], None]


def _nothing(world: World, random: Random, deeds: Deeds) -> None:
    """No fault."""


def _primary_crash(world: World, random: Random, deeds: Deeds) -> None:
    """The primary dies at a random place of a random phase of cycle 1 and comes back later."""
    phase = random.choice(list(Phase))
    moment = random.choice([Moment.STEPPED, Moment.SYNCED, Moment.SENT])

    def crash(host: Host) -> None:
        down_ms = random.randint(1, 20_000)
        deeds.do(world, f"kill R{host.index}", lambda: kill(world, host, down_ms))

    world.when(primary_in(phase, moment), crash)


def kill(world: World, host: Host, down_ms: int) -> None:
    """Its process dies now and starts again later."""
    host.crash()
    world.restart_later(host, down_ms)


def _crashes(world: World, random: Random, deeds: Deeds) -> None:
    """Every few seconds a replica dies for a while; never more than f are down at once."""

    def strike() -> None:
        world.agenda.after(random.randint(1_000, 8_000), strike)
        down = sum(not host.alive for host in world.hosts)
        host, down_ms = random.choice(world.hosts), random.randint(1, 12_000)
        if host.alive and down < world.state.membership.f:
            deeds.do(world, f"kill R{host.index}", lambda: kill(world, host, down_ms))

    strike()


def _power_cut(world: World, random: Random, deeds: Deeds) -> None:
    """All replicas die at once, again and again."""

    def strike() -> None:
        world.agenda.after(random.randint(4_000, 15_000), strike)
        restart_ms = random.randint(1, 500)
        deeds.do(world, "kill all", lambda: world.crash_all(restart_ms))

    world.agenda.after(random.randint(100, 5_000), strike)


def _splits(world: World, random: Random, deeds: Deeds) -> None:
    """The network splits in two random halves for a while, heals for a while, and so on."""

    def split() -> None:
        order = random.sample(range(len(world.hosts)), len(world.hosts))
        cut = random.randint(1, max(1, len(order) - 1))
        world.network.split(order[:cut], order[cut:])
        world.agenda.after(random.randint(500, 10_000), heal)

    def heal() -> None:
        world.network.heal()
        world.agenda.after(random.randint(5_000, 15_000), split)

    world.agenda.after(random.randint(500, 5_000), split)


def _chaos(world: World, random: Random, deeds: Deeds) -> None:
    """Everything at once, anybody may be down, for CHAOS_MS; then the healing."""

    def strike() -> None:
        if world.now >= CHAOS_MS:
            return
        world.agenda.after(random.randint(300, 6_000), strike)
        deed = random.choice([crash_one, crash_one, crash_some, split, unite])
        deed()

    def crash_one() -> None:
        host, down_ms = random.choice(world.hosts), random.randint(1, 8_000)
        if host.alive:
            deeds.do(world, f"kill R{host.index}", lambda: kill(world, host, down_ms))

    def crash_some() -> None:
        for _ in range(len(world.hosts)):
            crash_one()

    def split() -> None:
        order = random.sample(range(len(world.hosts)), len(world.hosts))
        cut = random.randint(1, len(order))
        sides = order[:cut], order[cut:]
        deeds.do(world, f"split {sides}", lambda: world.network.split(*sides))

    def unite() -> None:
        world.network.split(range(len(world.hosts)))

    weather = Weather(
        delay_ms_max=random.choice([5, 50, 300]),
        loss_ppm=random.choice([0, 20_000, 200_000]),
        duplicate_ppm=random.choice([0, 100_000]),
    )
    if deeds.allowed(str(weather)):
        world.network.weather = weather
    strike()
    world.agenda.after(CHAOS_MS, world.network.heal)


SCENARIOS: dict[str, Plan] = {
    "none": _nothing,
    "primary-crash": _primary_crash,
    "crashes": _crashes,
    "power-cut": _power_cut,
    "splits": _splits,
    "storm": _nothing,
    "chaos": _chaos,
    "dead-miner": _nothing,
    "absent-winner": _nothing,
    "two-blocks": _nothing,
    **dict.fromkeys(FAULTS, _nothing),
}
MINERS: dict[str, tuple[Habits, ...]] = {
    "dead-miner": (HONEST, HONEST, Habits(dies_in=1)),
    "absent-winner": (Habits(blocks_from=1),) * 3,
    "two-blocks": (*(Habits(blocks="two"),) * 2, Habits(blocks="two", tells=True)),
}


def prepare(fault: str, seed: int, *, replicas: int = 4, deeds: Deeds | None = None) -> World:
    """A world in which the bad day has begun."""
    deeds = deeds or Deeds()
    random = Random(f"{seed}/plan/{fault}")
    liar = random.randrange(replicas)
    kinds: dict[int, type[Host]] = {liar: FAULTS[fault]} if fault in FAULTS else {}
    if fault == "chaos":
        chosen = {
            index: random.choice(sorted(FAULTS))
            for index in random.sample(range(replicas), random.randint(0, faults(replicas)))
        }
        kinds = {
            index: FAULTS[name]
            for index, name in chosen.items()
            if deeds.allowed(f"R{index} is {name}")
        }
    world = World(
        seed,
        replicas=replicas,
        miners=MINERS.get(fault, (HONEST,) * 3),
        kinds=kinds,
    )
    if fault == "storm" and deeds.allowed("storm"):
        world.network.weather = STORM
    SCENARIOS[fault](world, random, deeds)
    return world


def run(fault: str, seed: int, *, replicas: int = 4, cycles: int = 3) -> World:
    """One checked run.  Raises Stalled, Broken or FederationError."""
    world = prepare(fault, seed, replicas=replicas)
    world.run_cycles(cycles, cycles * LIMIT_MS_CYCLE)
    world.verdict()
    return world
