"""The audit of one unit: train it again and compare.

Base, records, their order, the optimiser and the rounding to bytes follow from public data, so an
honest update is this replica's own but for the rounding of other hardware.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chain.records.contribution import WorkUnit
from chain.records.job import Job
from chain.rules.assignment import training_seed
from chain.rules.changes import Change
from chain.rules.updates import decode_change
from miner.training.compression import encode_update
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
    return likeness(update, train_again(job, base, unit, chunk, seed))


def train_again(job: Job, base: bytes, unit: WorkUnit, chunk: Sequence[int], seed: bytes) -> Change:
    """The unit's update as this replica makes it.  Arguments and errors as `replay`."""
    changes = train_changes(job, base, unit, chunk, training_seed(seed, unit))
    return decode_change(job, unit.segment, encode_update(job, unit.segment, changes))


def likeness(told: Change, made: Change) -> int:
    """The cosine times the shorter length over the longer, 2**-16, at least 0.

    0 when both are 0.  So a longer step is as much another update as one in another direction, and
    an update that leaves weights out is another one too.
    """
    a, b = _vector(told), _vector(made)
    longest = max(float(a @ a), float(b @ b))
    if longest == 0:
        return 0
    return min(ONE, max(0, int(float(a @ b) / longest * ONE)))


def _vector(change: Change) -> NDArray[np.float64]:
    return change.part(0, change.elements).astype(np.float64)
