"""How nodes tell each other of addresses: getaddr, addrv2, and what a flood of them achieves.

Source: Bitcoin Core, net_processing.cpp (`ProcessAddrs`, `RelayAddress`, `MaybeSendAddr`,
GETADDR); BIP 155.  Unlike Core's, an answer to getaddr has at least ANSWER_MIN addresses where
there are so many: a federation's network may be that small.
Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from bft.crypto.hashing import sha256
from chain.gossip_events import Effects, Send
from chain.peer import Peer
from chain.peers.book import AddressBook
from chain.peers.connection import Connection
from chain.peers.entry import Entry
from chain.records.peer_address import (
    ADDRESSES_MAX,
    Announced,
    PeerAddress,
    Scope,
    decode_addrv2,
    encode_addrv2,
)

ADDRESS_EVERY_MS = 10_000  # one address of a peer is looked at so often
ADDRESSES_WAITING_MAX = ADDRESSES_MAX  # and so many at once after a silence, or our getaddr
ANSWER_PERCENT = 23  # of the book, in answer to getaddr
ANSWER_MIN = 8
RELAYED_MAX = 10  # a message with more is an answer or a dump, and is not passed on
RELAYED_TO = 2  # peers that hear of a fresh address
FRESH_S = 10 * 60
OLD_S = 5 * 24 * 60 * 60  # the age of an address whose time cannot be true
EARLIEST_S = 100_000_000
KNOWN_MAX = 5_000  # addresses that a peer need not be told of
OURSELVES_MAX = 16
ANNOUNCE_EVERY_MS = 24 * 60 * 60 * 1000
_SEND_EVERY_MS = 30_000  # on average; so times of arrival tell little of the paths
_SAMPLE_MS = 10 * 60_000  # how long a large book's sample is used again
_SAMPLE_SMALL = 1_000  # addresses; of smaller books it is always made afresh


@dataclass(slots=True)
class Talk:
    """What one peer and we told each other of addresses."""

    allowance_ms: int = ADDRESS_EVERY_MS
    allowance_at_ms: int = 0
    asked: bool = False  # we sent getaddr, and a long answer may still come
    answered: bool = False
    known: dict[PeerAddress, None] = field(default_factory=dict)  # oldest first
    queue: dict[PeerAddress, Announced] = field(default_factory=dict)
    send_ms: int = 0
    announce_ms: int = 0
    processed: int = 0
    rate_limited: int = 0

    def spend(self, now_ms: int) -> bool:
        """Whether one more address is looked at."""
        most = ADDRESSES_WAITING_MAX * ADDRESS_EVERY_MS
        if self.allowance_ms < most:
            passed = max(0, now_ms - self.allowance_at_ms)
            self.allowance_ms = min(most, self.allowance_ms + passed)
        self.allowance_at_ms = now_ms
        if self.allowance_ms < ADDRESS_EVERY_MS:
            self.rate_limited += 1
            return False
        self.allowance_ms -= ADDRESS_EVERY_MS
        self.processed += 1
        return True

    def knows(self, address: PeerAddress) -> None:
        """It told us, or we told it."""
        self.known[address] = None
        while len(self.known) > KNOWN_MAX:
            del self.known[next(iter(self.known))]


class AddressExchange:
    """The book among peers."""

    def __init__(
        self,
        book: AddressBook,
        peers: dict[int, Peer],
        *,
        private: bool,
        shuns: Callable[[str, int], bool],
        services: int,
    ) -> None:
        """
        Args:
            private: addresses that are not public may be noted and told, among such.
            shuns: whether a host (first) misbehaved shortly before a Unix time in seconds.
        """
        self.book, self.talks = book, dict[int, Talk]()
        self.own: PeerAddress | None = None  # what we announce
        self._peers, self._private, self._shuns = peers, private, shuns
        self._services = services
        self._ourselves: dict[PeerAddress, None] = {}  # other addresses of ours, oldest first
        self._sampled: tuple[int, list[Entry]] = (0, [])

    def on_ready(self, peer: Peer, now_ms: int) -> Effects:
        """It has greeted: we ask it, if we dialled it."""
        if not peer.kind.tells_addresses:
            return ()
        talk = self._begin(peer, now_ms)
        talk.asked = True
        talk.allowance_ms += ADDRESSES_MAX * ADDRESS_EVERY_MS
        return (Send(peer=peer.number, command="getaddr", payload=b""),)

    def disown(self, address: PeerAddress) -> None:
        """We ourselves answer there."""
        self.book.forget(address)
        self._ourselves[address] = None
        while len(self._ourselves) > OURSELVES_MAX:
            del self._ourselves[next(iter(self._ourselves))]

    def lost(self, peer: Peer) -> None:
        """It is gone."""
        self.talks.pop(peer.number, None)

    def _begin(self, peer: Peer, now_ms: int) -> Talk:
        talk = self.talks.get(peer.number)
        if talk is None:
            talk = self.talks[peer.number] = Talk(
                allowance_at_ms=now_ms, send_ms=now_ms, announce_ms=now_ms
            )
        return talk

    # What peers say

    def on_getaddr(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        """Answered once, and only to those who dialled us: nobody can learn by it whom we dial.

        An empty answer is one too: what comes after it is news.
        """
        if peer.kind is not Connection.INBOUND:
            return ()
        talk = self._begin(peer, now_ms)
        if talk.answered or not peer.wants_addrv2:
            return ()
        talk.answered = True
        told = self._answer(peer, now_ms)
        for each in told:
            talk.knows(each.address)
        return (Send(peer=peer.number, command="addrv2", payload=encode_addrv2(told)),)

    def _answer(self, peer: Peer, now_ms: int) -> list[Announced]:
        count = max(ANSWER_MIN, len(self.book) * ANSWER_PERCENT // 100)
        return [
            Announced(time=entry.seen_s, services=entry.services, address=entry.address)
            for entry in self._sample(now_ms)
            if self._may_hear(peer, entry.address)
            and entry.address != peer.address
            and not self._shuns(str(entry.address.host), now_ms // 1000)
        ][: min(count, ADDRESSES_MAX)]

    def _sample(self, now_ms: int) -> list[Entry]:
        made_ms, sample = self._sampled
        if len(self.book) <= _SAMPLE_SMALL or now_ms - made_ms > _SAMPLE_MS:
            sample = self.book.sample(now_ms // 1000, 2 * ADDRESSES_MAX)
            self._sampled = now_ms, sample
        return sample

    def on_addrv2(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        """Notes what it tells, at its rate; fresh addresses of a short message go further."""
        told = decode_addrv2(payload)
        if peer.kind is Connection.BLOCK_ONLY or peer.address is None:
            return ()
        talk, now_s, source = self._begin(peer, now_ms), now_ms // 1000, peer.address
        taken = []
        for each in told:
            if not talk.spend(now_ms):
                continue
            talk.knows(each.address)
            if not EARLIEST_S < each.time <= now_s + FRESH_S:
                each = Announced(time=now_s - OLD_S, services=each.services, address=each.address)
            if self._may_note(each.address, source, now_s):
                taken.append(each)
        self.book.add(taken, source, now_s)
        if not talk.asked and len(told) <= RELAYED_MAX:
            for each in taken:
                if now_s - each.time < FRESH_S:
                    self._pass_on(each, peer, now_ms)
        if len(told) < ADDRESSES_MAX:
            talk.asked = False
        return ()

    def _may_note(self, address: PeerAddress, source: PeerAddress, now_s: int) -> bool:
        """Nobody outside may send us to addresses inside."""
        if address == self.own or address in self._ourselves:
            return False
        if self._shuns(str(address.host), now_s):
            return False
        if address.scope is Scope.PUBLIC:
            return True
        inside = self._private and source.scope is not Scope.PUBLIC
        return inside and address.scope is not Scope.NOBODY

    def _may_hear(self, peer: Peer, address: PeerAddress) -> bool:
        if address.scope is Scope.PUBLIC:
            return True
        there = None if peer.address is None else peer.address.scope
        return self._private and there in (Scope.PRIVATE, Scope.LOOPBACK)

    def _pass_on(self, announced: Announced, source: Peer, now_ms: int) -> None:
        """To two peers, for a day the same: a repeated announcement reaches nobody else."""
        day = now_ms // ANNOUNCE_EVERY_MS
        seed = self.book.secret + announced.address.key + day.to_bytes(4, "big")
        others = [
            number
            for number, talk in self.talks.items()
            if number != source.number
            and self._peers[number].wants_addrv2
            and self._may_hear(self._peers[number], announced.address)
        ]
        others.sort(key=lambda number: sha256(seed + number.to_bytes(8, "big")))
        for number in others[:RELAYED_TO]:
            self._queue(self.talks[number], announced)

    def _queue(self, talk: Talk, announced: Announced) -> None:
        if announced.address not in talk.known and len(talk.queue) < ADDRESSES_MAX:
            talk.queue[announced.address] = announced

    # What we say by ourselves

    def tick(self, now_ms: int) -> Effects:
        """Our own address once a day, and what waits to be passed on."""
        effects: Effects = ()
        for number, talk in sorted(self.talks.items()):
            peer = self._peers[number]
            if not (peer.ready and peer.wants_addrv2):
                continue
            if now_ms >= talk.announce_ms:
                self._announce(peer, talk, now_ms)
            if talk.queue and now_ms >= talk.send_ms:
                payload = encode_addrv2(list(talk.queue.values()))
                for address in talk.queue:
                    talk.knows(address)
                talk.queue.clear()
                talk.send_ms = now_ms + self.book.draws.below(2 * _SEND_EVERY_MS)
                effects += (Send(peer=number, command="addrv2", payload=payload),)
        return effects

    def _announce(self, peer: Peer, talk: Talk, now_ms: int) -> None:
        if self.own is None or not self._may_hear(peer, self.own):
            return
        talk.known.pop(self.own, None)
        own = Announced(time=now_ms // 1000, services=self._services, address=self.own)
        self._queue(talk, own)
        half = ANNOUNCE_EVERY_MS // 2
        talk.announce_ms = now_ms + half + self.book.draws.below(ANNOUNCE_EVERY_MS)
