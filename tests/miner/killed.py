"""Miners that are killed at random moments: `python -m tests.miner.killed [--cycles 40]`.

One miner of two gets SIGKILL once a cycle: while it registers, fetches, trains, keeps its update,
commits, uploads, reveals, or makes the block.  It starts again at once, or only when the reveals of
the cycle are over.  Then, in every cycle:

- the other miner's unit is measured and valid, whatever happened;
- who was back at once loses nothing: its unit is measured and valid, with the salt and the bytes
  that were committed before the kill, if they were;
- who was away longer loses at most this cycle's unit, and nothing of the next;
- no process of a killed miner is left.
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random

from chain.records.phase import Phase
from chain.records.score_log import Scored
from tests.miner.fleet import Miners, until
from tests.miner.processes import children_of, runs
from tests.miner.small_federation import Doors, SmallFederation
from tests.patience import PATIENCE_S

LOOK_S = 0.002
DELAY_MS_MAX = 300
VICTIM, OTHER = "victim", "other"


class Moment(Enum):
    """What a miner has done when its end is near; up to DELAY_MS_MAX later it comes."""

    OPEN = "the cycle is open, or it registers"
    ASSIGNED = "it has a unit: fetches the assignment and the model"
    TRAINS = "its training process runs"
    WRITTEN = "the update's bytes are on its disk"
    KEPT = "so is the salt"
    COMMITTED = "its commitment is ordered"
    REVEALING = "reveals are open: it uploads"
    REVEALED = "its reveal is ordered"
    MEASURED = "the certificate is there, perhaps for it"


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL."""

    moment: Moment
    delay_ms: int
    away: bool  # back only when the reveals are over


class Trial:
    """A federation, a victim, and a miner that nothing happens to."""

    def __init__(self, federation: SmallFederation, miners: Miners) -> None:
        self.federation, self.miners = federation, miners
        self._down = False
        miners.start(VICTIM)
        miners.start(OTHER)
        self._identity = self._key_file.read_bytes()

    @property
    def _key_file(self) -> Path:
        return self.miners.home(VICTIM) / "identity.key"

    async def cycle(self, kill: Kill | None) -> None:
        """One cycle with one kill, or none.  Raises TimeoutError, AssertionError."""
        federation, cycle = self.federation, self.federation.state.cycle
        if self._down:  # nobody got tickets, so the cycle before had no block to wait for
            await self._return()
        async with asyncio.timeout(PATIENCE_S):
            while not federation.closed(cycle):
                self._go_on(cycle)
                if kill is not None and self._reached(kill.moment, cycle):
                    await asyncio.sleep(kill.delay_ms / 1000)
                    await self._kill(kill, cycle)
                    kill = None
                if self._down and federation.state.phase >= Phase.DRAW:
                    await self._return()
                await asyncio.sleep(LOOK_S)

    def _go_on(self, cycle: int) -> None:
        """End a phase in which only somebody who is away, or nobody, is waited for."""
        state = self.federation.state
        if state.cycle != cycle:
            return
        keys = self.miners.keys
        away = {keys[VICTIM]} if self._down else set()
        if state.phase == Phase.REGISTRATION:
            if set(keys.values()) - away <= state.registrations.keys():
                self.federation.run_out(Phase.REGISTRATION)
        elif state.phase in (Phase.TRAINING, Phase.REVEAL) and away:
            done = state.commitments if state.phase == Phase.TRAINING else state.reveals
            if all(unit.unit in done for unit in state.units if unit.miner not in away):
                self.federation.run_out(Phase(state.phase))

    def _reached(self, moment: Moment, cycle: int) -> bool:
        """Whether the victim has done this in the cycle."""
        state, key = self.federation.state, self.miners.keys[VICTIM]
        if state.cycle != cycle:
            return True
        units = {unit.unit for unit in state.units if unit.miner == key}
        match moment:
            case Moment.OPEN:
                return True
            case Moment.ASSIGNED:
                return bool(units)
            case Moment.TRAINS:
                return bool(units) and (self._trains() or bool(units & state.commitments.keys()))
            case Moment.WRITTEN:
                return self._has(cycle, "update")
            case Moment.KEPT:
                return self._has(cycle, "record")
            case Moment.COMMITTED:
                return bool(units & state.commitments.keys())
            case Moment.REVEALING:
                return state.phase >= Phase.REVEAL
            case Moment.REVEALED:
                return bool(units & state.reveals.keys())
            case Moment.MEASURED:
                return state.phase == Phase.BLOCK
        raise AssertionError(moment)

    def _trains(self) -> bool:
        """Whether the workshop has a child."""
        pid = self.miners.processes[VICTIM].pid
        try:
            return any(children_of(workshop) for workshop in children_of(pid))
        except OSError:
            return False

    def _has(self, cycle: int, kind: str) -> bool:
        """Whether such a file of this cycle is in the victim's home."""
        return any((self.miners.home(VICTIM) / "units").glob(f"{cycle:012d}-*.{kind}"))

    async def _kill(self, kill: Kill, cycle: int) -> None:
        """End the victim; whoever is not to be away starts again."""
        process = self.miners.processes[VICTIM]
        family = [process.pid, *children_of(process.pid)]
        family += [pid for parent in family[1:] for pid in children_of(parent)]
        # A cycle that is over waits for nobody: then being away would cost the next one.
        self._down = kill.away and not self.federation.closed(cycle)
        self.federation.held = self._down
        process.kill()
        await asyncio.to_thread(process.join)
        await until(lambda: not any(runs(pid) for pid in family if pid is not None))
        assert self._key_file.read_bytes() == self._identity
        if not self._down:
            self.miners.start(VICTIM)

    async def _return(self) -> None:
        """The victim is back, in time for the next cycle."""
        self.miners.start(VICTIM)
        key = self.miners.keys[VICTIM]
        await until(lambda: key in self.federation.state.registrations)
        self._down = self.federation.held = False

    def check(self, cycle: int, kill: Kill | None) -> None:
        """What must hold when a cycle is over.  Raises AssertionError."""
        scored = self.federation.found(Scored, cycle)
        assert isinstance(scored, Scored), f"cycle {cycle} was not scored: {kill}"
        valid = {row.miner for row in scored.rows if row.valid}
        assert self.miners.keys[OTHER] in valid, f"the other miner lost its unit: {kill}"
        if kill is None or not kill.away:
            assert self.miners.keys[VICTIM] in valid, f"cycle {cycle}: the unit is lost: {kill}"
        codes = {told["code"] for told in self.miners.told(VICTIM, "refused")}
        assert "mismatch" not in codes, f"another update than the committed one was opened: {kill}"


async def run(root: Path, kills: list[Kill]) -> None:
    """One cycle for each kill, and one without.  Raises AssertionError, TimeoutError."""
    federation = SmallFederation()
    federation.work()
    async with Doors(federation) as doors:
        miners = Miners(root, federation, doors.urls)
        try:
            trial = Trial(federation, miners)
            for kill in (*kills, None):
                cycle = federation.state.cycle
                await trial.cycle(kill)
                trial.check(cycle, kill)
        finally:
            await asyncio.to_thread(miners.end)


def random_kill(random: Random) -> Kill:
    """Any moment, any delay."""
    return Kill(
        moment=random.choice(list(Moment)),
        delay_ms=random.randrange(DELAY_MS_MAX) if random.random() < 0.7 else 0,
        away=random.random() < 0.4,
    )


def main(argv: list[str] | None = None) -> int:
    """Kill, check, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=40, help="so many, with one kill each")
    parser.add_argument("--each", type=int, default=8, help="cycles of one federation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    random, left = Random(arguments.seed), arguments.cycles
    while left > 0:
        kills = [random_kill(random) for _ in range(min(left, arguments.each))]
        left -= len(kills)
        with tempfile.TemporaryDirectory() as root:
            asyncio.run(run(Path(root), kills))
        for kill in kills:
            print(f"{kill.moment.name:9} +{kill.delay_ms:3} ms, {'away' if kill.away else 'back'}")
    print(f"{arguments.cycles} kills, nothing lost but units of miners that stayed away")
    return 0


if __name__ == "__main__":
    sys.exit(main())
