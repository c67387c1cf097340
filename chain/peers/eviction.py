"""Who makes room when a stranger dials and all inbound slots are taken.

An attacker can have as many connections as it likes; what it cannot have as well is other networks,
short ways, long times and new blocks.  Those who are best at one of these stay.
Source: Bitcoin Core, node/eviction.cpp, in a small form.
Pure.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from bft.crypto.hashing import sha256
from chain.peer import Peer
from chain.peers.connection import Connection

KEPT_BY_GROUP = 4
KEPT_BY_PING = 8
KEPT_BY_TRANSACTIONS = 4
KEPT_BY_BLOCKS = 4


def whom_to_evict(peers: Sequence[Peer], secret: bytes) -> Peer | None:
    """The inbound peer that is missed least; None if all have a merit.

    Args:
        secret: decides which netgroups are protected, so that nobody can choose such a one.
    """
    left = [peer for peer in peers if peer.kind is Connection.INBOUND]
    merits: tuple[tuple[int, Callable[[Peer], tuple[int | bytes, ...]]], ...] = (
        (KEPT_BY_GROUP, lambda peer: (sha256(secret + peer.group), peer.number)),
        (KEPT_BY_PING, lambda peer: (peer.ping_ms_min, peer.number)),
        (KEPT_BY_TRANSACTIONS, lambda peer: (-peer.transaction_ms, peer.number)),
        (KEPT_BY_BLOCKS, lambda peer: (-peer.block_ms, peer.number)),
    )
    for count, merit in merits:
        left = sorted(left, key=merit)[count:]
    left = sorted(left, key=lambda peer: (peer.since_ms, peer.number))[len(left) // 2 :]
    if not left:
        return None
    crowds = Counter(peer.group for peer in left)
    return max(left, key=lambda peer: (crowds[peer.group], peer.since_ms, peer.number))
