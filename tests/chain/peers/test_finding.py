"""Nodes that know one seed find each other; whoever floods them does not keep them apart."""

import pytest

from chain.gossip_events import MessageCame, PeerConnected
from chain.peers.book import AddressBook
from chain.peers.connection import Connection
from chain.peers.outbound import BLOCK_ONLY_MAX, FEELER_EVERY_MS, FULL_RELAY_MAX
from chain.records.peer_address import Announced, PeerAddress, encode_addrv2
from chain.records.peer_message import NODE_WITNESS, PROTOCOL_VERSION, SERVICES, Version
from tests.chain.peers_network import Member, World, place


@pytest.fixture(scope="module")
def grown() -> World:
    """30 nodes; 29 of them knew nobody but the first, ten minutes ago."""
    world = World()
    seed = world.add(Member(1, place(1)))
    for number in range(2, 31):
        world.add(Member(number, place(number), (seed.address,)))
    world.pass_time(600, 5)
    return world


def test_thirty_nodes_that_know_one_seed_find_each_other(grown: World) -> None:
    for member in grown.members.values():
        others = set(grown.members) - {member.address}
        assert set(member.book.entries) <= others
        assert len(member.book.entries) > 20
        full, blocks = member.of(Connection.FULL_RELAY), member.of(Connection.BLOCK_ONLY)
        assert len(full) >= FULL_RELAY_MAX and len(blocks) == BLOCK_ONLY_MAX
        assert not full & blocks


def test_the_network_lives_on_without_its_seed(grown: World) -> None:
    seed = grown.members[place(1)]
    grown.remove(seed)
    grown.pass_time(60, 5)
    for member in grown.members.values():
        assert len(member.of(Connection.FULL_RELAY)) >= FULL_RELAY_MAX
    late = grown.add(Member(99, place(99), (place(7),)))
    grown.pass_time(120, 5)
    assert len(late.of(Connection.FULL_RELAY)) >= FULL_RELAY_MAX


def test_one_automatic_peer_in_each_netgroup(grown: World) -> None:
    for member in grown.members.values():
        peers = [peer for peer in member.gossip.peers.values() if peer.kind.automatic]
        groups = [peer.group for peer in peers]
        assert len(groups) == len(set(groups))


def test_feelers_try_what_is_new_and_hang_up(grown: World) -> None:
    before = len(grown.dialled)
    grown.pass_time(2 * FEELER_EVERY_MS // 1000, 10)
    feelers = [dial for _, dial in grown.dialled[before:] if dial.kind is Connection.FEELER]
    assert feelers
    for member in grown.members.values():
        assert not member.of(Connection.FEELER)


def test_block_only_peers_hear_neither_of_addresses_nor_of_transactions(grown: World) -> None:
    member = grown.members[place(5)]
    for peer in member.gossip.peers.values():
        if peer.kind is Connection.BLOCK_ONLY:
            assert peer.number not in member.gossip.neighbours.exchange.talks
            other, number = member.links[peer.number]
            version = other.gossip.peers[number].version
            assert version is not None and not version.relay
            assert not other.gossip.peers[number].passes_transactions


def test_an_attacker_that_floods_a_node_with_its_addresses_does_not_get_all_its_peers() -> None:
    """40 attackers in two netgroups, all told by each fifty times; 13 honest nodes; then the victim
    loses all connections."""
    world = World()
    honest = [world.add(Member(n, place(n), (place(1),))) for n in range(2, 14)]
    world.add(Member(1, place(1)))
    victim = world.add(Member(50, place(50), (place(1),)))
    world.pass_time(120, 5)
    attackers = []
    for number in range(40):
        address = place(200 + number % 2)
        address = type(address)(address.host + number, 7500)
        attackers.append(world.add(Member(1000 + number, address)))
    lies = [
        Announced(time=world.now_ms // 1000, services=SERVICES, address=each.address)
        for each in attackers
    ]
    for number, attacker in enumerate(attackers):
        came = PeerConnected(peer=900 + number, outbound=False, address=attacker.address)
        world.do(victim, came)
        version = Version(
            protocol=PROTOCOL_VERSION, time=1, nonce=900 + number, user_agent=b"/evil/", height=0
        )
        for command, payload in (
            ("version", version.encode()),
            ("sendaddrv2", b""),
            ("verack", b""),
            *[("addrv2", encode_addrv2(lies))] * 50,
        ):
            world.do(victim, MessageCame(peer=900 + number, command=command, payload=payload))
    world.cut_off(victim)
    world.pass_time(120, 5)
    outbound = victim.of(Connection.FULL_RELAY) | victim.of(Connection.BLOCK_ONLY)
    mine = {each.address for each in attackers} & outbound
    assert len(mine) <= 2, "one in each of its netgroups"
    assert len(outbound & {each.address for each in honest}) >= FULL_RELAY_MAX


def test_a_book_full_of_one_netgroup_gives_it_one_slot() -> None:
    world = World()
    node = world.add(Member(1, place(1)))
    crowd = [PeerAddress(place(70).host + number, 7500) for number in range(40)]
    for number, address in enumerate([*crowd, place(80), place(81)]):
        world.add(Member(100 + number, address))
        told = Announced(time=world.now_ms // 1000, services=SERVICES, address=address)
        node.book.add((told,), place(100 + number), world.now_ms // 1000)
    assert len(node.book) > 30
    world.pass_time(60)
    slots = node.of(Connection.FULL_RELAY) | node.of(Connection.BLOCK_ONLY)
    assert {place(80), place(81)} < slots and len(slots) == 3


def test_after_a_clean_end_the_block_only_peers_are_dialled_first() -> None:
    world = World()
    for number in range(1, 15):
        world.add(Member(number, place(number), (place(1),) if number > 1 else ()))
    node = world.add(Member(60, place(60), (place(1),)))
    world.pass_time(180, 5)
    anchors = tuple(node.gossip.neighbours.anchors)
    assert len(anchors) == BLOCK_ONLY_MAX
    world.remove(node)
    again = world.add(Member(61, place(60), (place(1),), book=node.book, anchors=anchors))
    before = len(world.dialled)
    world.pass_time(3)
    mine = [dial for who, dial in world.dialled[before:] if who is again]
    first = [dial for dial in mine if dial.kind.automatic][:2]
    assert [dial.endpoint for dial in first] == [str(anchor) for anchor in anchors]
    assert all(dial.kind is Connection.BLOCK_ONLY for dial in first)


def test_a_node_without_blocks_gets_no_slot() -> None:
    world = World()
    world.add(Member(1, place(1), services=NODE_WITNESS))
    node = world.add(Member(2, place(2)))
    told = Announced(time=world.now_ms // 1000, services=SERVICES, address=place(1))
    node.book.add((told,), place(3), world.now_ms // 1000)
    world.pass_time(10)
    assert [dial.endpoint for who, dial in world.dialled if who is node] == [str(place(1))]
    assert not node.gossip.peers


def test_a_node_that_was_told_its_own_address_dials_it_once_and_never_again() -> None:
    world = World()
    node = world.add(Member(1, place(1)))
    node.gossip.neighbours.exchange.own = None  # it does not know where others reach it
    told = Announced(time=world.now_ms // 1000, services=SERVICES, address=place(1))
    node.book.add((told,), place(3), world.now_ms // 1000)
    world.pass_time(300, 5)
    assert len(world.dialled) == 1
    assert len(node.book) == 0 and isinstance(node.book, AddressBook)


def test_whoever_does_not_answer_is_dialled_ever_more_rarely() -> None:
    world = World()
    node = world.add(Member(1, place(1)))
    told = Announced(time=world.now_ms // 1000, services=SERVICES, address=place(2))
    node.book.add((told,), place(3), world.now_ms // 1000)
    world.pass_time(1200, 5)
    assert 2 <= len(world.dialled) <= 1200 // 60 + 1
