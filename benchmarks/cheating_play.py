"""The long run of a cheating machine: draws, audits, bars, trials and fresh keys, cycle by cycle.

Real are the rules: assignment, the audits' draw, scores, trials, strikes, standings and bars are
the product's own functions with params MAIN.  Real are the outcomes too: what a unit measures, and
how like its update is to the replica's, come from units that benchmarks/cheating_measure.py really
trained, evaluated and trained again.  Resampled is which of those outcomes a unit has; beacons are
hashes.
Every machine may have as many newcomers' units as it asks for, which is the best case for cheats.

A machine has UNITS units, under one key or under as many keys.  A key that is struck is barred:

- `waits`: the machine cheats under the same key as soon as it may work again.
- `returns`: it cheats on under a fresh key in the next cycle.
- `works first`: under each key it is honest until the trial is over, then it cheats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from chain.params import MAIN, Params
from chain.records.contribution import Profile, Standing, WorkUnit
from chain.records.evaluation import EvaluationRow, References
from chain.records.job import Job
from chain.rules.assignment import assign
from chain.rules.audits import audited_units
from chain.rules.scoring import ONE, score, struck
from chain.rules.standing import is_barred, next_standings, on_trial

PARAMS = replace(MAIN, unit_capacity=1, volume_shift=0, newcomer_units=10_000)
POLICIES = ("waits", "returns", "works first")
UNITS = 4
HONEST_MACHINES = 80  # beside the strategies', so that nobody on trial has half of the merit
FULL = References(gain=ONE, advantage=ONE)


@dataclass(frozen=True)
class Outcome:
    """What one really trained unit measured, its references being ONE, and its likeness."""

    gain: int
    advantage: int
    replay: int


Pool = Mapping[str, Sequence[Outcome]]
"""By strategy."""


@dataclass
class Machine:
    """One that plays a strategy, and its balance since its first cycle."""

    strategy: str
    work: float  # of a unit, in units of honest work
    policy: str
    keys: int
    held: list[bytes] = field(default_factory=list)
    made: int = 0  # keys so far
    tickets: float = 0.0
    spent: float = 0.0
    strikes: int = 0

    def fresh(self) -> bytes:
        """A key that nobody has seen."""
        self.made += 1
        name = f"{self.strategy} {self.policy} {self.keys} {self.made}".encode()
        return b"\x02" + sha256(name)


def machines(strategies: Mapping[str, float], policy: str) -> list[Machine]:
    """Each strategy under one key and under UNITS keys, and the honest crowd."""
    found = [
        Machine(name, work, policy, keys)
        for name, work in strategies.items()
        for keys in (1, UNITS)
    ]
    return found + [Machine("honest", 1.0, f"crowd {n}", 1) for n in range(HONEST_MACHINES)]


class Play:
    """One federation with a machine of every kind, from one seed."""

    def __init__(
        self, job: Job, params: Params, pool: Pool, everyone: Sequence[Machine], seed: int
    ) -> None:
        units = len(everyone) * UNITS
        self._params = params
        self._job = replace(job, train_records=units * job.chunk_records)
        self._pool, self._machines = pool, everyone
        self._random = np.random.default_rng(seed)
        self._seed = sha256(b"play %d" % seed)
        self._standings: dict[bytes, Standing] = {}
        self._owner: dict[bytes, Machine] = {}
        for machine in everyone:
            machine.held = [self._own(machine) for _ in range(machine.keys)]

    def run(self, cycles: int, warm: int) -> None:
        """Balances count from cycle `warm` on; strategies join then, the crowd is there before."""
        for cycle in range(1, cycles + 1):
            here = [m for m in self._machines if cycle >= warm or m.policy.startswith("crowd")]
            self._cycle(cycle, here)

    def _own(self, machine: Machine) -> bytes:
        key = machine.fresh()
        self._owner[key] = machine
        return key

    def _cycle(self, cycle: int, here: Sequence[Machine]) -> None:
        profiles = {
            key: Profile(device=b"cpu", capacity=UNITS // machine.keys, memory_bytes=1)
            for machine in here
            for key in machine.held
            if not is_barred(self._standings, key, cycle)
        }
        self._seed = sha256(self._seed)
        units = assign(self._seed, profiles, self._standings, self._params, self._job)
        by_number = {unit.unit: unit for unit in units}
        rows = [self._train(unit) for unit in units]
        drawn = sha256(self._seed + b"challenge")
        audited = frozenset(audited_units(drawn, sorted(by_number), self._params, self._job))
        references = (FULL,) * self._job.segments
        scored = score(
            *(cycle, by_number, rows, references, self._params, self._job),
            audited,
            self._standings,
        )
        for row in scored:
            self._owner[row.miner].tickets += row.tickets / row.volume
        caught = struck(by_number, rows, audited, self._params)
        self._standings = next_standings(
            cycle, self._standings, units, scored, caught, self._params
        )
        for key in caught:
            machine = self._owner[key]
            machine.strikes += 1
            if machine.policy != "waits":
                machine.held[machine.held.index(key)] = self._own(machine)

    def _train(self, unit: WorkUnit) -> EvaluationRow:
        machine = self._owner[unit.miner]
        honest = machine.policy == "works first" and on_trial(
            self._standings, unit.miner, self._params
        )
        machine.spent += 1.0 if honest else machine.work
        outcomes = self._pool["honest" if honest else machine.strategy]
        drawn = outcomes[int(self._random.integers(len(outcomes)))]
        return EvaluationRow(
            unit=unit.unit,
            valid=1,
            gain=drawn.gain,
            advantage=drawn.advantage,
            norm=0,
            replay=drawn.replay,
        )


def played(
    job: Job,
    params: Params,
    pool: Pool,
    strategies: Mapping[str, float],
    policy: str,
    seed: int,
    cycles: int,
) -> dict[tuple[str, int], tuple[float, float, int]]:
    """(strategy, keys) -> tickets and work a unit and cycle, and how often it was struck."""
    everyone = machines(strategies, policy)
    Play(job, params, pool, everyone, seed).run(cycles, cycles // 5)
    share = UNITS * (cycles - cycles // 5 + 1)
    return {
        (machine.strategy, machine.keys): (
            machine.tickets / share,
            machine.spent / share,
            machine.strikes,
        )
        for machine in everyone
        if not machine.policy.startswith("crowd")
    }
