"""A node's neighbours: whom it has, whom it looks for, and what they tell each other of others.

Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bft.crypto.hashing import sha256
from chain.gossip_events import Dial, Effects
from chain.peer import Peer
from chain.peers.book import AddressBook
from chain.peers.connection import Connection
from chain.peers.eviction import whom_to_evict
from chain.peers.exchange import AddressExchange
from chain.peers.outbound import Outbound
from chain.records.peer_address import Announced, PeerAddress

INBOUND_DEFAULT = 117


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbourhood:
    """What a node's settings and its last run say of its peers."""

    named: tuple[str, ...] = ()  # endpoints that are always dialled
    automatic: bool = False  # others are found and dialled too
    private: bool = False  # addresses that are not public may be among them
    inbound_max: int = INBOUND_DEFAULT
    anchors: tuple[PeerAddress, ...] = ()  # block-only peers of the last run


def _nobody(host: str, now_s: int) -> bool:
    return False


class Neighbours:
    """Address book, exchange of addresses, outbound slots, inbound places."""

    def __init__(
        self,
        settings: Neighbourhood,
        peers: dict[int, Peer],
        *,
        services: int,
        book: AddressBook,
        shuns: Callable[[str, int], bool] = _nobody,
    ) -> None:
        """
        Args:
            peers: all of them, as they come and go.
            services: of this node.
            shuns: whether a host misbehaved shortly before a Unix time in seconds.
        """
        self.book = book
        self.exchange = AddressExchange(
            book, peers, private=settings.private, shuns=shuns, services=services
        )
        self.outbound = Outbound(
            book,
            named=settings.named,
            automatic=settings.automatic,
            anchors=settings.anchors,
            shuns=shuns,
        )
        self._peers, self._inbound_max = peers, settings.inbound_max

    def connected(self, peer: Peer) -> Peer | None:
        """It has come; who must go for it: another one, or itself."""
        if peer.outbound:
            self.outbound.connected(peer)
            return None
        inbound = [each for each in self._peers.values() if not each.outbound]
        if len(inbound) <= self._inbound_max:
            return None
        others = [each for each in inbound if each is not peer]
        return whom_to_evict(others, sha256(self.book.secret)) or peer

    def ready(self, peer: Peer, now_ms: int) -> Effects:
        """It has greeted."""
        if peer.outbound and peer.address is not None and peer.version is not None:
            services, now_s = peer.version.services, now_ms // 1000
            if peer.kind is Connection.MANUAL:  # it may be told further: we have seen it
                seen = Announced(time=now_s, services=services, address=peer.address)
                self.book.add((seen,), peer.address, now_s)
            self.book.good(peer.address, services, now_s)
        return self.exchange.on_ready(peer, now_ms)

    def is_ourselves(self, peer: Peer) -> None:
        """It was dialled, and answered with our nonce."""
        if peer.address is not None and peer.outbound:
            self.exchange.disown(peer.address)

    def lost(self, peer: Peer, now_ms: int) -> None:
        """It is gone."""
        self.exchange.lost(peer)
        if peer.outbound:
            self.outbound.lost(peer, now_ms)
            if peer.ready and peer.address is not None:
                self.book.seen(peer.address, now_ms // 1000)

    def tick(self, now_ms: int, *, stale: bool) -> Effects:
        """What is told, and who is dialled."""
        peers = list(self._peers.values())
        return (
            *self.exchange.tick(now_ms),
            *self.outbound.tick(peers, now_ms, stale=stale),
        )

    def named(self, endpoint: str, *, always: bool) -> tuple[Dial, ...]:
        """The operator wants this connection."""
        if not always:
            there = any(peer.endpoint == endpoint for peer in self._peers.values())
            return () if there else self.outbound.once(endpoint)
        self.outbound.name(endpoint)
        return ()

    @property
    def anchors(self) -> list[PeerAddress]:
        """Those to begin with after a restart."""
        return [
            peer.address
            for _, peer in sorted(self._peers.items())
            if peer.kind is Connection.BLOCK_ONLY and peer.ready and peer.address is not None
        ]
