"""Model snapshots and miners' updates: what stands in their files, and their exact decoding.

A weight is an integer in units of 2**-fraction_bits.  An update is dense ("int8": one signed byte
for each weight and one power of two for each chunk of 4096 weights) or sparse ("topk", see
chain/rules/sparse.py), as the job says; its decoded values are integers in the units of the
weights, so every replica and every auditor decodes the same change.
Pure.
"""

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from bft.errors import DecodeError
from chain.records.job import SPARSE as SPARSE
from chain.records.job import Job
from chain.rules.changes import Change, Ints
from chain.rules.families.registry import model_shapes, segment_parameters, segment_shapes
from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.sparse import SparseFormat, decode_sparse
from chain.rules.tensors import Tensor, TensorSpec, decode_tensors, file_bytes

EXPONENT_MAX = 16  # of the dense format: 128 << 16 is changes.DELTA_MAX
EXPONENTS = ".exponents"
NORM_SHIFT = 3  # the root mean square of an update's values is at most 2**-NORM_SHIFT
VELOCITY = "velocity."  # before a tensor's name: the outer optimiser's momentum

Deltas = dict[str, NDArray[np.int64]]


def snapshot_layout(job: Job) -> dict[str, TensorSpec]:
    """Tensors of a model snapshot: every segment's, int32, and with momentum their velocities."""
    weights: dict[str, TensorSpec] = {
        name: ("I32", shape) for name, shape in model_shapes(job).items()
    }
    velocities = {VELOCITY + name: spec for name, spec in weights.items()}
    return weights | velocities if job.outer_momentum else weights


def update_layout(job: Job, segment: int) -> dict[str, TensorSpec]:
    """Tensors of a dense update: int8 magnitudes in the weights' shapes, exponents by chunk."""
    layout: dict[str, TensorSpec] = {}
    for name, shape in segment_shapes(job, segment).items():
        layout[name] = ("I8", shape)
        layout[name + EXPONENTS] = ("I8", (chunks(prod(shape)),))
    return layout


def sparse_format(job: Job, segment: int) -> SparseFormat:
    """The sparse updates of a segment."""
    elements = segment_parameters(job, segment)
    return SparseFormat(elements=elements, keep=job.keep, value_bits=job.value_bits)


def chunks(elements: int) -> int:
    """Chunks of a tensor, the last one perhaps shorter."""
    return -(-elements // CHUNK_ELEMENTS)


def snapshot_bytes(job: Job) -> int:
    """Size of every snapshot of this job."""
    return file_bytes(snapshot_layout(job))


def update_bytes_max(job: Job, segment: int) -> int:
    """No update of this segment is longer; a dense one has exactly this size."""
    if job.compression == SPARSE:
        return sparse_format(job, segment).bytes_max
    return file_bytes(update_layout(job, segment))


def decode_snapshot(job: Job, data: bytes) -> dict[str, Tensor]:
    """Weights by name, int32, units of 2**-fraction_bits; no velocities.  Raises DecodeError."""
    tensors = decode_tensors(data, snapshot_layout(job))
    return {name: part for name, part in tensors.items() if not name.startswith(VELOCITY)}


def decode_update(job: Job, segment: int, data: bytes) -> Deltas:
    """The change of each weight that an update asks for, after the norm cap.

    Returns:
        By tensor name, in the weights' shapes: int64, units of 2**-fraction_bits, at most
        changes.DELTA_MAX in absolute value.

    Raises:
        DecodeError: not an update of this segment.
    """
    change = decode_change(job, segment, data)
    return by_name(job, segment, change.part(0, change.elements))


def decode_change(job: Job, segment: int, data: bytes) -> Change:
    """The same as one vector of the segment, sparse if the update is.  Raises DecodeError."""
    if job.compression == SPARSE:
        form = sparse_format(job, segment)
        told = decode_sparse(form, data)
        change = Change(form.elements, told.places, told.values)
    else:
        vector = _dense(job, segment, data)
        change = Change(vector.size, None, vector)
    return change.capped(norm_cap(job, segment))


def norm_cap(job: Job, segment: int) -> int:
    """The largest squared norm of an update that is applied as it came."""
    return segment_parameters(job, segment) << 2 * (job.fraction_bits - NORM_SHIFT)


def by_name(job: Job, segment: int, vector: Ints) -> Deltas:
    """A segment's vector as its tensors: by name, each in row-major order."""
    parts: Deltas = {}
    start = 0
    for name, shape in segment_shapes(job, segment).items():
        parts[name] = vector[start : start + prod(shape)].reshape(shape)
        start += prod(shape)
    return parts


def as_vector(job: Job, segment: int, tensors: Mapping[str, Tensor], prefix: str = "") -> Ints:
    """The other way; `prefix` stands before each name."""
    names = segment_shapes(job, segment)
    return np.concatenate([tensors[prefix + name].ravel() for name in names]).astype(np.int64)


def _dense(job: Job, segment: int, data: bytes) -> Ints:
    """(elements,) magnitude times its chunk's power of two.  Raises DecodeError."""
    tensors = decode_tensors(data, update_layout(job, segment))
    vector = np.empty(segment_parameters(job, segment), np.int64)
    start = 0
    for name, shape in segment_shapes(job, segment).items():
        exponents = tensors[name + EXPONENTS].astype(np.int64)
        if exponents.min() < 0 or exponents.max() > EXPONENT_MAX:
            wrong = int(exponents.min() if exponents.min() < 0 else exponents.max())
            raise DecodeError(f"tensor {name!r} has exponent {wrong}; 0 to {EXPONENT_MAX} allowed")
        part = vector[start : start + prod(shape)]
        part[:] = tensors[name].ravel()
        for chunk, exponent in enumerate(exponents.tolist()):
            part[chunk * CHUNK_ELEMENTS : (chunk + 1) * CHUNK_ELEMENTS] <<= exponent
        start += part.size
    return vector
