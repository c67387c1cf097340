"""Many nodes that find each other, without sockets: the real Gossip, public addresses, a clock."""

from collections import deque
from ipaddress import IPv4Address

from chain.gossip import Gossip
from chain.gossip_events import (
    Dial,
    DialFailed,
    Drop,
    Effect,
    Event,
    MessageCame,
    PeerConnected,
    PeerLost,
    Send,
    ServeHeaders,
    Tick,
)
from chain.params import MINIMAL
from chain.peers.book import AddressBook
from chain.peers.connection import Connection
from chain.peers.neighbours import Neighbourhood
from chain.records.peer_address import PeerAddress, parse_address
from chain.records.peer_message import SERVICES, encode_certheaders
from chain.tree import BlockTree
from tests.chain.coins_fixture import memory_coins
from tests.chain.federation_fixture import CHAIN_ID, FEDERATION_KEY, START

STARTED_MS = (START.time + 1_000) * 1000


def place(number: int) -> PeerAddress:
    """A public address in a /16 of its own."""
    return PeerAddress(IPv4Address((20 << 24) + (number << 16) + 1), 7500)


class Member:
    """One node and its links: number -> (the other node, its number for this link)."""

    def __init__(
        self,
        seed: int,
        address: PeerAddress,
        named: tuple[PeerAddress, ...] = (),
        *,
        services: int = SERVICES,
        book: AddressBook | None = None,
        anchors: tuple[PeerAddress, ...] = (),
        inbound_max: int = 117,
    ) -> None:
        self.address = address
        self.gossip = Gossip(
            chain_id=CHAIN_ID,
            federation_key=FEDERATION_KEY,
            params=MINIMAL,
            tree=BlockTree(START),
            nonce=seed,
            user_agent=b"/test/",
            coins=memory_coins(),
            stored=lambda block: None,
            services=services,
            neighbourhood=Neighbourhood(
                named=tuple(map(str, named)),
                automatic=True,
                anchors=anchors,
                inbound_max=inbound_max,
            ),
            book=book or AddressBook(seed.to_bytes(32, "big")),
        )
        self.gossip.neighbours.exchange.own = address
        self.links: dict[int, tuple[Member, int]] = {}
        self.numbers = 0

    @property
    def book(self) -> AddressBook:
        return self.gossip.neighbours.book

    def of(self, kind: Connection) -> set[PeerAddress]:
        """Addresses of its peers of a kind that have greeted."""
        return {
            peer.address
            for peer in self.gossip.peers.values()
            if peer.kind is kind and peer.ready and peer.address is not None
        }


class World:
    """All nodes; a dial reaches whoever stands at the address, or nobody."""

    def __init__(self) -> None:
        self.now_ms = STARTED_MS
        self.members: dict[PeerAddress, Member] = {}
        self.dialled: list[tuple[Member, Dial]] = []
        self._queue: deque[tuple[Member, Event]] = deque()

    def add(self, member: Member) -> Member:
        self.members[member.address] = member
        return member

    def remove(self, member: Member) -> None:
        """Its power is gone."""
        del self.members[member.address]
        self.cut_off(member)

    def cut_off(self, member: Member) -> None:
        """All its connections end."""
        for number in list(member.links):
            self._cut(member, number)
        self._run()

    def pass_time(self, seconds: int, step_s: int = 1) -> None:
        for _ in range(0, seconds, step_s):
            self.now_ms += step_s * 1000
            for member in list(self.members.values()):
                self.do(member, Tick())

    def do(self, member: Member, event: Event) -> None:
        self._queue.append((member, event))
        self._run()

    def _run(self) -> None:
        while self._queue:
            member, event = self._queue.popleft()
            for effect in member.gossip.step(event, self.now_ms):
                self._carry_out(member, effect)

    def _carry_out(self, member: Member, effect: Effect) -> None:
        match effect:
            case Send(peer=peer) if peer in member.links:
                other, number = member.links[peer]
                came = MessageCame(peer=number, command=effect.command, payload=effect.payload)
                self._queue.append((other, came))
            case Drop(peer=peer):
                self._cut(member, peer)
            case Dial():
                self.dialled.append((member, effect))
                self._connect(member, effect)
            case ServeHeaders(peer=peer):
                payload = encode_certheaders([])
                self._carry_out(member, Send(peer=peer, command="certheaders", payload=payload))

    def _connect(self, member: Member, dial: Dial) -> None:
        address = parse_address(dial.endpoint)
        assert address is not None
        other = self.members.get(address)
        if other is None:
            self._queue.append((member, DialFailed(endpoint=dial.endpoint)))
            return
        member.numbers += 1
        other.numbers += 1
        here, there = member.numbers, other.numbers
        member.links[here], other.links[there] = (other, there), (member, here)
        source = PeerAddress(member.address.host, 40_000 + here)
        self._queue.append((other, PeerConnected(peer=there, outbound=False, address=source)))
        dialled = PeerConnected(
            peer=here, outbound=True, kind=dial.kind, endpoint=dial.endpoint, address=address
        )
        self._queue.append((member, dialled))

    def _cut(self, member: Member, number: int) -> None:
        other, there = member.links.pop(number, (None, 0))
        if other is not None:
            other.links.pop(there, None)
            self._queue.append((other, PeerLost(peer=there)))
            self._queue.append((member, PeerLost(peer=number)))
