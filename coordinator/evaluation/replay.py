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
    """Cosine of the update with this replica's own training of the unit, 2**-16, at least 0.

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
    return cosine(update.part(0, update.elements).astype(np.float64), made)


def cosine(told: NDArray[np.float64], made: NDArray[np.float64]) -> int:
    """Over the weights at which `told` is not 0, 2**-16 and at least 0; 0 when there are none."""
    made = np.where(told == 0, 0.0, made)
    lengths = float(np.linalg.norm(told) * np.linalg.norm(made))
    if lengths == 0:
        return 0
    return min(ONE, max(0, int(float(told @ made) / lengths * ONE)))
