"""Measurements without models: integers that follow from digests, so that every seed replays.

Honest replicas' numbers differ by at most `noise` micro-nats, as different hardware would.
"""

from bft.crypto.hashing import tagged_hash
from chain.records.evaluation import EvaluationRow, NextModel
from chain.records.job import Job
from chain.rules.audits import ONE
from chain.rules.families.registry import heldout_predictions
from coordinator.cycle.duties import Measurement, OuterStep
from coordinator.effects import Evaluated, Stepped

LOSS_FIRST_MICRONATS = 2_302_585  # of ten classes, guessed
Noise = int
"""Micro-nats, within the job's tolerance."""


def number(tag: str, data: bytes, below: int) -> int:
    """A number in 0 .. below - 1 that looks random and is not."""
    return int.from_bytes(tagged_hash(f"sim/{tag}", data)[:8], "big") % below


def evaluated(measurement: Measurement, replica: int, noise: Noise) -> Evaluated:
    """What honest replica `replica` measures."""
    rows = []
    for unit, reveal in measurement.candidates:
        seed = reveal.digest + unit.unit.to_bytes(4, "big")
        own = seed + bytes([replica])
        audited = unit.unit in measurement.audited
        rows.append(
            EvaluationRow(
                unit=unit.unit,
                valid=1,
                gain=60_000 + number("gain", seed, 60_000) + number("gain-noise", own, noise + 1),
                advantage=6_000
                + number("advantage", seed, 6_000)
                + number("advantage-noise", own, noise + 1),
                norm=1_000_000 + number("norm", seed, 1_000),
                replay=ONE - number("replay-noise", own, 64) if audited else 0,
            )
        )
    return Evaluated(cycle=measurement.cycle, rows=tuple(rows))


def stepped(step: OuterStep, job: Job) -> Stepped:
    """What every correct replica computes: the same bytes."""
    told = b"".join(reveal.digest + row.quality.to_bytes(8, "big") for row, reveal in step.updates)
    told += step.randomness
    records = heldout_predictions(job)
    models = []
    for halvings in range(job.backtracking + 1):
        digest = tagged_hash("sim/snapshot", step.base + told + bytes([halvings]))
        models.append(
            NextModel(
                digest=digest,
                challenge_loss=number("challenge-loss", digest, LOSS_FIRST_MICRONATS),
                loss=LOSS_FIRST_MICRONATS * 4 // (4 + step.cycle),
                correct=min(records, records * step.cycle // (2 + step.cycle)),
            )
        )
    return Stepped(cycle=step.cycle, models=tuple(models), records=records)
