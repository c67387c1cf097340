"""Keeping up: certified headers first, bodies from all peers; each answers for what it brings."""

from dataclasses import replace

import pytest

from chain.download import RETRY_MS
from chain.gossip_events import Drop, MessageCame, PeerConnected, SaveBlock, SaveFinal, Send, Tick
from chain.headers import RUN, WINDOW, HeaderChain
from chain.peer import IN_FLIGHT_MAX
from chain.records.block import Block, block_hash
from chain.records.peer_message import (
    PROTOCOL_VERSION,
    Version,
    decode_inventory,
    encode_certheaders,
    encode_inventory,
)
from tests.chain.federation_fixture import (
    OTHER_SECRET,
    START,
    assemble,
    block_on,
    make_chain,
    view_of,
)
from tests.chain.gossip_network import NOW_MS, Network, Node

CHAIN = make_chain(100)


class Follower:
    """A node without blocks, and peers whose answers the test makes."""

    def __init__(self, peers: int, height: int = len(CHAIN)) -> None:
        self.node = Node(nonce=1)
        self.now_ms = NOW_MS
        self.sent: list[Send] = []
        self.dropped: dict[int, str] = {}
        for peer in range(peers):
            self.do(PeerConnected(peer=peer, outbound=True))
            version = Version(
                protocol=PROTOCOL_VERSION,
                time=1,
                nonce=100 + peer,
                user_agent=b"/peer/",
                height=height,
            )
            self.say(peer, "version", version.encode())
            self.say(peer, "verack", b"")

    def do(self, event: PeerConnected | MessageCame | Tick) -> None:
        for item in self.node.step(event, self.now_ms):
            if isinstance(item, Send):
                self.sent.append(item)
            elif isinstance(item, Drop):
                self.dropped[item.peer] = item.reason

    def say(self, peer: int, command: str, payload: bytes) -> None:
        self.do(MessageCame(peer=peer, command=command, payload=payload))

    def headers(self, peer: int, *blocks: Block) -> None:
        encoded = [block.certified_header.encode() for block in blocks]
        self.say(peer, "certheaders", encode_certheaders(encoded))

    def asked(self, peer: int) -> list[bytes]:
        """Blocks that it was asked for; each is told once."""
        mine = [s for s in self.sent if s.peer == peer and s.command == "getdata"]
        self.sent = [s for s in self.sent if s not in mine]
        return [block for send in mine for block in decode_inventory(send.payload)]

    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.do(Tick())

    @property
    def height(self) -> int:
        return self.node.tree.tip.height


BY_HASH = {block.hash: block for block in CHAIN}


def test_a_node_catches_up_from_several_peers() -> None:
    network = Network(0)
    network.nodes = [Node(nonce, CHAIN) for nonce in range(3)] + [Node(nonce=9)]
    for peer in range(3):
        network.connect(3, peer)
    follower = network.nodes[3]
    assert follower.tree.tip.height == len(CHAIN)
    assert network.drops == []
    came = [source for source, target, what in network.messages if (target, what) == (3, "block")]
    assert len(came) == len(CHAIN), "no block is asked for twice"
    first = next(at for at, (_, _, what) in enumerate(network.messages) if what == "block")
    before = {what for _, target, what in network.messages[:first] if target == 3}
    assert "certheaders" in before, "headers come first"


def test_bodies_are_asked_of_all_peers_within_a_window() -> None:
    follower = Follower(peers=5)
    follower.headers(0, *CHAIN[:64])
    asked = [follower.asked(peer) for peer in range(5)]
    assert [len(each) for each in asked] == [IN_FLIGHT_MAX] * 4 + [0], "64 blocks, 16 from each"
    assert len(set().union(*asked)) == WINDOW
    follower.headers(0, *CHAIN[62:])
    assert follower.asked(4) == [], "there are more, beyond the window"
    for block in CHAIN[:RUN]:
        follower.say(0, "block", block.data)
    assert follower.height == RUN
    again = [block for peer in range(5) for block in follower.asked(peer)]
    assert again == [block.hash for block in CHAIN[WINDOW : WINDOW + RUN]]


def test_bodies_in_any_order_are_connected_in_runs() -> None:
    follower = Follower(peers=1)
    follower.headers(0, *CHAIN[:RUN])
    for block in reversed(CHAIN[1:RUN]):
        follower.say(0, "block", block.data)
    assert follower.height == 0
    follower.say(0, "block", CHAIN[0].data)
    assert follower.height == RUN
    kinds = [type(effect) for effect in follower.node.saved]
    assert kinds.count(SaveBlock) == RUN
    assert kinds.count(SaveFinal) == RUN - 1, "a certificate proves the block that it stands on"


def test_a_header_whose_certificate_is_forged_costs_the_peer_and_leaves_nothing() -> None:
    follower = Follower(peers=1)
    forged = block_on(view_of(CHAIN[0]), secret=OTHER_SECRET)
    follower.headers(0, CHAIN[0], forged)
    assert "certheaders" in follower.dropped[0]
    assert follower.asked(0) == []
    assert len(follower.node.gossip.sync.download.chain) == 0


def test_who_brings_another_body_than_the_headers_goes_and_the_next_peer_is_asked() -> None:
    follower = Follower(peers=2)
    follower.headers(0, CHAIN[0])
    (asked,) = [peer for peer in range(2) if follower.asked(peer)]
    spoilt = replace(CHAIN[0].transactions[0], locktime=1)
    body = assemble(CHAIN[0].header, spoilt)
    assert block_hash(body[:80]) == CHAIN[0].hash
    follower.say(asked, "block", body)
    assert asked in follower.dropped
    assert follower.asked(1 - asked) == [CHAIN[0].hash]
    follower.say(1 - asked, "block", CHAIN[0].data)
    assert follower.height == 1


def test_what_one_peer_does_not_bring_is_asked_of_another() -> None:
    follower = Follower(peers=2)
    follower.headers(0, *CHAIN[:4])
    first = {peer: follower.asked(peer) for peer in range(2)}
    slow = next(peer for peer in range(2) if first[peer])
    follower.wait(RETRY_MS + 1)
    again = follower.asked(1 - slow)
    assert set(first[slow]) <= set(again)
    for block in again:
        follower.say(1 - slow, "block", BY_HASH[block].data)
    for block in first[1 - slow]:
        follower.say(1 - slow, "block", BY_HASH[block].data)
    assert follower.height == 4
    follower.say(slow, "block", CHAIN[0].data)  # late, and no offence
    assert follower.dropped == {}
    follower.wait(60_000)
    assert set(follower.dropped) == {slow}, "the others never came"


def test_a_peer_that_says_that_it_lacks_a_block_is_not_asked_for_it_again() -> None:
    follower = Follower(peers=2)
    follower.headers(0, CHAIN[0])
    (asked,) = [peer for peer in range(2) if follower.asked(peer)]
    follower.say(asked, "notfound", encode_inventory([CHAIN[0].hash]))
    assert follower.asked(1 - asked) == [CHAIN[0].hash]
    assert follower.asked(asked) == []


def test_headers_are_asked_on_until_there_are_no_more() -> None:
    follower = Follower(peers=1)
    follower.sent.clear()
    follower.headers(0, *CHAIN[:64])
    assert [send.command for send in follower.sent].count("getcerthdrs") == 1
    follower.sent.clear()
    follower.headers(0, *CHAIN[62:])  # from the last proven one on
    assert [send.command for send in follower.sent].count("getcerthdrs") == 0
    assert follower.node.gossip.sync.height == len(CHAIN)


def test_a_peer_that_only_claims_to_have_more_is_asked_once() -> None:
    follower = Follower(peers=1, height=2**31)
    follower.sent.clear()
    follower.headers(0)
    follower.wait(1_000)
    follower.wait(1_000)
    assert follower.sent == []


def test_two_chains_of_certified_headers_are_a_fault_of_the_federation() -> None:
    follower = Follower(peers=2)
    follower.headers(0, *CHAIN[:3])
    other = block_on(START, cycle=7)
    child = block_on(view_of(other), cycle=8)
    follower.headers(1, other, child)
    assert follower.node.gossip.intake.fault is not None


def test_what_the_next_certificate_proves_is_taken_whatever_else_its_winner_made() -> None:
    """Of a winner's blocks two are kept; the federation may have finalised a third."""
    follower = Follower(peers=1)
    for later in (1, 2):
        twin = block_on(START, time=CHAIN[0].header.time + later)
        follower.say(0, "block", twin.data)
    assert len(follower.node.tree.candidates) == 2
    follower.headers(0, *CHAIN[:2])
    for block in CHAIN[:2]:
        follower.say(0, "block", block.data)
    assert follower.node.tree.final == view_of(CHAIN[0])
    assert follower.node.tree.tip == view_of(CHAIN[1])
    assert follower.dropped == {}


@pytest.mark.parametrize("length", [1, 2])
def test_another_candidate_takes_no_longer_chains_place(length: int) -> None:
    chain = HeaderChain()
    chain.extend([block.certified_header for block in CHAIN[:length]])
    chain.extend([block_on(START, rank=1).certified_header])
    assert chain.height == length
    assert CHAIN[0].hash in chain
