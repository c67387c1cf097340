"""Who wins: a weighted draw without replacement, by integer prefix sums against the beacon.

The draw uses rejection sampling over 256-bit words, never a modulus of a short hash.
Source: paper, section IV-B; docs/PROTOCOL.md, "Lottery".
Pure.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from chain.records.score_log import Rank
from chain.rules.sampling import Stream

_TAG = "gristmill/lottery/v1"


class Throw(NamedTuple):
    """One rank's draw."""

    point: int  # drawn, below `total`
    total: int  # tickets of all who were left
    holders: tuple[tuple[bytes, int], ...]  # who was left, by key, with their tickets
    rank: Rank  # the holder in whose tickets the point lies, counted from the first


def draw(randomness: bytes, tickets: Mapping[bytes, int], ranks_max: int) -> tuple[Rank, ...]:
    """The winner first, then the runners-up, at most `ranks_max` in all.

    Args:
        randomness: 32 bytes, of the cycle's draw round.
        tickets: identity key -> tickets; keys without tickets cannot be drawn.

    Returns:
        Empty when nobody holds a ticket.
    """
    return tuple(throw.rank for throw in throws(randomness, tickets, ranks_max))


def throws(randomness: bytes, tickets: Mapping[bytes, int], ranks_max: int) -> Iterator[Throw]:
    """The arithmetic behind `draw`, rank by rank."""
    left = {miner: tickets[miner] for miner in sorted(tickets) if tickets[miner] > 0}
    stream = Stream(_TAG, randomness)
    for _ in range(ranks_max):
        if not left:
            return
        holders, total = tuple(left.items()), sum(left.values())
        drawn = point = stream.below(total)
        for miner in left:  # sorted by key
            if point < left[miner]:
                break
            point -= left[miner]
        yield Throw(drawn, total, holders, Rank(miner=miner, tickets=left.pop(miner)))
