"""Unbiased integer choices from a seed: SHA-256 in counter mode with rejection.

No library's random generator decides anything here: its streams differ between versions.
Pure.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from bft.crypto.hashing import tagged_hash

PERMUTATIONS_CACHED_MAX = 16


class Stream:
    """Uniform integers from (tag, seed); the same on every machine."""

    def __init__(self, tag: str, seed: bytes) -> None:
        self._words = self._generate(tag, seed)

    @staticmethod
    def _generate(tag: str, seed: bytes) -> Iterator[int]:
        counter = 0
        while True:
            yield int.from_bytes(tagged_hash(tag, seed + counter.to_bytes(8, "big")), "big")
            counter += 1

    def below(self, bound: int) -> int:
        """Uniform in 0 .. bound - 1.  Rejects the last partial range, so no value is favoured."""
        if bound < 1:
            raise ValueError(f"bound is {bound}; it must be at least 1")
        limit = (1 << 256) // bound * bound
        while True:
            word = next(self._words)
            if word < limit:
                return word % bound


@lru_cache(maxsize=PERMUTATIONS_CACHED_MAX)
def permutation(tag: str, seed: bytes, size: int) -> tuple[int, ...]:
    """0 .. size - 1 in seeded order (Fisher-Yates)."""
    stream, order = Stream(tag, seed), list(range(size))
    for last in range(size - 1, 0, -1):
        other = stream.below(last + 1)
        order[last], order[other] = order[other], order[last]
    return tuple(order)


def sample(tag: str, seed: bytes, population: Sequence[int], count: int) -> tuple[int, ...]:
    """`count` distinct elements of `population`, in seeded order; all when it is smaller."""
    order = permutation(tag, seed, len(population))
    return tuple(population[place] for place in order[: min(count, len(population))])
