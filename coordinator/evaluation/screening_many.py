"""First passes of very many updates of one segment, some at a time, straight from their files.

The same numbers as `first_pass` of what `decode_change` makes of each, for a fraction of the time:
an update's magnitudes are multiplied as they lie in the file, chunk by chunk, and each chunk's sum
is shifted by its exponent.  Those sums are whole numbers below 2**53, so floating-point products
give them exactly.  What is not plainly in order (a wrong header, an exponent out of range, an
update that may be above the norm cap) is left to the slow way, one at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from bft.errors import DecodeError
from chain.records.job import SPARSE, Job
from chain.rules.families.registry import segment_shapes
from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.sparse import SPARSE_EXPONENT_MAX
from chain.rules.tensors import file_head
from chain.rules.updates import (
    EXPONENT_MAX,
    EXPONENTS,
    decode_change,
    norm_cap,
    sparse_format,
    update_bytes_max,
    update_layout,
)
from coordinator.evaluation.screening import QUANTUM_MAX, first_pass
from coordinator.evaluation.sparse_many import several_sparse

GROUP = 16  # updates at a time: a chunk of them fits a core's cache
CHUNKS_MAX = 1 << 12  # whose shifted sums are added up in 64 bits
_BYTE = 8

Gradient = NDArray[np.int16]
Ints = NDArray[np.int64]
Found = list[int | None]

assert CHUNK_ELEMENTS * 2**8 * QUANTUM_MAX < 1 << 53
assert CHUNKS_MAX * (CHUNK_ELEMENTS * 2**8 * QUANTUM_MAX << EXPONENT_MAX) < 1 << 63


def first_passes(job: Job, segment: int, gradient: Gradient, updates: Sequence[bytes]) -> Found:
    """One number for each update, above 0 for a gain; None where it is no update of this segment.

    Args:
        gradient: (elements,) of the segment, see `quantised_gradient`.
    """
    several = _sparse if job.compression == SPARSE else _dense
    quick = several(job, segment, gradient)
    found: Found = []
    for start in range(0, len(updates), GROUP):
        group = updates[start : start + GROUP]
        told = quick(group)
        for update, number in zip(group, told, strict=True):
            found.append(_alone(job, segment, gradient, update) if number is None else number)
    return found


def _alone(job: Job, segment: int, gradient: Gradient, update: bytes) -> int | None:
    try:
        return first_pass(gradient, decode_change(job, segment, update))
    except DecodeError:
        return None


Quick = Callable[[Sequence[bytes]], Found]
"""Of a group, None for every update that must go the slow way."""


def _spread(
    count: int, good: Sequence[int], quiet: NDArray[np.bool_], numbers: Sequence[int]
) -> Found:
    """`count` results: `numbers`, in their order, for those of `good` that are quiet."""
    found: Found = [None] * count
    places = (n for n, is_so in zip(good, quiet.tolist(), strict=True) if is_so)
    for place, number in zip(places, numbers, strict=True):
        found[place] = number
    return found


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Where a dense update's chunk lies, and what it is multiplied with."""

    start: int  # byte of the file
    end: int
    exponent: int  # byte of the file
    gradient: NDArray[np.float64]  # (end - start,)


def _chunks(job: Job, segment: int, gradient: Gradient) -> list[_Chunk]:
    layout, found = update_layout(job, segment), []
    offset, places = len(file_head(layout)), {}
    for name in sorted(layout):
        places[name] = offset
        offset += prod(layout[name][1])
    seen = 0
    for name, shape in segment_shapes(job, segment).items():
        told = gradient[seen : seen + prod(shape)].astype(np.float64)
        seen += told.size
        for number, first in enumerate(range(0, told.size, CHUNK_ELEMENTS)):
            part = told[first : first + CHUNK_ELEMENTS]
            start = places[name] + first
            exponent = places[name + EXPONENTS] + number
            found.append(_Chunk(start, start + part.size, exponent, part))
    return found


def _dense(job: Job, segment: int, gradient: Gradient) -> Quick:
    chunks = _chunks(job, segment, gradient)
    head = file_head(update_layout(job, segment))
    size, cap = update_bytes_max(job, segment), norm_cap(job, segment)
    lengths = np.array([chunk.end - chunk.start for chunk in chunks], np.int64)
    exponents_at = np.array([chunk.exponent for chunk in chunks])

    def several(updates: Sequence[bytes]) -> Found:
        good = [n for n, data in enumerate(updates) if len(data) == size and data.startswith(head)]
        files = np.frombuffer(b"".join(updates[n] for n in good), np.int8).reshape(-1, size)
        exponents = files[:, exponents_at].astype(np.int64)
        quiet = _below(cap, lengths, exponents, 1 << _BYTE - 1, EXPONENT_MAX)
        sums = np.empty((len(good), len(chunks)), np.int64)
        floating = np.empty((len(good), CHUNK_ELEMENTS))
        for number, chunk in enumerate(chunks):
            part = floating[:, : chunk.end - chunk.start]
            part[:] = files[:, chunk.start : chunk.end]
            sums[:, number] = np.einsum("ij,j->i", part, chunk.gradient)  # in one thread
        return _spread(len(updates), good, quiet, _added(sums[quiet] << exponents[quiet]))

    return several


def _added(sums: Ints) -> list[int]:
    """Minus the sum of each row, exactly."""
    parts = [sums[:, n : n + CHUNKS_MAX].sum(axis=1) for n in range(0, sums.shape[1], CHUNKS_MAX)]
    return [-sum(row) for row in zip(*(part.tolist() for part in parts), strict=True)]


def _below(
    cap: int, lengths: Ints, exponents: Ints, magnitude: int, exponent_max: int
) -> NDArray[np.bool_]:
    """(updates,) whose exponents are in range, and so small that no norm is above the cap.

    Args:
        cap: of the squared norm.
        lengths: (chunks,) weights told in each.
        exponents: (updates, chunks).
        magnitude: no weight's is larger, before its exponent.
    """
    in_range = ((exponents >= 0) & (exponents <= exponent_max)).all(axis=1)
    largest = np.where(in_range, exponents.max(axis=1), 0)
    bound = [int(lengths.sum()) * magnitude**2 << 2 * int(exponent) for exponent in largest]
    return in_range & np.array([number <= cap for number in bound], np.bool_)


def _sparse(job: Job, segment: int, gradient: Gradient) -> Quick:
    form, cap = sparse_format(job, segment), norm_cap(job, segment)
    several = several_sparse(form)

    def quick(updates: Sequence[bytes]) -> Found:
        good, places, odd, exponents = several(updates)
        magnitude = (1 << form.value_bits) - 1
        quiet = _below(cap, form.kept, exponents, magnitude, SPARSE_EXPONENT_MAX)
        each = odd[quiet] * gradient[places[quiet]]
        sums = np.add.reduceat(each, np.cumsum(form.kept) - form.kept, axis=1)
        return _spread(len(updates), good, quiet, _added(sums << exponents[quiet]))

    return quick
