"""A trained segment's change -> the bytes of an update, as the job says.

Dense: one signed byte for each weight and one power of two for each 4096 of them: the smallest
power that holds the chunk's largest change, so nothing is cut off.  Sparse: the largest entries of
each 4096 in a few bits, and error feedback for the rest.  The other direction is exact and stands
in chain/rules/updates.py.
"""

from collections.abc import Mapping
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from chain.records.contribution import WorkUnit
from chain.records.job import Job
from chain.rules.families.registry import segment_shapes
from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.sparse import SparseFormat, decode_sparse
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import EXPONENT_MAX, EXPONENTS, SPARSE, chunks, sparse_format
from miner.training.feedback import FeedbackStore, Remainder
from miner.training.sparsify import Floats, encode_topk

MAGNITUDE_MAX = 127
FEEDBACK_DECAY = 0.95
"""Of what an update did not tell, so much is told with the next; what is old fades."""


def encode_unit(
    job: Job,
    base: bytes,
    unit: WorkUnit,
    changes: Mapping[str, NDArray[np.float64]],
    store: FeedbackStore | None,
) -> bytes:
    """The update's bytes; with sparse updates and a store also what earlier ones did not tell.

    Args:
        base: the snapshot's bytes.
        changes: as `encode_update`.
    """
    if job.compression != SPARSE or store is None:
        return encode_update(job, unit.segment, changes)
    form = sparse_format(job, unit.segment)
    marks = (sha256(encode(job)), sha256(base), unit.unit, unit.segment)
    before = store.before(*marks, form.elements)
    change = change_vector(job, unit.segment, changes)
    data, rest = encode_with_feedback(form, change, before.values)
    store.keep(Remainder(values=rest, mark=before.mark))
    return data


def encode_with_feedback(
    form: SparseFormat, change: Floats, remainder: Floats
) -> tuple[bytes, Floats]:
    """The bytes of change and remainder, and what they do not tell of them."""
    rest = change + np.float32(FEEDBACK_DECAY) * remainder
    data = encode_topk(form, rest)
    told = decode_sparse(form, data)
    rest[told.places] -= told.values.astype(np.float32)
    return data, rest


def change_vector(job: Job, segment: int, changes: Mapping[str, NDArray[np.float64]]) -> Floats:
    """(elements,) the segment's vector in units of 2**-fraction_bits.  Raises ValueError."""
    checked = (_checked(job, name, shape, changes) for name, shape in _shapes(job, segment))
    return np.concatenate([part.ravel() for part in checked]).astype(np.float32)


def encode_update(job: Job, segment: int, changes: Mapping[str, NDArray[np.float64]]) -> bytes:
    """The update's bytes.

    Args:
        changes: trained minus base weights, by tensor name, in the weights' shapes; weights
            themselves, not units of 2**-fraction_bits.

    Raises:
        ValueError: a change is NaN or infinite, or has another shape than the segment's.
    """
    if job.compression == SPARSE:
        return encode_topk(sparse_format(job, segment), change_vector(job, segment, changes))
    tensors: dict[str, Tensor] = {}
    for name, shape in _shapes(job, segment):
        magnitudes, exponents = _quantise(_checked(job, name, shape, changes).ravel())
        tensors[name] = magnitudes.reshape(shape)
        tensors[name + EXPONENTS] = exponents
    return encode_tensors(tensors)


def _shapes(job: Job, segment: int) -> list[tuple[str, tuple[int, ...]]]:
    return list(segment_shapes(job, segment).items())


def _checked(
    job: Job, name: str, shape: tuple[int, ...], changes: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    change: NDArray[np.float64] = (
        np.asarray(changes[name], dtype=np.float64) * 2.0**job.fraction_bits
    )
    if change.shape != shape:
        raise ValueError(f"change of {name!r} has shape {change.shape}; it must be {shape}")
    if not np.isfinite(change).all():
        raise ValueError(f"change of {name!r} is not finite: training diverged")
    return change


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
