"""What evaluation and the outer step cost on this machine: JSON on stdout.

python -m benchmarks.evaluation
"""

import asyncio
import json
from time import perf_counter

from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.evaluation import ScoreRow
from chain.rules.aggregation import outer_step
from chain.rules.assignment import chunk_records
from coordinator.evaluation.evaluator import Candidate, evaluate, heldout
from coordinator.evaluation.pool import EvaluationPool
from miner.training.benchmark import measure_capacity
from miner.training.jobs import digits_job
from miner.training.trainer import train_unit

UNITS = 96
WORKERS = 2


def row(unit: WorkUnit) -> ScoreRow:
    """A score that makes the unit count."""
    fields = {name: 1 for name in ("parameters", "samples", "valid", "gain", "advantage")}
    return ScoreRow(
        cycle=1,
        unit=unit.unit,
        miner=unit.miner,
        segment=unit.segment,
        volume=1,
        coverage=1,
        quality=1,
        tickets=1,
        **fields,
    )


async def main() -> None:
    """Train one unit of each segment, then measure many copies of them."""
    job, base = digits_job()
    seed = bytes(32)
    figures: dict[str, float] = {"capacity_parameter_samples_per_s": measure_capacity(job, base)}
    start = perf_counter()
    updates = [
        train_unit(
            job,
            base,
            WorkUnit(unit=0, miner=bytes(33), segment=segment, chunk=0, steps=job.steps),
            chunk_records(seed, job, 0),
            seed,
        )
        for segment in range(job.segments)
    ]
    figures["train_unit_ms"] = (perf_counter() - start) * 1000 / job.segments
    units = [
        WorkUnit(unit=n, miner=bytes(33), segment=n % job.segments, chunk=0, steps=job.steps)
        for n in range(UNITS)
    ]
    items = [Candidate(unit, updates[unit.segment]) for unit in units]
    own = {unit.unit: chunk_records(seed, job, 0) for unit in units}
    challenge = range(job.train_records, job.train_records + MINIMAL.challenge_records)
    start = perf_counter()
    evaluate(job, MINIMAL, base, items, challenge, own)
    figures["evaluate_units_per_s_one_process"] = UNITS / (perf_counter() - start)
    pool = EvaluationPool(WORKERS)
    await pool.evaluate(job, MINIMAL, base, items, challenge, own)  # starts the workers
    start = perf_counter()
    await pool.evaluate(job, MINIMAL, base, items, challenge, own)
    figures[f"evaluate_units_per_s_{WORKERS}_workers"] = UNITS / (perf_counter() - start)
    await pool.close()
    start = perf_counter()
    after = outer_step(job, base, [(row(item.unit), item.update or b"") for item in items], seed)[0]
    figures["outer_step_ms_per_unit"] = (perf_counter() - start) * 1000 / UNITS
    start = perf_counter()
    heldout(job, after)
    figures["heldout_ms"] = (perf_counter() - start) * 1000
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
