"""Who gets which slot: eviction of inbound peers, an extra peer while the tip is old, services."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from chain.gossip_events import Dial, Drop, MessageCame, PeerConnected, PeerNamed, Send
from chain.peer import LIMITED_BLOCKS, NEVER_MS, Peer
from chain.peers.book import AddressBook
from chain.peers.connection import Connection
from chain.peers.eviction import (
    KEPT_BY_BLOCKS,
    KEPT_BY_GROUP,
    KEPT_BY_PING,
    KEPT_BY_TRANSACTIONS,
    whom_to_evict,
)
from chain.peers.outbound import (
    BACKOFF_MS_MAX,
    EXTRA_MS_MIN,
    FULL_RELAY_MAX,
    STALE_EVERY_MS,
    Outbound,
    may_be_useful,
)
from chain.records.peer_address import Announced, PeerAddress
from chain.records.peer_message import (
    MSG_TX,
    NODE_NETWORK,
    NODE_NETWORK_LIMITED,
    NODE_WITNESS,
    PROTOCOL_VERSION,
    SERVICES,
    SERVICES_NONE_OLD,
    SERVICES_PRUNED,
    Version,
    decode_version,
    encode_inventory,
)
from tests.chain.peers_network import STARTED_MS, Member, place

SECRET = bytes(32)
PROTECTED = KEPT_BY_GROUP + KEPT_BY_PING + KEPT_BY_TRANSACTIONS + KEPT_BY_BLOCKS


def peer(number: int, address: PeerAddress | None = None, **fields: int) -> Peer:
    found = Peer(
        number=number,
        kind=Connection.INBOUND,
        since_ms=STARTED_MS + number,
        address=address or place(number),
    )
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def test_few_peers_all_have_a_merit() -> None:
    assert whom_to_evict([peer(number) for number in range(1, PROTECTED + 1)], SECRET) is None


def evicted(peers: Iterable[Peer], times: int) -> list[int]:
    """Who goes, one after the other."""
    left, gone = list(peers), []
    for _ in range(times):
        found = whom_to_evict(left, SECRET)
        if found is None:
            break
        left.remove(found)
        gone.append(found.number)
    return gone


def test_a_crowd_of_one_netgroup_goes_first() -> None:
    """40 honest peers in netgroups of their own, 60 of an attacker in one, younger than they."""
    honest = [peer(number, ping_ms_min=100) for number in range(1, 41)]
    host = place(200).host
    crowd = [peer(100 + n, PeerAddress(host + n, 7500), ping_ms_min=200) for n in range(60)]
    assert all(number >= 100 for number in evicted(honest + crowd, 40))


@pytest.mark.parametrize(
    ("name", "good", "bad", "kept"),
    [
        ("ping_ms_min", 5, 500, KEPT_BY_PING),
        ("block_ms", STARTED_MS, 0, KEPT_BY_BLOCKS),
        ("transaction_ms", STARTED_MS, 0, KEPT_BY_TRANSACTIONS),
    ],
)
def test_the_best_at_something_stay(name: str, good: int, bad: int, kept: int) -> None:
    """They are the youngest, all of one netgroup: without their merit they would go first."""
    host = place(200).host
    best = [peer(500 + n, PeerAddress(host + n, 7500), **{name: good}) for n in range(kept)]
    others = [peer(n, PeerAddress(host + 100 + n, 7500), **{name: bad}) for n in range(1, 60)]
    gone = evicted(best + others, 30)
    assert gone and not {each.number for each in best} & set(gone)


def test_those_who_are_here_for_long_stay() -> None:
    peers = [peer(number, ping_ms_min=NEVER_MS) for number in range(1, 81)]
    gone = evicted(peers, 10)
    assert len(gone) == 10 and min(gone) > 40, "the older half of those without another merit"


def test_a_newcomer_gets_the_place_of_whom_it_is_worth_least_to_keep() -> None:
    member = Member(1, place(1), inbound_max=30)
    drops: list[Drop] = []
    for number in range(1, 41):
        host = place(200).host
        address = PeerAddress(host + number, 7500)
        came = PeerConnected(peer=number, outbound=False, address=address)
        effects = member.gossip.step(came, STARTED_MS + number)
        drops += [effect for effect in effects if isinstance(effect, Drop)]
    assert len(member.gossip.peers) == 30
    assert len(drops) == 10 and not any(drop.discourage for drop in drops)
    assert 40 in member.gossip.peers, "the newcomer has a chance to show what it has"


def test_where_all_have_a_merit_the_newcomer_goes() -> None:
    member = Member(1, place(1), inbound_max=3)
    for number in range(1, 5):
        came = PeerConnected(peer=number, outbound=False, address=place(number + 1))
        effects = member.gossip.step(came, STARTED_MS)
    assert [effect.peer for effect in effects if isinstance(effect, Drop)] == [4]
    assert set(member.gossip.peers) == {1, 2, 3}


def outbound_with(addresses: int) -> Outbound:
    book = AddressBook(SECRET)
    for number in range(addresses):
        told = Announced(time=STARTED_MS // 1000, services=SERVICES, address=place(number + 1))
        book.add((told,), place(number + 1), STARTED_MS // 1000)
    return Outbound(book, named=(), automatic=True, anchors=(), shuns=lambda host, now_s: False)


def full_relay(number: int, block_ms: int) -> Peer:
    found = peer(number, place(number), block_ms=block_ms)
    found.kind = Connection.FULL_RELAY
    found.version = Version(
        protocol=PROTOCOL_VERSION, time=1, nonce=number, user_agent=b"", height=0
    )
    found.verack = True
    return found


def test_while_the_tip_is_old_one_more_peer_is_looked_for_and_the_least_useful_goes() -> None:
    outbound = outbound_with(60)
    peers = [full_relay(number, number) for number in range(1, FULL_RELAY_MAX + 1)]
    now_ms = STARTED_MS + STALE_EVERY_MS
    dials = outbound.tick(peers, now_ms, stale=False)
    assert [dial.kind for dial in dials] == [Connection.BLOCK_ONLY]
    dials = outbound.tick(peers, now_ms, stale=True)
    assert [dial.kind for dial in dials] == [Connection.FULL_RELAY]
    assert outbound.superfluous(peers, now_ms) is None
    peers.append(full_relay(9, 0))
    peers[-1].since_ms = now_ms
    found = outbound.superfluous(peers, now_ms + EXTRA_MS_MIN - 1)
    assert found is peers[0], "the newcomer has some time to bring a block"
    peers[-1].block_ms = 3
    assert outbound.superfluous(peers, now_ms + EXTRA_MS_MIN) is peers[0]
    assert not outbound.extra


def test_a_named_peer_is_dialled_ever_more_rarely_and_for_ever() -> None:
    outbound = Outbound(
        AddressBook(SECRET),
        named=("name:7500",),
        automatic=False,
        anchors=(),
        shuns=lambda host, now_s: False,
    )
    at: list[int] = []
    for second in range(600):
        now_ms = STARTED_MS + 1000 * second
        for dial in outbound.tick((), now_ms, stale=False):
            assert dial == Dial(endpoint="name:7500", kind=Connection.MANUAL)
            at.append(second)
            outbound.failed(dial.endpoint, now_ms)
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert gaps[0] == 1 and gaps[-1] == BACKOFF_MS_MAX // 1000
    assert gaps == sorted(gaps)


def test_whom_the_operator_names_once_is_not_dialled_twice() -> None:
    member = Member(1, place(1))
    once = PeerNamed(endpoint=str(place(2)), always=False)
    (dial,) = member.gossip.step(once, STARTED_MS)
    assert isinstance(dial, Dial)
    assert member.gossip.step(once, STARTED_MS) == ()
    came = PeerConnected(
        peer=1, outbound=True, endpoint=dial.endpoint, kind=dial.kind, address=place(2)
    )
    member.gossip.step(came, STARTED_MS)
    assert member.gossip.step(once, STARTED_MS) == ()


@pytest.mark.parametrize(
    ("services", "useful"),
    [
        (SERVICES, True),
        (SERVICES_PRUNED, True),
        (NODE_NETWORK | NODE_WITNESS, True),
        (NODE_WITNESS, False),
        (NODE_NETWORK, False),
        (NODE_NETWORK_LIMITED, False),
        (0, False),
    ],
)
def test_a_slot_is_for_nodes_that_have_blocks_with_their_witnesses(
    services: int, useful: bool
) -> None:
    assert may_be_useful(services) is useful


def test_a_pruned_peer_is_asked_for_the_newest_blocks_alone() -> None:
    pruned = full_relay(1, 0)
    pruned.height = 1_000
    assert pruned.may_have(1) and pruned.may_have(1_000) and not pruned.may_have(1_001)
    assert pruned.version is not None
    pruned.version = Version(
        protocol=PROTOCOL_VERSION,
        time=1,
        nonce=1,
        user_agent=b"",
        height=1_000,
        services=SERVICES_PRUNED,
    )
    lowest = 1_000 - LIMITED_BLOCKS + 1
    assert pruned.may_have(lowest) and not pruned.may_have(lowest - 1)
    pruned.version = replace(pruned.version, services=SERVICES_NONE_OLD)
    assert not pruned.may_have(1_000), "it had that when it greeted, or not"
    pruned.height = 1_001
    assert pruned.may_have(1_001)


def test_a_node_tells_its_services_and_asks_block_only_peers_for_no_transactions() -> None:
    for kind, relay in ((Connection.FULL_RELAY, True), (Connection.BLOCK_ONLY, False)):
        member = Member(1, place(1), services=SERVICES_PRUNED)
        came = PeerConnected(peer=1, outbound=True, kind=kind, address=place(2))
        (greeting,) = member.gossip.step(came, STARTED_MS)
        assert isinstance(greeting, Send)
        version = decode_version(greeting.payload)
        assert (version.services, version.relay) == (SERVICES_PRUNED, relay)


def test_a_block_only_peer_that_tells_of_transactions_loses_its_slot() -> None:
    member = Member(1, place(1))
    came = PeerConnected(
        peer=1, outbound=True, kind=Connection.BLOCK_ONLY, address=place(2), endpoint="x:1"
    )
    member.gossip.step(came, STARTED_MS)
    version = Version(protocol=PROTOCOL_VERSION, time=1, nonce=5, user_agent=b"", height=0)
    for command, payload in (("version", version.encode()), ("verack", b"")):
        member.gossip.step(MessageCame(peer=1, command=command, payload=payload), STARTED_MS)
    told = encode_inventory((bytes(32),), MSG_TX)
    effects = member.gossip.step(MessageCame(peer=1, command="inv", payload=told), STARTED_MS)
    (drop,) = [effect for effect in effects if isinstance(effect, Drop)]
    assert not drop.discourage and not member.gossip.peers
