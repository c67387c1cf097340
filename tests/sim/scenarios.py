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

Plan = Callable[[World, Random], None]


def _nothing(world: World, random: Random) -> None:
    """No fault."""


def _primary_crash(world: World, random: Random) -> None:
    """The primary dies at a random place of a random phase of cycle 1 and comes back later."""
    phase = random.choice(list(Phase))
    moment = random.choice([Moment.STEPPED, Moment.SYNCED, Moment.SENT])

    def crash(host: Host) -> None:
        host.crash()
        world.restart_later(host, random.randint(1, 20_000))

    world.when(primary_in(phase, moment), crash)


def _crashes(world: World, random: Random) -> None:
    """Every few seconds a replica dies for a while; never more than f are down at once."""

    def strike() -> None:
        world.agenda.after(random.randint(1_000, 8_000), strike)
        down = sum(not host.alive for host in world.hosts)
        host = random.choice(world.hosts)
        if host.alive and down < world.rules.membership.f:
            host.crash()
            world.restart_later(host, random.randint(1, 12_000))

    strike()


def _power_cut(world: World, random: Random) -> None:
    """All replicas die at once, again and again."""

    def strike() -> None:
        world.agenda.after(random.randint(4_000, 15_000), strike)
        world.crash_all(random.randint(1, 500))

    world.agenda.after(random.randint(100, 5_000), strike)


def _splits(world: World, random: Random) -> None:
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


def _chaos(world: World, random: Random) -> None:
    """Everything at once, anybody may be down, for CHAOS_MS; then the healing."""

    def strike() -> None:
        if world.now >= CHAOS_MS:
            return
        world.agenda.after(random.randint(300, 6_000), strike)
        deed = random.choice([crash_one, crash_one, crash_some, split, unite])
        deed()

    def crash_one() -> None:
        host = random.choice(world.hosts)
        if host.alive:
            host.crash()
            world.restart_later(host, random.randint(1, 8_000))

    def crash_some() -> None:
        for _ in range(len(world.hosts)):
            crash_one()

    def split() -> None:
        order = random.sample(range(len(world.hosts)), len(world.hosts))
        cut = random.randint(1, len(order))
        world.network.split(order[:cut], order[cut:])

    def unite() -> None:
        world.network.split(range(len(world.hosts)))

    world.network.weather = Weather(
        delay_ms_max=random.choice([5, 50, 300]),
        loss_ppm=random.choice([0, 20_000, 200_000]),
        duplicate_ppm=random.choice([0, 100_000]),
    )
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
    "two-blocks": (Habits(blocks="two"),) * 3,
}


def run(fault: str, seed: int, *, replicas: int = 4, cycles: int = 3) -> World:
    """One checked run.  Raises Stalled, Broken or FederationError."""
    random = Random(f"{seed}/plan/{fault}")
    liar = random.randrange(replicas)
    kinds: dict[int, type[Host]] = {liar: FAULTS[fault]} if fault in FAULTS else {}
    if fault == "chaos":
        kinds = {
            index: FAULTS[random.choice(sorted(FAULTS))]
            for index in random.sample(range(replicas), random.randint(0, faults(replicas)))
        }
    world = World(
        seed,
        replicas=replicas,
        miners=MINERS.get(fault, (HONEST,) * 3),
        kinds=kinds,
    )
    if fault == "storm":
        world.network.weather = STORM
    SCENARIOS[fault](world, random)
    world.run_cycles(cycles, cycles * LIMIT_MS_CYCLE)
    world.verdict()
    return world
