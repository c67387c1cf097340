"""One update's change of a segment, as one vector of whole numbers, dense or sparse.

A segment's vector holds its tensors by name, each in row-major order.  Values are units of
2**-fraction_bits and at most DELTA_MAX in absolute value, so that every sum here is exact in
64 bits; what does not fit is added up in Python's own integers.
Pure.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

DELTA_MAX = 1 << 23  # no value of any format is larger
SUM_MAX = 1 << 37  # of a vector that a change is multiplied with: all updates of a cycle added up
_SPLIT_BITS = 18
_DOT_BLOCK = 1 << 18
_SQUARE_BLOCK = 1 << 16

assert DELTA_MAX * DELTA_MAX * _SQUARE_BLOCK < 1 << 63
assert DELTA_MAX * (SUM_MAX >> _SPLIT_BITS) * _DOT_BLOCK < 1 << 63
assert DELTA_MAX * (1 << _SPLIT_BITS) * _DOT_BLOCK < 1 << 63


@dataclass(frozen=True, eq=False)
class Change:
    """What one update adds to a segment."""

    elements: int  # of the segment
    places: Ints | None  # (told,) strictly ascending; None: all of them
    values: Ints  # (told,)

    @cached_property
    def squared_norm(self) -> int:
        """Exact; added up once."""
        return squared_norm(self.values)

    def add_to(self, total: Ints, factor: int) -> None:
        """total += factor * change, in place."""
        if self.places is None:
            total += factor * self.values
        else:
            total[self.places] += factor * self.values

    def dot(self, vector: Ints) -> int:
        """Exact inner product with a vector of at most SUM_MAX in absolute value."""
        if self.places is not None:
            vector = vector[self.places]
        low = vector & (1 << _SPLIT_BITS) - 1
        high = vector >> _SPLIT_BITS  # rounds down, so that low is never negative
        return (_dot(self.values, high) << _SPLIT_BITS) + _dot(self.values, low)

    def part(self, first: int, end: int) -> Ints:
        """(end - first,) dense values of these places."""
        if self.places is None:
            return self.values[first:end]
        start, stop = np.searchsorted(self.places, (first, end))
        dense = np.zeros(end - first, np.int64)
        dense[self.places[start:stop] - first] = self.values[start:stop]
        return dense

    def capped(self, cap: int) -> "Change":
        """The change, halved (towards zero) until its squared norm is at most `cap`."""
        change = self
        while change.squared_norm > cap:
            halved = np.sign(change.values) * (np.abs(change.values) >> 1)
            change = Change(self.elements, self.places, halved)
        return change


def squared_norm(values: Ints) -> int:
    """Exact for values of at most DELTA_MAX: a square is at most 2**46, a block's sum 2**62."""
    flat = values.ravel()
    blocks = (flat[n : n + _SQUARE_BLOCK] for n in range(0, flat.size, _SQUARE_BLOCK))
    return sum(int(np.dot(block, block)) for block in blocks)


def _dot(values: Ints, vector: Ints) -> int:
    blocks = range(0, values.size, _DOT_BLOCK)
    return sum(int(np.dot(values[n : n + _DOT_BLOCK], vector[n : n + _DOT_BLOCK])) for n in blocks)
