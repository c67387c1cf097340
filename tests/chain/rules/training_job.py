"""A job of a few weights, and updates for it, made by hand."""

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from chain.records.evaluation import ScoreRow
from chain.records.job import Job, make_sizes
from chain.rules.families.registry import segment_shapes
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import EXPONENTS, snapshot_layout, update_layout
from tests import sample

JOB = replace(
    sample.JOB,
    name=b"tiny",
    sizes=make_sizes(inputs=3, width=4, depth=2, classes=2),
    dataset=b"none",
    train_records=64,
    heldout_records=16,
    chunk_records=16,
    steps=4,
    batch_records=8,
)


def snapshot(value: int, job: Job = JOB) -> bytes:
    """All weights have this value."""
    layout = snapshot_layout(job)
    return encode_tensors(
        {name: np.full(shape, value, np.int32) for name, (_, shape) in layout.items()}
    )


def update(
    segment: int,
    magnitude: int,
    exponent: int = 0,
    job: Job = JOB,
    changed: Mapping[str, Tensor] | None = None,
) -> bytes:
    """All weights change by magnitude << exponent, but for the tensors in `changed`."""
    tensors: dict[str, Tensor] = {}
    for name, (_, shape) in update_layout(job, segment).items():
        tensors[name] = np.full(shape, exponent if name.endswith(EXPONENTS) else magnitude, np.int8)
    return encode_tensors(tensors | dict(changed or {}))


def random_update(segment: int, seed: int, job: Job = JOB) -> bytes:
    """Magnitudes and small exponents from a seed."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, Tensor] = {}
    for name, (_, shape) in update_layout(job, segment).items():
        low, high = (0, 8) if name.endswith(EXPONENTS) else (-128, 128)
        tensors[name] = generator.integers(low, high, shape).astype(np.int8)
    return encode_tensors(tensors)


def row(unit: int, segment: int, quality: int, *, valid: int = 1, tickets: int = 1) -> ScoreRow:
    """A scored unit."""
    return ScoreRow(
        cycle=1,
        unit=unit,
        miner=bytes(33),
        segment=segment,
        parameters=1,
        samples=1,
        valid=valid,
        gain=1,
        advantage=1,
        volume=1,
        coverage=1,
        quality=quality,
        tickets=tickets,
        merit=tickets,
    )


def weights_of(segment: int, tensors: Mapping[str, Tensor]) -> list[int]:
    """All weights of one segment, by name."""
    names = sorted(segment_shapes(JOB, segment))
    return [int(value) for name in names for value in tensors[name].ravel()]
