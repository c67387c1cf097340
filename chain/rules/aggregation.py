"""The outer step: scored updates -> the next model snapshot, the same bytes on every machine.

For each segment the updates' mean, weighted by quality, times the job's outer rate.  Whole numbers
only, so neither the order of the updates nor the hardware matters.
Source: DiLoCo's outer step without momentum, damped because all segments move at once; see
docs/PROTOCOL.md, "The next model".
Pure.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chain.records.evaluation import UNITS_MAX, ScoreRow
from chain.records.job import Job
from chain.rules.families.registry import segment_shapes
from chain.rules.jobs import OUTER_DAMPING_MAX, OUTER_RATE_MAX, check_job
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import (
    DELTA_MAX,
    Deltas,
    decode_snapshot,
    decode_update,
)

QUALITY_MAX = 1 << 16
WEIGHT_MIN, WEIGHT_MAX = -(1 << 31), (1 << 31) - 1

# numerator * sum(quality * delta) and denominator * sum(quality) are signed 64-bit integers.
assert OUTER_RATE_MAX * UNITS_MAX * QUALITY_MAX * DELTA_MAX < 1 << 62
assert OUTER_DAMPING_MAX * UNITS_MAX * QUALITY_MAX < 1 << 62


def counts(row: ScoreRow) -> bool:
    """Whether a unit's update moves the model: it is valid, earned tickets and has quality."""
    return bool(row.valid and row.tickets and row.quality)


def outer_step(job: Job, base: bytes, updates: Sequence[tuple[ScoreRow, bytes]]) -> bytes:
    """The next snapshot.

        weight + floor(numerator * sum(quality * delta) / (denominator * sum(quality)))

    for each weight of a segment that has a counted update, kept within int32; weights of other
    segments stay.

    Args:
        base: the snapshot that the miners started from.
        updates: score and bytes of each unit, in any order; at most UNITS_MAX.

    Raises:
        DecodeError: `base` is no snapshot of the job, or the bytes of a counted unit no update of
            its segment (then they are not the bytes that were scored).
        ValueError: too many updates, or a quality above QUALITY_MAX.
    """
    check_job(job)
    if len(updates) > UNITS_MAX:
        raise ValueError(f"{len(updates)} updates; at most {UNITS_MAX}")
    model = decode_snapshot(job, base)
    for segment in range(job.segments):
        total: Deltas = {
            name: np.zeros(shape, np.int64) for name, shape in segment_shapes(job, segment).items()
        }
        quality = 0
        for row, data in updates:
            if row.segment == segment and counts(row):
                if row.quality > QUALITY_MAX:
                    raise ValueError(f"quality {row.quality}; at most {QUALITY_MAX}")
                quality += row.quality
                for name, delta in decode_update(job, segment, data).items():
                    total[name] += row.quality * delta
        if quality:
            for name, moved in total.items():
                model[name] = _step(job, model[name], moved, quality)
    return encode_tensors(model)


def _step(job: Job, weights: Tensor, total: NDArray[np.int64], quality: int) -> Tensor:
    """One tensor's weights after the outer step, int32.  Division rounds down."""
    change = job.outer_rate_numerator * total // (job.outer_rate_denominator * quality)
    moved: NDArray[np.int64] = np.clip(weights + change, WEIGHT_MIN, WEIGHT_MAX)
    return moved.astype(np.int32)
