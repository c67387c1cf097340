"""A trained segment's change -> the bytes of an update.

One signed byte for each weight and one power of two for each 4096 of them: the smallest power that
holds the chunk's largest change, so nothing is cut off.  The other direction is exact and stands in
chain/rules/updates.py.
"""

from collections.abc import Mapping
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from chain.records.job import Job
from chain.rules.families.registry import segment_shapes
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import (
    CHUNK_ELEMENTS,
    EXPONENT_MAX,
    EXPONENTS,
    chunks,
)

MAGNITUDE_MAX = 127


def encode_update(job: Job, segment: int, changes: Mapping[str, NDArray[np.float64]]) -> bytes:
    """The update's bytes.

    Args:
        changes: trained minus base weights, by tensor name, in the weights' shapes; weights
            themselves, not units of 2**-fraction_bits.

    Raises:
        ValueError: a change is NaN or infinite, or has another shape than the segment's.
    """
    tensors: dict[str, Tensor] = {}
    for name, shape in segment_shapes(job, segment).items():
        change = np.asarray(changes[name], dtype=np.float64) * 2.0**job.fraction_bits
        if change.shape != shape:
            raise ValueError(f"change of {name!r} has shape {change.shape}; it must be {shape}")
        if not np.isfinite(change).all():
            raise ValueError(f"change of {name!r} is not finite: training diverged")
        magnitudes, exponents = _quantise(change.ravel())
        tensors[name] = magnitudes.reshape(shape)
        tensors[name + EXPONENTS] = exponents
    return encode_tensors(tensors)


def _quantise(change: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Magnitudes (elements,) and exponents (chunks,); rounds half to even."""
    magnitudes = np.zeros(change.size, np.int8)
    exponents = np.zeros(chunks(change.size), np.int8)
    for number in range(exponents.size):
        part = slice(number * CHUNK_ELEMENTS, (number + 1) * CHUNK_ELEMENTS)
        largest = float(np.abs(change[part]).max())
        exponent = ceil(log2(largest / MAGNITUDE_MAX)) if largest > MAGNITUDE_MAX else 0
        exponents[number] = exponent = min(exponent, EXPONENT_MAX)
        scaled = np.rint(change[part] * 2.0**-exponent)
        magnitudes[part] = np.clip(scaled, -MAGNITUDE_MAX, MAGNITUDE_MAX).astype(np.int8)
    return magnitudes, exponents
