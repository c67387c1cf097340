"""Which block is asked of which peer.

Source: Bitcoin Core, net_processing.cpp: at most 16 blocks in flight from a peer; a block that does
not come is asked of another peer before the slow one is dropped.
Pure.
"""

from collections.abc import Iterator, Sequence

from chain.headers import HEADERS_AHEAD_MAX, HeaderChain
from chain.peer import IN_FLIGHT_MAX, Peer
from chain.records.block import CertifiedHeader
from chain.tree import BlockTree
from chain.validation import ParentView

RETRY_MS = 5_000  # a body that has not come is asked of another peer as well
_HALF_FULL = HEADERS_AHEAD_MAX // 2


class Download:
    """The header chain and what is in flight for it."""

    def __init__(self) -> None:
        self.chain = HeaderChain()

    def fresh(
        self, headers: Sequence[CertifiedHeader], tree: BlockTree
    ) -> tuple[list[CertifiedHeader], ParentView | None]:
        """The headers after the last one that is known, and that one; None if there is no such."""
        for at in range(len(headers) - 1, -1, -1):
            known = self._find(headers[at].hash, tree)
            if known is not None:
                return list(headers[at + 1 :]), known
        return list(headers), self._find(headers[0].header.previous, tree)

    def _find(self, block: bytes, tree: BlockTree) -> ParentView | None:
        return tree.find(block) or self.chain.find(block)

    def further(self, ready: Sequence[Peer], height: int) -> Peer | None:
        """A peer with headers above ours, which end at `height`, when there is room for them."""
        if len(self.chain) > _HALF_FULL:
            return None
        return next((peer for peer in ready if peer.height > height), None)

    def lacks(self, peer: Peer, block: bytes) -> None:
        """It said so: blocks from there on are not asked of it."""
        found = self.chain.find(block)
        if found is not None:
            peer.height = min(peer.height, found.height - 1)

    def assign(self, ready: Sequence[Peer], now_ms: int) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """(peer, blocks to ask it for); they count as asked."""
        flying = {block for peer in ready for block in peer.requested}
        free = [(height, block) for height, block in self.chain.missing() if block not in flying]
        for peer in sorted(ready, key=lambda peer: (len(peer.requested), peer.number)):
            asked = list(peer.next_requests(now_ms))
            for place in list(free):
                if len(peer.requested) >= IN_FLIGHT_MAX:
                    break
                if peer.may_have(place[0]) and place[1] not in peer.slow:
                    free.remove(place)
                    peer.requested[place[1]] = now_ms
                    asked.append(place[1])
            if asked:
                yield peer.number, tuple(asked)

    def release(self, ready: Sequence[Peer], now_ms: int) -> None:
        """Bodies that have not come for a while are asked of other peers, where there are any."""
        if len(ready) < 2:
            return
        for peer in ready:
            for block, asked_ms in list(peer.requested.items()):
                if now_ms - asked_ms > RETRY_MS and block in self.chain:
                    peer.slow[block] = peer.requested.pop(block)
