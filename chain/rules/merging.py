"""Many updates of one segment -> the one change that the federation makes, exactly.

Updates are read one at a time, as often as a rule needs them, so that memory is bounded by a few
vectors of the segment and never by the number of miners.  Whole numbers and an agreed order: the
result is the same on every machine and in whatever order the updates came.
Sources: mean, coordinate median and trimmed mean as in Yin et al., "Byzantine-Robust Distributed
Learning" (ICML 2018); Multi-Krum, Blanchard et al., "Machine Learning with Adversaries" (NeurIPS
2017); gradient agreement filtering, Chaubard et al. (arXiv 2412.18052), with the true running mean
and an order that nobody could know (docs/adr/0013).
Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chain.rules.changes import Change, Ints
from chain.rules.sampling import permutation

WALKS_MAX = 16
"""Beginnings of the agreement filter: with an honest majority all fail once in 2**16 times."""
KRUM_UPDATES_MAX = 128
"""Multi-Krum compares each with each; of more updates the first in the agreed order take part."""
BLOCK_VALUES = 1 << 22
"""Values that a coordinate-wise rule holds at a time: 32 MiB."""
BLOCK_PLACES_MIN = 1 << 10  # with so many updates that fewer would fit, it holds more
AGREEMENT_BITS = 16  # cosine distances are units of 2**-16
ORDER = "gristmill/merging/order/v1"


@dataclass(frozen=True, slots=True)
class Source:
    """One update that counts."""

    unit: int
    quality: int  # 1 .. 2**16
    read: Callable[[], Change]  # decodes it, the same each time


def merge(
    rule: bytes,
    sources: Sequence[Source],
    elements: int,
    *,
    agreement: int,
    trim: int,
    randomness: bytes,
) -> Ints | None:
    """(elements,) the merged change, rounded half up; None when no updates agree.

    Args:
        rule: b"mean", b"median", b"trimmed-mean" or b"multi-krum".
        sources: at least one, in any order, with different units.
        agreement: largest cosine distance from the running mean, units of 2**-16; 0: no filter.
        trim: updates that trimmed mean leaves out on each side, and that Multi-Krum takes for
            Byzantine.
        randomness: 32 bytes that nobody knew when the updates were made.
    """
    ordered = _in_agreed_order(sources, randomness)
    if agreement:
        ordered = agreeing(ordered, elements, agreement)
        if not ordered:
            return None
    if rule == b"median":
        return trimmed_mean(ordered, elements, (len(ordered) - 1) // 2)
    if rule == b"trimmed-mean":
        return trimmed_mean(ordered, elements, min(trim, (len(ordered) - 1) // 2))
    if rule == b"multi-krum":
        ordered = ordered[:KRUM_UPDATES_MAX]
        if len(ordered) < 2 * trim + 3:  # too few for Krum to say anything
            return trimmed_mean(ordered, elements, (len(ordered) - 1) // 2)
        return mean(multi_krum(ordered, elements, trim), elements)
    assert rule == b"mean", rule
    return mean(ordered, elements)


def _in_agreed_order(sources: Sequence[Source], randomness: bytes) -> list[Source]:
    by_unit = sorted(sources, key=lambda source: source.unit)
    return [by_unit[place] for place in permutation(ORDER, randomness, len(by_unit))]


def mean(sources: Sequence[Source], elements: int) -> Ints:
    """Weighted by quality.  10 000 * 2**16 * 2**23 fits 64 bits, twice over."""
    total = np.zeros(elements, np.int64)
    quality = 0
    for source in sources:
        source.read().add_to(total, source.quality)
        quality += source.quality
    return _divided(total, quality)


def trimmed_mean(sources: Sequence[Source], elements: int, trim: int) -> Ints:
    """At each place without the `trim` largest and smallest values; every update counts alike."""
    merged = np.empty(elements, np.int64)
    kept = len(sources) - 2 * trim
    places = max(BLOCK_PLACES_MIN, BLOCK_VALUES // len(sources))
    for first in range(0, elements, places):
        end = min(first + places, elements)
        block = np.stack([source.read().part(first, end) for source in sources])
        block.sort(axis=0)
        merged[first:end] = _divided(block[trim : trim + kept].sum(axis=0), kept)
    return merged


def multi_krum(sources: Sequence[Source], elements: int, faulty: int) -> list[Source]:
    """All but the `faulty` updates that are farthest from their len - faulty - 2 nearest."""
    count = len(sources)
    gram = _gram(sources, elements)
    scores = []
    for here in range(count):
        distances = sorted(
            gram[here][here] + gram[there][there] - 2 * gram[here][there]
            for there in range(count)
            if there != here
        )
        scores.append((sum(distances[: count - faulty - 2]), sources[here].unit))
    chosen = sorted(range(count), key=scores.__getitem__)[: count - faulty]
    return [sources[place] for place in chosen]


def _gram(sources: Sequence[Source], elements: int) -> list[list[int]]:
    """Exact inner products of all pairs."""
    count = len(sources)
    gram = [[0] * count for _ in range(count)]
    places = max(BLOCK_PLACES_MIN, min(1 << 16, BLOCK_VALUES // count))  # 2**46 * 2**16 < 2**63
    for first in range(0, elements, places):
        end = min(first + places, elements)
        block = np.stack([source.read().part(first, end) for source in sources])
        products = (block @ block.T).tolist()
        for here in range(count):
            row, more = gram[here], products[here]
            gram[here] = [old + new for old, new in zip(row, more, strict=True)]
    return gram


def agreeing(sources: Sequence[Source], elements: int, agreement: int) -> list[Source]:
    """The updates that agree with the running mean of those before them.

    A walk begins with one update and takes each of the others that is near enough to the mean of
    what it has taken.  One that has not taken more than half of all in the end was begun by an
    outsider: the next walk begins with the next update.
    """
    for beginning in range(min(WALKS_MAX, len(sources))):
        taken = _walk([*sources[beginning:], *sources[:beginning]], elements, agreement)
        if 2 * len(taken) > len(sources):
            return taken
    return []


def _walk(sources: Sequence[Source], elements: int, agreement: int) -> list[Source]:
    total = np.zeros(elements, np.int64)
    squared = 0  # norm of the total
    taken: list[Source] = []
    for source in sources:
        change = source.read()
        inner, own = change.dot(total), change.squared_norm
        if not taken or near(inner, squared, own, agreement):
            change.add_to(total, 1)
            squared += 2 * inner + own
            taken.append(source)
    return taken


def near(inner: int, first: int, second: int, agreement: int) -> bool:
    """Whether 1 - inner / sqrt(first * second) <= agreement / 2**16, exactly.

    Args:
        inner: of two vectors.
        first, second: their squared norms; a vector of zeros is near to nothing.
    """
    if not first or not second:
        return False
    least = (1 << AGREEMENT_BITS) - agreement  # of the cosine, units of 2**-16
    left, right = inner * inner << 2 * AGREEMENT_BITS, least * least * first * second
    if least >= 0:
        return inner >= 0 and left >= right
    return inner >= 0 or left <= right


def _divided(total: Ints, divisor: int) -> Ints:
    """Rounded half up."""
    quotient: Ints = (2 * total + divisor) // (2 * divisor)
    return quotient
