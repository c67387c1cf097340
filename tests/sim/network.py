"""Links between replicas: frames are lost, delayed, duplicated, overtaken, or cut off.

Delays are drawn for each copy of a frame alone, so frames overtake one another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from tests.sim.agenda import Action, Agenda

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad the links are, all of them alike."""

    delay_ms_min: int = 1
    delay_ms_max: int = 12
    loss_ppm: int = 0
    duplicate_ppm: int = 0


FAIR = Weather()
STORM = Weather(delay_ms_min=1, delay_ms_max=150, loss_ppm=60_000, duplicate_ppm=100_000)


class Network:
    """Carries frames between replicas, as long as no split stands between them."""

    def __init__(self, agenda: Agenda, random: Random, weather: Weather) -> None:
        self.weather = weather
        self._agenda, self._random = agenda, random
        self._side: dict[int, int] = {}  # replica -> its side of the split; empty when healed

    def split(self, *sides: Iterable[int]) -> None:
        """Only replicas on one side reach each other; who is on none reaches nobody."""
        self._side = {
            replica: number for number, side in enumerate(sides) for replica in sorted(side)
        }

    def heal(self) -> None:
        """Everybody reaches everybody; the weather turns fair."""
        self._side = {}
        self.weather = FAIR

    def connected(self, one: int, other: int) -> bool:
        """Whether a frame that arrives now would get through."""
        if not self._side:
            return True
        return one in self._side and self._side.get(one) == self._side.get(other)

    def carry(self, sender: int, receiver: int, deliver: Action) -> None:
        """Call `deliver` when (and as often as) the frame arrives."""
        weather, random = self.weather, self._random
        copies = 1 + (random.randrange(MILLION) < weather.duplicate_ppm)
        for _ in range(copies):
            delay = random.randint(weather.delay_ms_min, weather.delay_ms_max)
            if random.randrange(MILLION) >= weather.loss_ppm:
                self._agenda.after(delay, lambda: self._arrive(sender, receiver, deliver))

    def _arrive(self, sender: int, receiver: int, deliver: Action) -> None:
        if self.connected(sender, receiver):
            deliver()
