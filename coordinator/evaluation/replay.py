"""The audit of one unit: train it again and compare.

Base, records, their order and the optimiser follow from public data, so an honest update is this
replica's own but for the rounding of other hardware.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chain.records.contribution import WorkUnit
from chain.records.job import Job
from chain.rules.assignment import training_seed
from chain.rules.changes import Change
from chain.rules.families.registry import segment_shapes
from miner.training.trainer import train_changes

ONE = 1 << 16


def replay(
    job: Job, base: bytes, unit: WorkUnit, chunk: Sequence[int], seed: bytes, update: Change
) -> int:
    """Likeness of the update to this replica's own training of the unit, 2**-16, at least 0.

    Args:
        base: the snapshot that the miner started from.
        chunk: indices of the unit's records, all of them.
        seed: of the assignment, 32 bytes.
        update: as the miner's bytes decode, before any cap.

    Raises:
        ConfigError, DecodeError, ValueError: as `train_changes`.
    """
    changes = train_changes(job, base, unit, chunk, training_seed(seed, unit))
    made = np.concatenate([changes[name].ravel() for name in segment_shapes(job, unit.segment)])
    told = update.part(0, update.elements).astype(np.float64)
    return likeness(told, made * 2.0**job.fraction_bits)


def likeness(told: NDArray[np.float64], made: NDArray[np.float64]) -> int:
    """The cosine times the shorter length over the longer, 2**-16, at least 0.

    Over the weights at which `told` is not 0; 0 when there are none.  So a longer step is as much
    another update as one in another direction.
    """
    made = np.where(told == 0, 0.0, made)
    longest = max(float(told @ told), float(made @ made))
    if longest == 0:
        return 0
    return min(ONE, max(0, int(float(told @ made) / longest * ONE)))
