"""Model snapshots and miners' updates: what stands in their files, and their exact decoding.

A weight is an integer in units of 2**-fraction_bits.  An update carries one signed byte for each
weight and one power of two for each chunk of 4096 weights; its decoded values are integers in the
units of the weights, so every replica and every auditor decodes the same change.
Pure.
"""

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from bft.errors import DecodeError
from chain.records.job import Job
from chain.rules.families.registry import model_shapes, segment_parameters, segment_shapes
from chain.rules.tensors import Tensor, TensorSpec, decode_tensors, file_bytes

CHUNK_ELEMENTS = 4096  # weights that share one exponent
EXPONENT_MAX = 16
DELTA_MAX = 128 << EXPONENT_MAX  # 2**23: no decoded value is larger
EXPONENTS = ".exponents"
NORM_SHIFT = 3  # the root mean square of an update's values is at most 2**-NORM_SHIFT

Deltas = dict[str, NDArray[np.int64]]


def snapshot_layout(job: Job) -> dict[str, TensorSpec]:
    """Tensors of a model snapshot: every segment's, int32."""
    return {name: ("I32", shape) for name, shape in model_shapes(job).items()}


def update_layout(job: Job, segment: int) -> dict[str, TensorSpec]:
    """Tensors of an update: int8 magnitudes in the weights' shapes, and int8 exponents by chunk."""
    layout: dict[str, TensorSpec] = {}
    for name, shape in segment_shapes(job, segment).items():
        layout[name] = ("I8", shape)
        layout[name + EXPONENTS] = ("I8", (chunks(prod(shape)),))
    return layout


def chunks(elements: int) -> int:
    """Chunks of a tensor, the last one perhaps shorter."""
    return -(-elements // CHUNK_ELEMENTS)


def snapshot_bytes(job: Job) -> int:
    """Size of every snapshot of this job."""
    return file_bytes(snapshot_layout(job))


def update_bytes(job: Job, segment: int) -> int:
    """Size of every update of this segment."""
    return file_bytes(update_layout(job, segment))


def decode_snapshot(job: Job, data: bytes) -> dict[str, Tensor]:
    """Weights by name, int32, units of 2**-fraction_bits.  Raises DecodeError."""
    return decode_tensors(data, snapshot_layout(job))


def decode_update(job: Job, segment: int, data: bytes) -> Deltas:
    """The change of each weight that an update asks for, after the norm cap.

    Returns:
        By tensor name, in the weights' shapes: int64, units of 2**-fraction_bits, at most
        DELTA_MAX in absolute value.

    Raises:
        DecodeError: not an update of this segment, or an exponent out of range.
    """
    tensors = decode_tensors(data, update_layout(job, segment))
    deltas: Deltas = {}
    for name, shape in segment_shapes(job, segment).items():
        exponents = tensors[name + EXPONENTS].astype(np.int64)
        if exponents.min() < 0 or exponents.max() > EXPONENT_MAX:
            wrong = int(exponents.min() if exponents.min() < 0 else exponents.max())
            raise DecodeError(f"tensor {name!r} has exponent {wrong}; 0 to {EXPONENT_MAX} allowed")
        scales = np.repeat(np.int64(1) << exponents, CHUNK_ELEMENTS)[: prod(shape)]
        deltas[name] = tensors[name].astype(np.int64) * scales.reshape(shape)
    return capped(deltas, norm_cap(job, segment))


def norm_cap(job: Job, segment: int) -> int:
    """The largest squared norm of an update that is applied as it came."""
    return segment_parameters(job, segment) << 2 * (job.fraction_bits - NORM_SHIFT)


def squared_norm(deltas: Mapping[str, NDArray[np.int64]]) -> int:
    """Exact: a square is at most 2**46, a chunk's sum 2**58, and chunks add up unbounded."""
    total = 0
    for name in sorted(deltas):
        squares = np.square(deltas[name].ravel())
        sums = np.add.reduceat(squares, np.arange(0, squares.size, CHUNK_ELEMENTS))
        total += sum(sums.tolist())
    return total


def capped(deltas: Deltas, cap: int) -> Deltas:
    """The update, halved (towards zero) until its squared norm is at most `cap`."""
    while squared_norm(deltas) > cap:
        deltas = {name: np.sign(part) * (np.abs(part) >> 1) for name, part in deltas.items()}
    return deltas
