"""Whom a node dials: those named to it always, others from its address book, in fixed slots.

Source: Bitcoin Core, net.cpp (`ThreadOpenConnections`) and net_processing.cpp
(`CheckForStaleTipAndEvictPeers`).
Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from chain.gossip_events import Dial
from chain.peer import Peer
from chain.peers.book import AddressBook
from chain.peers.connection import Connection
from chain.peers.entry import Entry
from chain.records.peer_address import PeerAddress, parse_address
from chain.records.peer_message import NODE_NETWORK, NODE_NETWORK_LIMITED, NODE_WITNESS

FULL_RELAY_MAX = 8
BLOCK_ONLY_MAX = 2
DIALS_MAX = 4  # under way at once, but for those named in the settings
FEELER_EVERY_MS = 2 * 60_000
STALE_EVERY_MS = 10 * 60_000  # how often an old tip makes us look for one more peer
EXTRA_MS_MIN = 30_000  # an extra peer may show what it has for so long
BACKOFF_MS_MIN = 250
BACKOFF_MS_MAX = 60_000
REDIAL_MS = 30_000  # of an address of the book, longer with each failure
_REDIAL_FACTOR_MAX = 20
MANUAL_MAX = 64


@dataclass(slots=True)
class Named:
    """Somebody in the settings, or of addnode."""

    backoff_ms: int = BACKOFF_MS_MIN
    next_ms: int = 0


class Outbound:
    """The slots."""

    def __init__(
        self,
        book: AddressBook,
        *,
        named: Sequence[str],
        automatic: bool,
        anchors: Sequence[PeerAddress],
        shuns: Callable[[str, int], bool],
    ) -> None:
        """
        Args:
            named: endpoints that are always dialled.
            automatic: others of the book are too.
            anchors: block-only peers of the last run, dialled first.
        """
        self.named = {endpoint: Named() for endpoint in named}
        self._book, self._automatic, self._shuns = book, automatic, shuns
        self._anchors = list(anchors)
        self._dialling: dict[str, Connection] = {}
        self._dialled_ms: dict[PeerAddress, int] = {}
        self._feeler_ms = self._stale_ms = 0
        self.extra = False  # one more full-relay peer is looked for: our tip is old

    # What happened

    def failed(self, endpoint: str, now_ms: int) -> None:
        """Nobody answered there."""
        self._dialling.pop(endpoint, None)
        self._wait(endpoint, now_ms)

    def connected(self, peer: Peer) -> None:
        """The connection stands."""
        self._dialling.pop(peer.endpoint, None)

    def lost(self, peer: Peer, now_ms: int) -> None:
        """It stands no more."""
        if peer.ready and peer.endpoint in self.named:
            self.named[peer.endpoint].backoff_ms = BACKOFF_MS_MIN
        self._wait(peer.endpoint, now_ms)

    def _wait(self, endpoint: str, now_ms: int) -> None:
        named = self.named.get(endpoint)
        if named is not None:
            named.next_ms = now_ms + named.backoff_ms
            named.backoff_ms = min(2 * named.backoff_ms, BACKOFF_MS_MAX)

    def name(self, endpoint: str) -> None:
        """It is always dialled from now on."""
        self.named.setdefault(endpoint, Named())

    def once(self, endpoint: str) -> tuple[Dial, ...]:
        """One attempt, and no more."""
        if endpoint in self._dialling:
            return ()
        return (self._dial(endpoint, Connection.MANUAL),)

    # What to do

    def tick(self, peers: Iterable[Peer], now_ms: int, *, stale: bool) -> tuple[Dial, ...]:
        """Whom to dial now."""
        outbound = [peer for peer in peers if peer.kind.outbound]
        there = {peer.endpoint for peer in outbound} | set(self._dialling)
        dials = tuple(
            self._dial(endpoint, Connection.MANUAL)
            for endpoint, named in self.named.items()
            if endpoint not in there
            and now_ms >= named.next_ms
            and not self._shuns(endpoint.rpartition(":")[0].strip("[]"), now_ms // 1000)
        )
        if self._automatic:
            dials += self._next(outbound, now_ms, stale)
        return dials

    def _dial(self, endpoint: str, kind: Connection) -> Dial:
        self._dialling[endpoint] = kind
        return Dial(endpoint=endpoint, kind=kind)

    def _next(self, outbound: list[Peer], now_ms: int, stale: bool) -> tuple[Dial, ...]:
        kinds = [peer.kind for peer in outbound] + list(self._dialling.values())
        under_way = sum(kind is not Connection.MANUAL for kind in self._dialling.values())
        if under_way >= DIALS_MAX:
            return ()
        if stale and now_ms - self._stale_ms > STALE_EVERY_MS:
            self._stale_ms, self.extra = now_ms, True
        while self._anchors:
            anchor = self._anchors.pop(0)
            if self._is_free(anchor, outbound, now_ms):
                return (self._dial_address(anchor, Connection.BLOCK_ONLY, now_ms),)
        for kind in self._wanted(kinds, now_ms):
            chosen = self._book.contested(now_ms // 1000) if kind is Connection.FEELER else None
            if chosen is None or not self._is_free(chosen, outbound, now_ms):
                chosen = self._choose(kind, outbound, now_ms)
            if chosen is not None:
                return (self._dial_address(chosen, kind, now_ms),)
        return ()

    def _wanted(self, kinds: list[Connection], now_ms: int) -> Iterator[Connection]:
        """The free slot, and a feeler when its time has come."""
        if kinds.count(Connection.FULL_RELAY) < FULL_RELAY_MAX + self.extra:
            yield Connection.FULL_RELAY
        elif kinds.count(Connection.BLOCK_ONLY) < BLOCK_ONLY_MAX:
            yield Connection.BLOCK_ONLY
        if now_ms - self._feeler_ms >= FEELER_EVERY_MS and Connection.FEELER not in kinds:
            self._feeler_ms = now_ms
            yield Connection.FEELER

    def _dial_address(self, address: PeerAddress, kind: Connection, now_ms: int) -> Dial:
        longest = REDIAL_MS * (_REDIAL_FACTOR_MAX + 1)
        self._dialled_ms = {
            each: ms for each, ms in self._dialled_ms.items() if now_ms - ms < longest
        }
        self._dialled_ms[address] = now_ms
        self._book.attempt(address, now_ms // 1000)
        return self._dial(str(address), kind)

    def _choose(self, kind: Connection, outbound: list[Peer], now_ms: int) -> PeerAddress | None:
        groups = set() if kind is Connection.FEELER else self._groups(outbound)

        def fits(entry: Entry) -> bool:
            return (
                entry.address.group not in groups
                and may_be_useful(entry.services)
                and self._has_rested(entry, now_ms)
                and self._is_free(entry.address, outbound, now_ms)
            )

        new_only = kind is Connection.FEELER
        return self._book.select(now_ms // 1000, fits, new_only=new_only)

    def _groups(self, outbound: list[Peer]) -> set[bytes]:
        """One automatic peer in each netgroup, the named ones counted."""
        dialled = [parse_address(endpoint) for endpoint in self._dialling]
        taken = {peer.group for peer in outbound if peer.kind is not Connection.FEELER}
        return taken | {address.group for address in dialled if address is not None}

    def _has_rested(self, entry: Entry, now_ms: int) -> bool:
        last_ms = self._dialled_ms.get(entry.address)
        factor = 1 + min(entry.failures, _REDIAL_FACTOR_MAX)
        return last_ms is None or now_ms - last_ms >= REDIAL_MS * factor

    def _is_free(self, address: PeerAddress, outbound: list[Peer], now_ms: int) -> bool:
        return (
            all(peer.address != address for peer in outbound)
            and str(address) not in self._dialling
            and str(address) not in self.named
            and not self._shuns(str(address.host), now_ms // 1000)
        )

    def superfluous(self, peers: Iterable[Peer], now_ms: int) -> Peer | None:
        """Of one full-relay peer too many that whose last new block is the oldest."""
        full = [peer for peer in peers if peer.kind is Connection.FULL_RELAY and peer.ready]
        if len(full) <= FULL_RELAY_MAX:
            return None
        idle = [
            peer for peer in full if now_ms - peer.since_ms >= EXTRA_MS_MIN and not peer.requested
        ]
        if not idle:
            return None
        self.extra = False
        return min(idle, key=lambda peer: (peer.block_ms, -peer.since_ms, -peer.number))


def may_be_useful(services: int) -> bool:
    """Whether a node with these services has blocks, all or the newest."""
    return bool(services & NODE_WITNESS) and bool(services & (NODE_NETWORK | NODE_NETWORK_LIMITED))
