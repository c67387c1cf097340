"""What a person wants to know of a miner, folded from the events that it tells.

The same events stand in events.jsonl, so a miner that was restarted goes on with its old totals.
Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chain.params import Params
from chain.rules.reward import subsidy

Value = int | float | str
UNITS_SHOWN = 8  # the newest; older ones are forgotten

STATES = {"assigned", "training", "trained", "committed", "uploaded", "revealed", "late"}
"""Events that say how far a unit is, by their own names."""


@dataclass
class UnitPicture:
    """One unit of work."""

    cycle: int
    unit: int
    segment: int | None = None
    state: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None  # nats, of the last minibatch
    size: int = 0  # bytes of the update
    gain: int | None = None  # micro-nats, measured by the federation
    tickets: int | None = None


@dataclass
class Picture:
    """A miner, as it is now and over its life."""

    params: Params
    cycle: int = 0
    units: dict[tuple[int, int], UnitPicture] = field(default_factory=dict)  # (cycle, unit)
    scored: int = 0  # cycles with a score
    tickets: int = 0  # of the newest of them
    tickets_total: int = 0  # everybody's, in that cycle
    blocks: dict[int, str] = field(default_factory=dict)  # height -> hash of a block of ours
    uploaded_bytes: int = 0
    cpu_ms: int = 0
    energy_mj: int = 0
    energy_estimated: bool = False  # a part of it is
    silent: str = ""  # why the federation cannot be heard

    @property
    def rewards(self) -> int:
        """New coins of our blocks, smallest unit; their fees come on top, some may be orphans."""
        return sum(subsidy(height, self.params) for height in self.blocks)

    def take(self, event: str, told: Mapping[str, Value]) -> None:
        """Go on with one event; what is not of interest here changes nothing."""
        cycle = told.get("cycle")
        if isinstance(cycle, int):
            self.cycle = max(self.cycle, cycle)
        if event in STATES:
            self._unit(told).state = event
        match event:
            case "assigned" | "training":
                self._progress(told)
            case "trained":
                self._used(told)
            case "uploaded":
                self.uploaded_bytes += self._unit(told).size
            case "measured":
                unit = self._unit(told)
                unit.state = "measured"
                unit.gain, unit.tickets = (
                    _integer(told, "gain_micronats"),
                    _integer(told, "tickets"),
                )
            case "scored":
                self.scored += 1
                self.tickets = _integer(told, "tickets")
                self.tickets_total = _integer(told, "tickets_total")
            case "block" if _integer(told, "accepted"):
                self.blocks[_integer(told, "height")] = str(told.get("hash", ""))
        self.silent = str(told.get("reason", "")) if event == "federation-silent" else ""

    def _unit(self, told: Mapping[str, Value]) -> UnitPicture:
        place = (_integer(told, "cycle"), _integer(told, "unit"))
        found = self.units.get(place)
        if found is None:
            found = self.units[place] = UnitPicture(*place)
            while len(self.units) > UNITS_SHOWN:
                del self.units[min(self.units)]
        return found

    def _progress(self, told: Mapping[str, Value]) -> None:
        unit = self._unit(told)
        unit.segment = _integer(told, "segment")
        unit.step, unit.steps = _integer(told, "step"), _integer(told, "steps")
        loss = told.get("loss")
        unit.loss = float(loss) if isinstance(loss, int | float) else None

    def _used(self, told: Mapping[str, Value]) -> None:
        unit = self._unit(told)
        unit.size, unit.step = _integer(told, "bytes"), unit.steps
        self.cpu_ms += _integer(told, "cpu_ms")
        self.energy_mj += _integer(told, "energy_mj")
        self.energy_estimated |= bool(_integer(told, "energy_estimated"))


def _integer(told: Mapping[str, Value], name: str) -> int:
    """0 where it is missing or of another type: an events file may be of another version."""
    value = told.get(name, 0)
    return value if isinstance(value, int) else 0
