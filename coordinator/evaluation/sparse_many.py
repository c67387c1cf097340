"""Sparse updates of one format, several decoded at once: see chain/rules/sparse.py for the format.

One update of few entries costs far more in calls than in work; here each call serves a group.
What is not plainly in order is left out, for `decode_sparse` to say why.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.sparse import EXPONENTS, REMAINDERS, SparseFormat
from chain.rules.tensors import file_head

HEADS_CACHED_MAX = 256
_LENGTH_BYTES = 8  # of the header's length
_BYTE = 8

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Several = Callable[[Sequence[bytes]], tuple[list[int], Ints, Ints, Ints]]


def several_sparse(form: SparseFormat) -> Several:
    """A decoder of several updates at once.

    Returns:
        A function of some files, which gives: which of them are in order; and of these, a row each,
        (files, entries) places in the segment's vector, (files, entries) odd numbers, signed,
        (files, chunks) exponents, any byte.
    """
    kept, lengths, entries = form.kept, form.lengths, form.entries
    starts = np.cumsum(kept) - kept
    chunk_starts = np.repeat(np.arange(form.chunks) * CHUNK_ELEMENTS, kept)
    sizes = {name: shape[0] for name, (_, shape) in form.layout(0).items()}
    fixed = sum(sizes.values())

    @lru_cache(maxsize=HEADS_CACHED_MAX)
    def head(quotient_bytes: int) -> bytes:
        return file_head(form.layout(quotient_bytes))

    def headed(data: bytes) -> int:
        """Bytes of the quotients; 0 when the file begins otherwise than its size says."""
        start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        rest = len(data) - start - fixed
        right = 1 <= rest <= form.quotient_bytes_max and data.startswith(head(rest))
        return rest if right else 0

    def several(updates: Sequence[bytes]) -> tuple[list[int], Ints, Ints, Ints]:
        rests = [headed(data) for data in updates]
        first = sizes[EXPONENTS]
        quotients = [
            data[-(fixed - first) - rest : first - fixed] if rest else b""
            for data, rest in zip(updates, rests, strict=True)
        ]
        good, ends = _ends(quotients, entries)
        tails = b"".join(updates[n][first - fixed :] for n in good)
        tail = np.frombuffer(tails, np.uint8).reshape(len(good), fixed - first)
        remainders, clean = _unpacked(tail[:, : sizes[REMAINDERS]], form.rice_bits, entries)
        codes, clean_too = _unpacked(tail[:, sizes[REMAINDERS] :], form.value_bits, entries)
        gaps = ((np.diff(ends, axis=1, prepend=-1) - 1) << form.rice_bits) + remainders
        total = np.cumsum(gaps + 1, axis=1)
        before = total[:, starts] - gaps[:, starts] - 1
        within = total - 1 - np.repeat(before, kept, axis=1)
        inside = (within[:, starts + kept - 1] < lengths).all(axis=1)
        fine = clean & clean_too & inside
        half = 1 << form.value_bits - 1
        odd = 2 * (codes & half - 1) + 1
        odd = np.where(codes >= half, -odd, odd)
        heads = b"".join(_exponents(updates[n], rests[n], fixed, first) for n in good)
        exponents = np.frombuffer(heads, np.uint8).reshape(len(good), first).astype(np.int64)
        kept_ones = [n for n, is_so in zip(good, fine.tolist(), strict=True) if is_so]
        return kept_ones, within[fine] + chunk_starts, odd[fine], exponents[fine]

    return several


def _exponents(data: bytes, rest: int, fixed: int, size: int) -> bytes:
    start = len(data) - fixed - rest
    return data[start : start + size]


def _ends(quotients: Sequence[bytes], entries: int) -> tuple[list[int], Ints]:
    """Of which files the quotients are in order, and (files, entries) the bit where each ends."""
    bits = np.unpackbits(np.frombuffer(b"".join(quotients), np.uint8))
    ends = np.flatnonzero(bits)
    bounds = np.cumsum([0, *(_BYTE * len(part) for part in quotients)])
    counts = np.diff(np.searchsorted(ends, bounds))
    good, rows, seen = [], [], 0
    for number, count in enumerate(counts.tolist()):
        row = ends[seen : seen + count]
        seen += count
        if count == entries and row[-1] >= bounds[number + 1] - _BYTE:
            good.append(number)
            rows.append(row - bounds[number])
    return good, np.array(rows, np.int64).reshape(len(good), entries)


def _unpacked(data: Bytes, bits: int, count: int) -> tuple[Ints, NDArray[np.bool_]]:
    """(files, count) numbers of `bits` bits, and (files,) whether nothing but 0 follows them."""
    flat = np.unpackbits(data, axis=1)
    numbers = np.zeros((len(data), count), np.int64)
    for place in range(bits):
        numbers = 2 * numbers + flat[:, place : count * bits : bits]
    spoilt: NDArray[np.bool_] = np.any(flat[:, count * bits :], axis=1)
    return numbers, ~spoilt
