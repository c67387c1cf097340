"""Faults that the demonstration causes on purpose.  None of this is in what operators run."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from chain.params import Params
from chain.records.evaluation import EvaluationRow
from chain.records.job import Job
from coordinator.evaluation.evaluator import Batches, Candidate
from coordinator.evaluation.pool import EvaluationPool

LIE_MICRONATS = 5_000_000
"""How much better the liar makes the first unit look, and how much worse all others."""


class LyingPool(EvaluationPool):
    """Measures like everybody else, then writes down what suits it."""

    async def evaluate(
        self,
        job: Job,
        params: Params,
        base: bytes,
        items: Sequence[Candidate],
        shared: Batches,
        **options: Any,
    ) -> tuple[EvaluationRow, ...]:
        """The honest table, bent in favour of one miner."""
        rows = await super().evaluate(job, params, base, items, shared, **options)
        return tuple(
            replace(
                row,
                gain=row.gain + (LIE_MICRONATS if place == 0 else -LIE_MICRONATS),
                advantage=row.advantage + (LIE_MICRONATS if place == 0 else -LIE_MICRONATS),
            )
            for place, row in enumerate(rows)
        )
