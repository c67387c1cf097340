"""The simulator as a search: the seed also chooses the bad day and the number of replicas."""

from random import Random

from tests.search import Search
from tests.sim.scenarios import LIMIT_MS_CYCLE, SCENARIOS, Deeds, prepare

REPLICAS = (4, 4, 4, 7)
CYCLES_MAX = 3


class Day:
    """One seed's bad day."""

    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        random = Random(f"{seed}/day")
        self._fault = random.choice(sorted(SCENARIOS))
        self._replicas = random.choice(REPLICAS)
        self._cycles = random.randint(1, CYCLES_MAX)
        self._deeds = Deeds(without)
        self._world = prepare(self._fault, seed, replicas=self._replicas, deeds=self._deeds)

    @property
    def faults(self) -> list[str]:
        """What was done."""
        return self._deeds.done

    @property
    def story(self) -> list[str]:
        """What happened, for people."""
        day = f"{self._fault}, {self._replicas} replicas, {self._cycles} cycles"
        return [day, *self._deeds.story, f"{self._world.now:>7} ms  {self._world.report()}"]

    def run(self) -> None:
        """Raises Stalled, Broken or FederationError."""
        self._world.run_cycles(self._cycles, self._cycles * LIMIT_MS_CYCLE)
        self._world.verdict()


SEARCH = Search("sim", Day)
