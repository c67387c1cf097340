"""Sparse updates: the largest few changes of every 4096 weights, in one exact sequence of bits.

A segment's weights are one vector, tensor after tensor by name, cut into chunks of 4096, the last
one perhaps shorter.  Of a chunk exactly `kept` entries are told: where they stand, by the gaps
between them in Rice's code, and how large they are,

    sign * (2 m + 1) * 2**exponent

with one exponent for the chunk.  An odd number times a power of two is written in one way only, so
no two files mean the same change, and none can say the same thing with more bytes than needed.
Source: top-k and low-bit values as in SparseLoCo (arXiv 2508.15706); Rice, "Some Practical
Universal Noiseless Coding Techniques" (JPL 79-22, 1979); middle-rise uniform quantiser.
Pure, whole numbers, bounded: sizes are checked before anything is unpacked.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bft.errors import DecodeError
from chain.rules.limits import CHUNK_ELEMENTS
from chain.rules.tensors import (
    Tensor,
    TensorSpec,
    decode_tensors,
    encode_tensors,
    file_bytes,
    header_bytes,
)

SPARSE_EXPONENT_MAX = 15  # so that no value is larger than 255 * 2**15 < 2**23

EXPONENTS, QUOTIENTS, REMAINDERS, VALUES = "exponents", "quotients", "remainders", "values"

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SparseFormat:
    """What a job says about its sparse updates, and what follows from it."""

    elements: int  # weights of the segment, at least 1
    keep: int  # entries told of each 4096 weights, 1 to 4096
    value_bits: int  # 2 to 8, sign included

    @property
    def chunks(self) -> int:
        """Chunks, the last one perhaps shorter."""
        return -(-self.elements // CHUNK_ELEMENTS)

    @property
    def lengths(self) -> Ints:
        """(chunks,) weights of each chunk."""
        lengths = np.full(self.chunks, CHUNK_ELEMENTS, np.int64)
        lengths[-1] = self.elements - (self.chunks - 1) * CHUNK_ELEMENTS
        return lengths

    @property
    def kept(self) -> Ints:
        """(chunks,) entries told of each chunk: `keep` of 4096, in proportion, rounded up."""
        kept: Ints = -(-self.lengths * self.keep // CHUNK_ELEMENTS)
        return kept

    @property
    def entries(self) -> int:
        """Entries of all chunks."""
        return int(self.kept.sum())

    @property
    def rice_bits(self) -> int:
        """Bits of a gap's remainder: the power of two next below ln 2 times the mean gap."""
        return max(0, (CHUNK_ELEMENTS // self.keep).bit_length() - 2)

    @property
    def quotient_bytes_max(self) -> int:
        """No list of gaps needs more: each chunk's quotients add up to its length at most."""
        return _bytes(self.entries + int((self.lengths >> self.rice_bits).sum()))

    def layout(self, quotient_bytes: int) -> dict[str, TensorSpec]:
        """The file's tensors when the quotients take so many bytes."""
        return {
            EXPONENTS: ("U8", (self.chunks,)),
            QUOTIENTS: ("U8", (quotient_bytes,)),
            REMAINDERS: ("U8", (_bytes(self.entries * self.rice_bits),)),
            VALUES: ("U8", (_bytes(self.entries * self.value_bits),)),
        }

    @property
    def bytes_max(self) -> int:
        """No update of this format is longer."""
        return file_bytes(self.layout(self.quotient_bytes_max))


@dataclass(frozen=True, slots=True, eq=False)
class SparseUpdate:
    """What an update tells: places in the segment's vector, and what is added there."""

    places: Ints  # (entries,) strictly ascending
    values: Ints  # (entries,) odd multiples of powers of two, at most 2**23 in absolute value

    def dense(self, elements: int) -> Ints:
        """(elements,) with zeros where nothing is told."""
        vector = np.zeros(elements, np.int64)
        vector[self.places] = self.values
        return vector


def encode_sparse(form: SparseFormat, places: Ints, odd: Ints, exponents: Ints) -> bytes:
    """The file's bytes.

    Args:
        places: (entries,) strictly ascending, `form.kept` of them in each chunk.
        odd: (entries,) sign * (2 m + 1), m below 2**(value_bits - 1).
        exponents: (chunks,) 0 to SPARSE_EXPONENT_MAX.
    """
    kept = form.kept
    chunk = np.repeat(np.arange(form.chunks), kept)
    assert np.array_equal(places // CHUNK_ELEMENTS, chunk), "not the kept entries of each chunk"
    gaps = np.diff(places, prepend=-1) - 1
    starts = np.cumsum(kept) - kept
    gaps[starts] = places[starts] - np.arange(form.chunks) * CHUNK_ELEMENTS
    rice = form.rice_bits
    ends = np.cumsum((gaps >> rice) + 1) - 1  # of each quotient in unary: so many 0, then 1
    quotients = np.zeros(int(ends[-1]) + 1, np.uint8)
    quotients[ends] = 1
    half = 1 << form.value_bits - 1
    codes = (np.abs(odd) >> 1) + np.where(odd < 0, half, 0)
    return encode_tensors(
        {
            EXPONENTS: exponents.astype(np.uint8),
            QUOTIENTS: np.packbits(quotients),
            REMAINDERS: _packed(gaps & (1 << rice) - 1, rice),
            VALUES: _packed(codes, form.value_bits),
        }
    )


def decode_sparse(form: SparseFormat, data: bytes) -> SparseUpdate:
    """What the file tells.

    Raises:
        DecodeError: not a file of this format, or not the one way to write what it says.
    """
    rest = len(data) - header_bytes(data) - file_bytes_of_rest(form)
    if not 1 <= rest <= form.quotient_bytes_max:
        raise DecodeError(
            f"{len(data)} bytes leave {rest} for quotients; 1 to {form.quotient_bytes_max} allowed"
        )
    tensors = decode_tensors(data, form.layout(rest))
    exponents = tensors[EXPONENTS].astype(np.int64)
    if exponents.max() > SPARSE_EXPONENT_MAX:
        raise DecodeError(f"exponent {exponents.max()}; 0 to {SPARSE_EXPONENT_MAX} allowed")
    kept = form.kept
    gaps = _unary(tensors[QUOTIENTS], form.entries) << form.rice_bits
    gaps += _unpacked(tensors[REMAINDERS], form.rice_bits, form.entries, REMAINDERS)
    codes = _unpacked(tensors[VALUES], form.value_bits, form.entries, VALUES)
    within = _within(gaps, kept)
    last = within[np.cumsum(kept) - 1]
    if (last >= form.lengths).any():
        wrong = int(np.argmax(last >= form.lengths))
        raise DecodeError(
            f"chunk {wrong} has an entry at {last[wrong]}; it has {form.lengths[wrong]} weights"
        )
    half = 1 << form.value_bits - 1
    sizes = (2 * (codes & half - 1) + 1) << np.repeat(exponents, kept)
    places = within + np.repeat(np.arange(form.chunks) * CHUNK_ELEMENTS, kept)
    return SparseUpdate(places=places, values=np.where(codes >= half, -sizes, sizes))


def file_bytes_of_rest(form: SparseFormat) -> int:
    """Bytes of all tensors but the quotients."""
    return sum(shape[0] for _, shape in form.layout(0).values())


def _within(gaps: Ints, kept: Ints) -> Ints:
    """Each entry's place in its own chunk, from the gaps before the entries."""
    total = np.cumsum(gaps + 1)
    starts = np.cumsum(kept) - kept
    before = total[starts] - gaps[starts] - 1
    within: Ints = total - 1 - np.repeat(before, kept)
    return within


def _unary(data: Tensor, count: int) -> Ints:
    """`count` numbers, each so many 0 and a 1; then 0 to the end of the byte, and nothing more."""
    bits = np.unpackbits(data.astype(np.uint8, copy=False))
    ends = np.flatnonzero(bits)
    if ends.size != count:
        raise DecodeError(f"{ends.size} quotients came; this format tells {count} entries")
    if _bytes(int(ends[-1]) + 1) != data.size:
        raise DecodeError(f"{data.size} bytes of quotients end in bytes that tell nothing")
    quotients: Ints = np.diff(ends, prepend=-1) - 1
    return quotients


def _packed(numbers: Ints, bits: int) -> NDArray[np.uint8]:
    """`bits` bits of each number, the highest first, then 0 to the end of the byte."""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits((numbers[:, None] >> shifts & 1).astype(np.uint8))


def _unpacked(data: Tensor, bits: int, count: int, name: str) -> Ints:
    """`count` numbers of `bits` bits.  Raises DecodeError: what follows them is not 0."""
    flat = np.unpackbits(data.astype(np.uint8, copy=False))
    if flat[count * bits :].any():
        raise DecodeError(f"tensor {name!r} ends in bits that tell nothing and are not 0")
    powers = np.int64(1) << np.arange(bits - 1, -1, -1)
    numbers: Ints = flat[: count * bits].reshape(count, bits).astype(np.int64) @ powers
    return numbers


def _bytes(bits: int) -> int:
    return -(-bits // 8)
