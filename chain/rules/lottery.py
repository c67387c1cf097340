"""Who wins: a weighted draw without replacement, by integer prefix sums against the beacon.

The draw uses rejection sampling over 256-bit words, never a modulus of a short hash.
Source: paper, section IV-B; docs/PROTOCOL.md, "Lottery".
Pure.
"""

from collections.abc import Mapping

from chain.records.score_log import Rank
from chain.rules.sampling import Stream

_TAG = "gristmill/lottery/v1"


def draw(randomness: bytes, tickets: Mapping[bytes, int], ranks_max: int) -> tuple[Rank, ...]:
    """The winner first, then the runners-up, at most `ranks_max` in all.

    Args:
        randomness: 32 bytes, of the cycle's draw round.
        tickets: identity key -> tickets; keys without tickets cannot be drawn.

    Returns:
        Empty when nobody holds a ticket.
    """
    left = {miner: tickets[miner] for miner in sorted(tickets) if tickets[miner] > 0}
    stream = Stream(_TAG, randomness)
    ranks: list[Rank] = []
    while left and len(ranks) < ranks_max:
        point = stream.below(sum(left.values()))
        for miner in left:  # sorted by key
            if point < left[miner]:
                break
            point -= left[miner]
        ranks.append(Rank(miner=miner, tickets=left.pop(miner)))
    return tuple(ranks)
