"""Cycles of the demonstration's job without a federation: six miners, one evaluator."""

from collections.abc import Iterable
from dataclasses import dataclass

from bft.crypto.hashing import sha256
from chain.params import MINIMAL
from chain.records.contribution import Profile, WorkUnit
from chain.records.evaluation import EvaluationRow, References, ScoreRow
from chain.rules.aggregation import outer_step
from chain.rules.assignment import (
    assign,
    challenge_records,
    chunk_records,
    control_records,
    own_records,
    training_seed,
)
from chain.rules.scoring import next_references, score
from coordinator.evaluation.evaluator import Batches, Candidate, evaluate
from miner.training.jobs import digits_job
from miner.training.trainer import train_unit

JOB, GENESIS = digits_job()
PROFILE = Profile(device=b"cpu", capacity=10**9, memory_bytes=10**9)
MINERS = 6


@dataclass(frozen=True)
class Cycle:
    """One cycle's units from one base, and how to measure updates for them."""

    base: bytes
    seed: bytes
    units: dict[int, WorkUnit]

    def chunk(self, unit: int) -> tuple[int, ...]:
        """Records of a unit's chunk."""
        return chunk_records(self.seed, JOB, self.units[unit].chunk)

    def train(self, unit: int) -> bytes:
        """An honest update."""
        return train_unit(
            JOB,
            self.base,
            self.units[unit],
            self.chunk(unit),
            training_seed(self.seed, self.units[unit]),
        )

    def candidate(self, unit: int, update: bytes | None, cap: int = 0) -> Candidate:
        """One unit, with all of its chunk as own records."""
        own = own_records(sha256(self.seed), unit, self.chunk(unit), MINIMAL)
        return Candidate(self.units[unit], update, own, cap)

    def batches(self) -> Batches:
        """What all units are measured with."""
        randomness = sha256(self.seed)
        return Batches(
            challenge=challenge_records(randomness, MINIMAL, JOB),
            control=control_records(randomness, MINIMAL, JOB),
            seed=self.seed,
        )

    def measure(self, updates: Iterable[tuple[int, bytes]]) -> tuple[EvaluationRow, ...]:
        """Rows for (unit, update) pairs; one unit may come with several updates."""
        items = [self.candidate(unit, data) for unit, data in updates]
        return evaluate(JOB, MINIMAL, self.base, items, self.batches())

    def score(
        self, updates: Iterable[tuple[int, bytes]], references: tuple[References, ...]
    ) -> tuple[ScoreRow, ...]:
        """Measured and scored."""
        return score(1, self.units, self.measure(updates), references, MINIMAL, JOB)


def cycle(base: bytes, number: int) -> Cycle:
    """Cycle `number` from this snapshot."""
    seed = sha256(b"cycle %d" % number)
    miners = {bytes([index]) * 33: PROFILE for index in range(MINERS)}
    units = assign(seed, miners, {}, MINIMAL, JOB)
    return Cycle(base=base, seed=seed, units={unit.unit: unit for unit in units})


def finish(
    cycle: Cycle, updates: dict[int, bytes], references: tuple[References, ...]
) -> tuple[bytes, tuple[References, ...], tuple[ScoreRow, ...]]:
    """The next snapshot, the next references, the scores."""
    rows = cycle.score(updates.items(), references)
    pairs = [(row, updates[row.unit]) for row in rows]
    return (
        outer_step(JOB, cycle.base, pairs, cycle.seed)[0],
        next_references(references, rows, MINIMAL),
        rows,
    )
