"""A second scoring and a second lottery, naive and in fractions, written from the protocol's text.

It shares no code with chain/rules but the hash.  Slow and plain on purpose.
"""

from bisect import bisect_right
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate
from math import floor

from chain.params import Params
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationTable
from chain.records.job import Job

FULL = 2**16


def median(values: list[int]) -> int:
    """The value that has as many below or equal to it as half of all, rounded up."""
    ascending = sorted(values)
    needed = Fraction(len(ascending), 2)
    return next(value for count, value in enumerate(ascending, 1) if count >= needed)


def agreed(tables: dict[int, EvaluationTable]) -> list[tuple[int, ...]]:
    """(unit, valid, gain, advantage, norm, replay) of every unit: medians over the replicas."""
    units = [row.unit for row in next(iter(tables.values())).rows]
    rows = []
    for unit in units:
        told = [row for table in tables.values() for row in table.rows if row.unit == unit]
        columns = ("valid", "gain", "advantage", "norm", "replay")
        rows.append((unit, *(median([getattr(row, name) for row in told]) for name in columns)))
    return rows


def share_of(value: int, reference: int, most: int = 1) -> Fraction:
    """value / reference in steps of 2**-16, rounded down, within 0..most."""
    ratio = min(Fraction(most), max(Fraction(0), Fraction(value, reference)))
    return Fraction(floor(ratio * FULL), FULL)


def tickets(
    unit: WorkUnit,
    valid: int,
    gain: int,
    advantage: int,
    references: tuple[int, int],
    params: Params,
    job: Job,
) -> int:
    """V c c q: volume times coverage twice times quality; nothing for an invalid update."""
    if not valid:
        return 0
    sizes = {size.name: size.value for size in job.sizes}
    width, classes = sizes[b"width"], sizes[b"classes"]
    inputs = width if unit.segment else sizes[b"inputs"]
    assert sizes[b"depth"] == job.segments  # one layer a segment
    parameters = inputs * width + width + width * classes + classes
    volume = floor(Fraction(parameters * unit.steps * job.batch_records, 2**params.volume_shift))
    coverage, quality = share_of(advantage, references[1], 2), share_of(gain, references[0])
    return min(2**63 - 1, floor(volume * coverage * coverage * quality))


def words(tag: str, seed: bytes, counter: int) -> int:
    """The stream's word number `counter`, 0 .. 2**256 - 1."""
    prefix = sha256(tag.encode()).digest()
    message = prefix + prefix + seed + counter.to_bytes(8, "big")
    return int.from_bytes(sha256(message).digest(), "big")


def draw(randomness: bytes, held: dict[bytes, int], ranks_max: int) -> list[tuple[bytes, int]]:
    """Tickets laid end to end by ascending key; a word points at one; its holder leaves."""
    ranks: list[tuple[bytes, int]] = []
    holders = sorted((key, count) for key, count in held.items() if count > 0)
    counter = 0
    while holders and len(ranks) < ranks_max:
        ends = list(accumulate(count for _, count in holders))
        whole = 2**256 - 2**256 % ends[-1]
        while (word := words("gristmill/lottery/v1", randomness, counter)) >= whole:
            counter += 1
        counter += 1
        ranks.append(holders.pop(bisect_right(ends, word % ends[-1])))
    return ranks
