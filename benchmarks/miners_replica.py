"""`python -m benchmarks.miners_replica HOME`: a replica as operators run it, measuring nothing.

Everything of it is real but the numbers in its tables: measuring and the outer step, which
`benchmarks.miners` leaves out, take no time here.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bft.crypto.hashing import sha256, tagged_hash
from chain.params import Params
from chain.records.evaluation import EvaluationRow, NextModel, ScoreRow
from chain.records.job import Job
from chain.rules.audits import ONE
from coordinator.main import run_replica

if TYPE_CHECKING:
    from coordinator.evaluation.evaluator import Batches, Candidate

GAIN, ADVANTAGE = 60_000, 6_000  # micro-nats of the worst unit; the best has twice as much
LOSS = 1_000_000


class StatedPool:
    """Stands where the evaluation pool stands: numbers follow from the updates' bytes."""

    async def evaluate(
        self,
        job: Job,
        params: Params,
        base: bytes,
        items: Sequence["Candidate"],
        shared: "Batches",
    ) -> tuple[EvaluationRow, ...]:
        """One row per item, the same at every replica; a missing update is invalid."""
        return tuple(_row(item) for item in items)

    async def outer_step(
        self,
        job: Job,
        base: bytes,
        updates: Sequence[tuple[ScoreRow, bytes | Path]],
        randomness: bytes,
        challenge: Sequence[int],
    ) -> tuple[tuple[bytes, ...], tuple[NextModel, ...]]:
        """Bytes that depend on every update, as the next model does."""
        told = b"".join(
            sha256(data if isinstance(data, bytes) else data.read_bytes()) for _, data in updates
        )
        model = tagged_hash("benchmark/model", base + told)
        measured = NextModel(digest=sha256(model), challenge_loss=0, loss=LOSS, correct=0)
        return (model,), (measured,)

    async def close(self) -> None:
        """There is nothing to stop."""


def _row(item: "Candidate") -> EvaluationRow:
    if item.update is None:
        return EvaluationRow(unit=item.unit.unit, valid=0, gain=0, advantage=0, norm=0, replay=0)
    seed = sha256(item.update)
    return EvaluationRow(
        unit=item.unit.unit,
        valid=1,
        gain=GAIN + int.from_bytes(seed[:4], "big") % GAIN,
        advantage=ADVANTAGE + int.from_bytes(seed[4:8], "big") % ADVANTAGE,
        norm=len(item.update),
        replay=ONE if item.chunk else 0,
    )


if __name__ == "__main__":
    import coordinator.evaluation.evaluator  # noqa: F401  torch is here before the clock starts

    sys.exit(run_replica(Path(sys.argv[1]), lambda workers: StatedPool()))
