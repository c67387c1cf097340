"""The outer step: scored updates -> the next model snapshot, the same bytes on every machine.

For each segment the updates merge into one change (chain/rules/merging.py); the outer optimiser
makes a step of it, damped because all segments move at once, and perhaps shorter ones to choose
from.  Whole numbers only, so neither the order of the updates nor the hardware matters.
Source: DiLoCo's outer step (Douillard et al., arXiv 2311.08105), Nesterov's momentum as
torch.optim.SGD has it; see docs/PROTOCOL.md, "The next model".
Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chain.records.evaluation import UNITS_MAX, ScoreRow
from chain.records.job import Job
from chain.rules.changes import DELTA_MAX, Change, Ints
from chain.rules.families.registry import segment_parameters
from chain.rules.jobs import (
    BACKTRACKING_MAX,
    OUTER_DAMPING_MAX,
    OUTER_RATE_MAX,
    check_job,
)
from chain.rules.merging import Source, merge
from chain.rules.norms import limited
from chain.rules.tensors import Tensor, decode_tensors, encode_tensors
from chain.rules.updates import (
    VELOCITY,
    as_vector,
    by_name,
    decode_change,
    snapshot_layout,
)

QUALITY_MAX = 1 << 16
MOMENTUM_BITS = 16
WEIGHT_MIN, WEIGHT_MAX = -(1 << 31), (1 << 31) - 1

# All sums and products are signed 64-bit integers, with a bit to spare for rounding.
assert UNITS_MAX * QUALITY_MAX * DELTA_MAX < 1 << 62
assert OUTER_RATE_MAX * (DELTA_MAX - WEIGHT_MIN) < 1 << 62
assert OUTER_DAMPING_MAX << BACKTRACKING_MAX < 1 << 62

Read = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Scored:
    """One unit's score, and where its update's bytes are to be had, as often as asked."""

    row: ScoreRow
    read: Read


def counts(row: ScoreRow) -> bool:
    """Whether a unit's update moves the model: it is valid, has merit and has quality."""
    return bool(row.valid and row.merit and row.quality)


def outer_step(
    job: Job, base: bytes, updates: Sequence[tuple[ScoreRow, bytes]], randomness: bytes
) -> tuple[bytes, ...]:
    """`next_snapshots` from updates that are in memory."""
    scored = [Scored(row, _holding(data)) for row, data in updates]
    return next_snapshots(job, base, scored, randomness)


def next_snapshots(
    job: Job, base: bytes, updates: Sequence[Scored], randomness: bytes
) -> tuple[bytes, ...]:
    """The next snapshot with the full step, then with each halving that the job tries.

        merged   = the segment's updates, merged by the job's rule
        velocity = momentum * velocity + merged
        weight  += rate * (merged + momentum * velocity) / 2**halvings

    for each segment with a counted update; weights and velocities of other segments stay.  Besides
    the snapshots, memory is bounded by a few vectors of one segment.

    Args:
        base: the snapshot that the miners started from.
        updates: each unit once, in any order; at most UNITS_MAX.
        randomness: 32 bytes of the cycle's draw, which nobody knew when updates were made.

    Raises:
        DecodeError: `base` is no snapshot of the job, or the bytes of a counted unit no update of
            its segment (then they are not the bytes that were scored).
        ValueError: too many updates, or a quality above QUALITY_MAX.
    """
    check_job(job)
    if len(updates) > UNITS_MAX:
        raise ValueError(f"{len(updates)} updates; at most {UNITS_MAX}")
    tensors = decode_tensors(base, snapshot_layout(job))
    nexts = [dict(tensors) for _ in range(job.backtracking + 1)]
    for segment in range(job.segments):
        sources = [
            _source(job, segment, one)
            for one in updates
            if one.row.segment == segment and counts(one.row)
        ]
        merged = _merged(job, segment, sources, randomness) if sources else None
        if merged is not None:
            _step(job, segment, tensors, merged, nexts)
    return tuple(encode_tensors(made) for made in nexts)


def _merged(job: Job, segment: int, sources: list[Source], randomness: bytes) -> Ints | None:
    return merge(
        job.aggregation,
        sources,
        segment_parameters(job, segment),
        agreement=job.agreement,
        trim=job.trim,
        randomness=randomness,
    )


def _source(job: Job, segment: int, scored: Scored) -> Source:
    row = scored.row
    if row.quality > QUALITY_MAX:
        raise ValueError(f"quality {row.quality}; at most {QUALITY_MAX}")

    def read() -> Change:
        return limited(decode_change(job, segment, scored.read()), row.cap)

    return Source(unit=row.unit, quality=row.quality, read=read)


def _step(
    job: Job,
    segment: int,
    base: dict[str, Tensor],
    merged: Ints,
    nexts: Sequence[dict[str, Tensor]],
) -> None:
    """Put one segment's weights and velocities into each of the next models."""
    weights, direction = as_vector(job, segment, base), merged
    if job.outer_momentum:
        before = as_vector(job, segment, base, VELOCITY)
        velocity = np.clip(_damped(before, job.outer_momentum) + merged, WEIGHT_MIN, WEIGHT_MAX)
        direction = merged + _damped(velocity, job.outer_momentum)
        for made in nexts:
            _put(job, segment, made, velocity, VELOCITY)
    for halvings, made in enumerate(nexts):
        divisor = job.outer_rate_denominator << halvings
        change = (2 * job.outer_rate_numerator * direction + divisor) // (2 * divisor)
        _put(job, segment, made, np.clip(weights + change, WEIGHT_MIN, WEIGHT_MAX))


def _damped(velocity: Ints, momentum: int) -> Ints:
    """momentum / 2**16 of it, rounded towards 0, so that it ends."""
    damped: Ints = np.sign(velocity) * (np.abs(velocity) * momentum >> MOMENTUM_BITS)
    return damped


def _put(job: Job, segment: int, made: dict[str, Tensor], vector: Ints, prefix: str = "") -> None:
    for name, part in by_name(job, segment, vector.astype(np.int32)).items():
        made[prefix + name] = part


def _holding(data: bytes) -> Read:
    return lambda: data
