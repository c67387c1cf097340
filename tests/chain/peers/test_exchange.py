"""What nodes tell each other of addresses, to whom, how often; and what a flood achieves."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from chain.gossip_events import Drop, Effect, MessageCame, PeerConnected, PeerLost, Send, Tick
from chain.peer import PER_MINUTE
from chain.peers.connection import Connection
from chain.peers.exchange import (
    ADDRESS_EVERY_MS,
    ANNOUNCE_EVERY_MS,
    ANSWER_MIN,
    FRESH_S,
    KNOWN_MAX,
    OLD_S,
    OURSELVES_MAX,
    RELAYED_MAX,
    RELAYED_TO,
    Talk,
)
from chain.records.peer_address import (
    ADDRESSES_MAX,
    Announced,
    PeerAddress,
    decode_addrv2,
    encode_addrv2,
    parse_address,
)
from chain.records.peer_message import PROTOCOL_VERSION, SERVICES, Version
from tests.chain.peers_network import STARTED_MS, Member, place

NOW_S = STARTED_MS // 1000
DAY_MS = 24 * 60 * 60 * 1000


def private(number: int) -> PeerAddress:
    return PeerAddress(IPv4Address((10 << 24) + number), 7500)


class Talker:
    """A node without discovery, and peers whose words the test chooses."""

    def __init__(self) -> None:
        self.member = Member(1, place(1))
        self.member.gossip.neighbours.outbound._automatic = False
        self.now_ms = STARTED_MS
        self.effects: list[Effect] = []

    def do(self, event: PeerConnected | PeerLost | MessageCame | Tick) -> list[Effect]:
        found = list(self.member.gossip.step(event, self.now_ms))
        self.effects += found
        return found

    def join(
        self, number: int, kind: Connection = Connection.INBOUND, *, addrv2: bool = True
    ) -> list[Effect]:
        address = place(100 + number)
        came = PeerConnected(peer=number, outbound=kind.outbound, kind=kind, address=address)
        said = self.do(came)
        version = Version(
            protocol=PROTOCOL_VERSION, time=1, nonce=100 + number, user_agent=b"", height=0
        )
        said += self.say(number, "version", version.encode())
        if addrv2:
            said += self.say(number, "sendaddrv2")
        return said + self.say(number, "verack")

    def say(self, number: int, command: str, payload: bytes = b"") -> list[Effect]:
        return self.do(MessageCame(peer=number, command=command, payload=payload))

    def tell(self, number: int, *addresses: PeerAddress, age_s: int = 0) -> None:
        said = self.say(number, "addrv2", encode_addrv2(lines(addresses, self.now_ms, age_s)))
        assert not [effect for effect in said if isinstance(effect, Drop)]

    def wait(self, ms: int) -> dict[int, list[PeerAddress]]:
        """What the node tells by itself meanwhile: peer -> addresses."""
        self.now_ms += ms
        said = self.do(Tick())
        for effect in said:
            if isinstance(effect, Send) and effect.command == "ping":
                self.say(effect.peer, "pong", effect.payload)
        return told(said)

    @property
    def known(self) -> set[PeerAddress]:
        return set(self.member.book.entries)


def lines(addresses: tuple[PeerAddress, ...], now_ms: int, age_s: int = 0) -> list[Announced]:
    time = now_ms // 1000 - age_s
    return [Announced(time=time, services=SERVICES, address=each) for each in addresses]


def told(effects: list[Effect]) -> dict[int, list[PeerAddress]]:
    found: dict[int, list[PeerAddress]] = {}
    for effect in effects:
        if isinstance(effect, Send) and effect.command == "addrv2":
            lines = decode_addrv2(effect.payload)
            found.setdefault(effect.peer, []).extend(each.address for each in lines)
    return found


def commands(effects: list[Effect]) -> list[str]:
    return [effect.command for effect in effects if isinstance(effect, Send)]


@pytest.mark.parametrize("kind", list(Connection))
def test_only_those_who_were_dialled_for_everything_are_asked(kind: Connection) -> None:
    said = commands(Talker().join(1, kind))
    assert ("getaddr" in said) == (kind in (Connection.MANUAL, Connection.FULL_RELAY))


def test_sendaddrv2_comes_between_version_and_verack() -> None:
    talker = Talker()
    assert commands(talker.join(1))[:3] == ["version", "sendaddrv2", "verack"]
    late = talker.say(1, "sendaddrv2")
    assert any(isinstance(effect, Drop) and effect.discourage for effect in late)


def test_getaddr_is_answered_once_and_to_inbound_peers_alone() -> None:
    talker = Talker()
    talker.member.book.add(lines((place(2),), STARTED_MS), place(2), NOW_S)
    talker.join(1)
    assert told(talker.say(1, "getaddr")) == {1: [place(2)]}
    assert talker.say(1, "getaddr") == []
    talker.join(2, Connection.FULL_RELAY)
    assert talker.say(2, "getaddr") == []
    talker.join(3, addrv2=False)
    assert talker.say(3, "getaddr") == []


@pytest.mark.parametrize(("known", "answered"), [(5, 5), (20, ANSWER_MIN), (100, 23)])
def test_an_answer_has_a_part_of_the_book(known: int, answered: int) -> None:
    talker = Talker()
    for number in range(2, 2 + known):
        address = place(number + 1000)
        talker.member.book.add(lines((address,), STARTED_MS), address, NOW_S)
    assert len(talker.known) == known
    talker.join(1)
    assert len(told(talker.say(1, "getaddr"))[1]) == answered


def test_an_answer_has_no_more_than_a_message_holds() -> None:
    talker = Talker()
    for number in range(12_000):
        address = PeerAddress(IPv4Address((20 << 24) + (number << 9) + 5), 7500)
        talker.member.book.add(lines((address,), STARTED_MS), address, NOW_S)
    assert len(talker.known) * 23 // 100 > ADDRESSES_MAX
    talker.join(1)
    assert len(told(talker.say(1, "getaddr"))[1]) == ADDRESSES_MAX
    talker.join(2)
    first = told(talker.effects)[1]
    assert told(talker.say(2, "getaddr"))[2] == first, "whoever asks often learns no more"


def test_a_peers_addresses_are_looked_at_at_its_rate() -> None:
    talker = Talker()
    talker.join(1)
    talker.tell(1, *(place(number) for number in range(200, 230)))
    assert len(talker.known) == 1, "one address is allowed at once"
    talk = talker.member.gossip.neighbours.exchange.talks[1]
    assert (talk.processed, talk.rate_limited) == (1, 29)
    talker.now_ms += 3 * ADDRESS_EVERY_MS
    talker.tell(1, *(place(number) for number in range(300, 330)))
    assert (talk.processed, talk.rate_limited) == (4, 56)


def test_the_answer_to_our_getaddr_is_looked_at_in_whole() -> None:
    talker = Talker()
    talker.join(1, Connection.FULL_RELAY)
    hosts = [PeerAddress(IPv4Address((20 << 24) + number), 7500) for number in range(1, 1001)]
    talker.tell(1, *hosts)
    talk = talker.member.gossip.neighbours.exchange.talks[1]
    assert (talk.processed, talk.rate_limited) == (ADDRESSES_MAX, 0)
    talker.tell(1, *hosts)
    assert (talk.processed, talk.rate_limited) == (ADDRESSES_MAX + 1, ADDRESSES_MAX - 1)


def test_a_silence_of_any_length_allows_no_more_than_a_message() -> None:
    talk = Talk()
    taken = sum(talk.spend(365 * DAY_MS) for _ in range(2 * ADDRESSES_MAX))
    assert taken == ADDRESSES_MAX


def test_a_flood_of_messages_costs_the_connection() -> None:
    talker = Talker()
    talker.join(1)
    payload = encode_addrv2(lines((place(7),), STARTED_MS))
    said = [talker.say(1, "addrv2", payload) for _ in range(PER_MINUTE["addrv2"] + 1)]
    assert not any(said[:-1])
    (drop,) = [effect for effect in said[-1] if isinstance(effect, Drop)]
    assert "too many" in drop.reason


def spread_world() -> Talker:
    """Six inbound peers that have asked, so that they are told."""
    talker = Talker()
    for number in range(1, 7):
        talker.join(number)
        talker.say(number, "getaddr")
    talker.wait(61_000)  # our own address has been told
    talker.now_ms += 120_000
    return talker


def test_a_fresh_address_goes_to_two_others_and_its_repetition_to_nobody_else() -> None:
    talker = spread_world()
    talker.tell(1, place(50))
    first = talker.wait(61_000)
    assert set(first) < {2, 3, 4, 5, 6} and len(first) == RELAYED_TO
    talker.now_ms += ADDRESS_EVERY_MS
    talker.tell(2 if 2 not in first else 1, place(50))
    assert talker.wait(61_000) == {}


@pytest.mark.parametrize("why", ["old", "many", "not wanted", "block-only"])
def test_what_is_old_or_comes_in_bulk_is_not_passed_on(why: str) -> None:
    talker = spread_world()
    talker.now_ms += (RELAYED_MAX + 2) * ADDRESS_EVERY_MS
    if why == "old":
        talker.tell(1, place(50), age_s=FRESH_S)
    elif why == "many":
        talker.tell(1, *(place(50 + number) for number in range(RELAYED_MAX + 1)))
    elif why == "not wanted":
        for number in range(2, 7):
            talker.do(PeerLost(peer=number))
        talker.join(8, addrv2=False)
        talker.say(8, "getaddr")
        talker.tell(1, place(50))
    else:
        talker.join(9, Connection.BLOCK_ONLY)
        talker.tell(9, place(50))
        assert place(50) not in talker.known
    assert talker.wait(61_000) == {}


def test_our_own_address_is_told_at_once_and_once_a_day() -> None:
    talker = Talker()
    talker.join(1, Connection.FULL_RELAY)
    assert talker.wait(1_000) == {1: [place(1)]}
    assert talker.wait(ANNOUNCE_EVERY_MS // 2 - 2_000) == {}
    assert talker.wait(ANNOUNCE_EVERY_MS + 2_000) == {1: [place(1)]}


def test_our_own_address_is_not_believed_of_others() -> None:
    talker = Talker()
    talker.join(1, Connection.FULL_RELAY)
    talker.tell(1, place(1), place(2))
    assert talker.known == {place(2)}


def test_times_that_cannot_be_true_are_taken_for_old() -> None:
    talker = Talker()
    talker.join(1, Connection.FULL_RELAY)
    odd = [
        Announced(time=time, services=SERVICES, address=place(number))
        for number, time in enumerate((1, NOW_S + FRESH_S + 1, 2**32 - 1), start=20)
    ]
    talker.say(1, "addrv2", encode_addrv2(odd))
    seen = {entry.seen_s for entry in talker.member.book.entries.values()}
    assert len(talker.known) == 3
    assert seen == {NOW_S - OLD_S - 2 * 60 * 60}


def test_nobody_outside_sends_us_to_addresses_inside_and_nobody_outside_hears_of_them() -> None:
    talker = Talker()
    exchange = talker.member.gossip.neighbours.exchange
    exchange._private = True
    inside = [private(1), PeerAddress(IPv4Address("127.0.0.1"), 7500)]
    inside.append(PeerAddress(IPv6Address("fd00::1"), 7500))
    talker.join(1, Connection.FULL_RELAY)
    talker.tell(1, *inside)
    assert talker.known == set()
    peer = talker.member.gossip.peers[1]
    peer.address = private(9)
    multicast = parse_address("224.0.0.1:7500")
    assert multicast is not None
    talker.tell(1, *inside, multicast)
    assert talker.known == set(inside)
    exchange._private = False
    talker.tell(1, private(2))
    assert talker.known == set(inside)
    exchange._private = True
    talker.join(2)
    assert told(talker.say(2, "getaddr")) == {2: []}
    talker.join(3)
    talker.member.gossip.peers[3].address = private(8)
    assert set(told(talker.say(3, "getaddr"))[3]) == set(inside)


def test_whoever_misbehaved_is_neither_noted_nor_told() -> None:
    talker = Talker()
    shunned = {str(place(2).host)}
    exchange = talker.member.gossip.neighbours.exchange
    exchange._shuns = lambda host, now_s: host in shunned
    talker.join(1, Connection.FULL_RELAY)
    talker.tell(1, place(2), place(3))
    assert talker.known == {place(3)}
    shunned.add(str(place(3).host))
    talker.join(2)
    assert told(talker.say(2, "getaddr")) == {2: []}


def test_what_a_peer_is_known_to_know_is_bounded() -> None:
    talk = Talk()
    for number in range(KNOWN_MAX + 1):
        talk.knows(place(number % 200 + 1) if number < 1 else private(number))
    assert len(talk.known) == KNOWN_MAX and private(KNOWN_MAX) in talk.known


def test_addresses_of_our_own_are_bounded() -> None:
    talker = Talker()
    exchange = talker.member.gossip.neighbours.exchange
    for number in range(OURSELVES_MAX + 1):
        exchange.disown(place(20 + number))
    talker.join(1, Connection.FULL_RELAY)
    talker.tell(1, *(place(20 + number) for number in range(OURSELVES_MAX + 1)))
    assert talker.known == {place(20)}, "the oldest is forgotten"


def test_the_older_form_of_the_message_is_not_read() -> None:
    talker = Talker()
    talker.join(1, Connection.FULL_RELAY)
    assert talker.say(1, "addr", b"\xff" * 30) == []
    assert talker.known == set()
