"""How nodes tell each other of blocks, and how they bear peers that are wrong, slow or loud."""

import pytest

from bft.errors import BadSignature, Refused
from chain.gossip import (
    HANDSHAKE_MS_MAX,
    PING_EVERY_MS,
    PONG_MS_MAX,
    STALL_MS_MAX,
)
from chain.gossip_events import (
    BlockSubmitted,
    Drop,
    FinalitySubmitted,
    MessageCame,
    PeerConnected,
    PeerLost,
    SaveEvidence,
    Send,
    Tick,
)
from chain.peer import IN_FLIGHT_MAX, ORPHANS_MAX, PER_MINUTE, PER_MINUTE_UNKNOWN
from chain.records.evidence import encode_evidence, equivocation
from chain.records.peer_message import (
    INVENTORY_MAX,
    PROTOCOL_VERSION,
    Version,
    encode_certheaders,
    encode_inventory,
    encode_nonce,
)
from chain.rules.limits import FUTURE_S_MAX
from tests.chain.federation_fixture import (
    OTHER,
    OTHER_SECRET,
    START,
    WINNER,
    block_on,
    finality_of,
    make_chain,
    view_of,
)
from tests.chain.gossip_network import NOW_MS, Network, Node, error_of

FIRST, SECOND, THIRD = make_chain(3)
PEER = 7


def greeting(nonce: int = 99, protocol: int = PROTOCOL_VERSION) -> bytes:
    version = Version(protocol=protocol, time=0, nonce=nonce, user_agent=b"/x/", height=0)
    return version.encode()


def ready_node() -> Node:
    """A node with one inbound peer that has greeted."""
    node = Node(1)
    node.step(PeerConnected(peer=PEER, outbound=False))
    node.step(MessageCame(peer=PEER, command="version", payload=greeting()))
    node.step(MessageCame(peer=PEER, command="verack", payload=b""))
    assert node.gossip.peers[PEER].ready
    return node


def say(node: Node, command: str, payload: bytes, now_ms: int = NOW_MS) -> list[Send | Drop]:
    return node.step(MessageCame(peer=PEER, command=command, payload=payload), now_ms)


def dropped(wire: list[Send | Drop]) -> Drop:
    drops = [item for item in wire if isinstance(item, Drop)]
    assert len(drops) == 1, wire
    return drops[0]


# What gossip is for


def test_a_block_submitted_to_one_node_reaches_all() -> None:
    network = Network(4)
    for dialler, listener in ((0, 1), (1, 2), (2, 3)):
        network.connect(dialler, listener)
    network.submit(0, FIRST)
    assert [node.tree.tip for node in network.nodes] == [view_of(FIRST)] * 4
    network.finalise(3, finality_of(FIRST))
    assert [node.tree.final for node in network.nodes] == [view_of(FIRST)] * 4
    assert not network.drops


def test_a_late_node_catches_up_with_the_whole_chain() -> None:
    chain = make_chain(150)
    network = Network(3)
    for block in chain:
        network.submit(0, block)
    network.finalise(0, finality_of(chain[-1]))
    network.connect(1, 0)
    network.connect(0, 2)
    for node in network.nodes:
        assert node.tree.final == node.tree.tip == view_of(chain[-1])
        assert node.tree.finality == finality_of(chain[-1])
    assert not network.drops


def test_a_late_node_learns_a_candidate_that_is_not_final() -> None:
    network = Network(2)
    for block in (FIRST, SECOND):
        network.submit(0, block)
    network.connect(1, 0)
    assert network.nodes[1].tree.tip == view_of(SECOND)
    assert network.nodes[1].tree.final == view_of(FIRST)


def test_blocks_in_reverse_order_are_kept_until_their_parents_come() -> None:
    node = ready_node()
    for block in (THIRD, SECOND):
        wire = say(node, "block", block.data)
        assert [item.command for item in wire if isinstance(item, Send)] == ["getcerthdrs"]
    say(node, "block", FIRST.data)
    assert node.tree.tip == view_of(THIRD)


def test_of_blocks_without_parents_only_a_few_are_kept() -> None:
    node = ready_node()
    chain = make_chain(ORPHANS_MAX + 3)
    for block in chain[1:]:
        say(node, "block", block.data)
    assert len(node.gossip.peers[PEER].orphans) == ORPHANS_MAX


def test_finality_may_come_before_its_block() -> None:
    node = ready_node()
    wire = say(node, "finality", finality_of(FIRST).encode())
    assert [item.command for item in wire if isinstance(item, Send)] == ["getdata"]
    say(node, "block", FIRST.data)
    assert node.tree.final == view_of(FIRST)


def test_an_announced_block_is_asked_for_once() -> None:
    node = ready_node()
    inventory = encode_inventory([FIRST.hash])
    assert [item.command for item in say(node, "inv", inventory) if isinstance(item, Send)] == [
        "getdata"
    ]
    assert say(node, "inv", inventory) == []
    say(node, "block", FIRST.data)
    assert say(node, "inv", inventory) == []


def test_no_more_blocks_are_in_flight_than_allowed() -> None:
    node = ready_node()
    hashes = [bytes([index]) * 32 for index in range(INVENTORY_MAX)]
    say(node, "inv", encode_inventory(hashes))
    assert len(node.gossip.peers[PEER].requested) == IN_FLIGHT_MAX


def test_what_a_lost_peer_owed_is_asked_of_the_others() -> None:
    network = Network(3)
    network.connect(0, 1)
    node = network.nodes[0]
    node.step(PeerConnected(peer=PEER, outbound=False))
    say(node, "version", greeting())
    say(node, "verack", b"")
    say(node, "inv", encode_inventory([FIRST.hash]))
    wire = node.step(PeerLost(peer=PEER))
    assert [(item.peer, item.command) for item in wire if isinstance(item, Send)] == [
        (1, "getcerthdrs")
    ]


# Submitted at the own door: errors are raised, and nothing has changed


@pytest.mark.parametrize(
    "block",
    [
        block_on(START, secret=OTHER_SECRET),
        block_on(START, miner=OTHER, winner=WINNER.public_key, payee=WINNER.public_key),
    ],
)
def test_a_forged_block_is_refused_at_the_door(block: object) -> None:
    node = Node(1)
    before = node.tree
    assert isinstance(error_of(node, BlockSubmitted(data=block.data)), BadSignature)  # type: ignore[attr-defined]
    assert node.tree == before
    assert node.saved == []


def test_a_block_without_its_parent_is_refused_at_the_door() -> None:
    error = error_of(Node(1), BlockSubmitted(data=SECOND.data))
    assert isinstance(error, Refused)
    assert error.code == "unknown-parent"


def test_a_block_from_the_future_waits_for_its_time() -> None:
    node = Node(1)
    early_ms = (FIRST.header.time - FUTURE_S_MAX - 1) * 1000
    with pytest.raises(Refused) as caught:
        node.step(BlockSubmitted(data=FIRST.data), early_ms)
    assert caught.value.code == "from-the-future"
    node.step(BlockSubmitted(data=FIRST.data), early_ms + 1000)
    assert node.tree.tip == view_of(FIRST)


def test_a_forged_finality_is_refused_at_the_door() -> None:
    node = Node(1)
    node.step(BlockSubmitted(data=FIRST.data))
    word = FinalitySubmitted(finality=finality_of(FIRST, OTHER_SECRET))
    assert isinstance(error_of(node, word), BadSignature)
    assert node.tree.final == START


# Peers that are wrong


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        ("block", block_on(START, secret=OTHER_SECRET).data),
        ("block", FIRST.data[:-1]),
        ("block", b""),
        ("block", block_on(START, height=2).data),
        ("finality", finality_of(FIRST, OTHER_SECRET).encode()),
        ("finality", b"short"),
        ("inv", b"\x02" + bytes(36)),
        ("inv", b"\xfd\xff\xff" + bytes(36)),
        ("inv", encode_inventory([bytes(32)] * (INVENTORY_MAX + 1))),
        ("getdata", b"\x01"),
        ("ping", b"1234567"),
        ("getcerthdrs", bytes(35)),
        ("certheaders", b"\x01\x00"),
        (
            "certheaders",
            encode_certheaders([block_on(START, secret=OTHER_SECRET).certified_header.encode()]),
        ),
        ("evidence", b"\x01\x00\x00"),
        ("version", greeting()),
        ("verack", b""),
    ],
)
def test_a_peer_that_says_what_is_false_is_dropped_and_discouraged(
    command: str, payload: bytes
) -> None:
    node = ready_node()
    before = node.tree
    assert dropped(say(node, command, payload)).discourage
    assert PEER not in node.gossip.peers
    assert node.tree == before
    assert say(node, "ping", encode_nonce(1)) == []


@pytest.mark.parametrize("code", ["stale", "unknown-parent", "future", "third"])
def test_a_block_that_merely_comes_at_the_wrong_time_costs_the_peer_nothing(code: str) -> None:
    node = ready_node()
    if code == "stale":
        for block in (FIRST, SECOND):
            node.step(BlockSubmitted(data=block.data))
        wire = say(node, "block", block_on(START, miner=OTHER, rank=1).data)
    elif code == "unknown-parent":
        wire = say(node, "block", SECOND.data)
    elif code == "future":
        wire = say(node, "block", FIRST.data, (FIRST.header.time - FUTURE_S_MAX - 1) * 1000)
    else:
        for time in (10, 11):
            node.step(BlockSubmitted(data=block_on(START, time=START.time + time).data))
        wire = say(node, "block", block_on(START, time=START.time + 12).data)
    assert not [item for item in wire if isinstance(item, Drop)]
    assert PEER in node.gossip.peers


def test_whoever_speaks_before_the_handshake_is_dropped() -> None:
    node = Node(1)
    node.step(PeerConnected(peer=PEER, outbound=False))
    assert dropped(say(node, "inv", encode_inventory([FIRST.hash]))).discourage


def test_a_node_that_dialled_itself_hangs_up_without_a_grudge() -> None:
    node = Node(99)
    node.step(PeerConnected(peer=PEER, outbound=False))
    assert not dropped(say(node, "version", greeting(nonce=99))).discourage


def test_an_old_protocol_is_turned_away() -> None:
    node = Node(1)
    node.step(PeerConnected(peer=PEER, outbound=False))
    assert not dropped(say(node, "version", greeting(protocol=PROTOCOL_VERSION - 1))).discourage


def test_an_unknown_command_is_ignored() -> None:
    assert say(ready_node(), "sendcmpct", bytes(9)) == []


@pytest.mark.parametrize(
    ("command", "rate"), [("ping", PER_MINUTE["ping"]), ("mystery", PER_MINUTE_UNKNOWN)]
)
def test_a_loud_peer_loses_the_connection_at_its_rate_and_not_before(
    command: str, rate: int
) -> None:
    node = ready_node()
    for _ in range(rate):
        assert not [i for i in say(node, command, bytes(8)) if isinstance(i, Drop)]
    assert not dropped(say(node, command, bytes(8))).discourage


def test_a_peers_budget_refills_with_time() -> None:
    node = ready_node()
    rate = PER_MINUTE["ping"]
    for _ in range(rate):
        say(node, "ping", bytes(8))
    later = NOW_MS + 60_000 // rate
    assert not [i for i in say(node, "ping", bytes(8), later) if isinstance(i, Drop)]
    assert dropped(say(node, "ping", bytes(8), later))


# Peers that are slow


def test_a_peer_that_never_greets_is_dropped() -> None:
    node = Node(1)
    node.step(PeerConnected(peer=PEER, outbound=False))
    assert node.step(Tick(), NOW_MS + HANDSHAKE_MS_MAX) == []
    assert not dropped(node.step(Tick(), NOW_MS + HANDSHAKE_MS_MAX + 1)).discourage


def test_a_peer_is_pinged_and_dropped_when_it_does_not_answer() -> None:
    node = ready_node()
    later = NOW_MS + PING_EVERY_MS
    (ping,) = node.step(Tick(), later)
    assert isinstance(ping, Send)
    assert ping.command == "ping"
    assert say(node, "pong", encode_nonce(1), later) == []
    assert node.step(Tick(), later + PONG_MS_MAX) == []
    assert dropped(node.step(Tick(), later + PONG_MS_MAX + 1))


def test_the_right_pong_keeps_the_peer() -> None:
    node = ready_node()
    later = NOW_MS + PING_EVERY_MS
    (ping,) = node.step(Tick(), later)
    assert isinstance(ping, Send)
    say(node, "pong", ping.payload, later)
    (again,) = node.step(Tick(), later + PONG_MS_MAX + 1)
    assert isinstance(again, Send)
    assert again.payload != ping.payload


def test_a_peer_that_promises_a_block_and_does_not_send_it_is_dropped() -> None:
    node = ready_node()
    say(node, "inv", encode_inventory([FIRST.hash]))
    assert node.step(Tick(), NOW_MS + STALL_MS_MAX) == []
    assert not dropped(node.step(Tick(), NOW_MS + STALL_MS_MAX + 1)).discourage


def test_a_peer_that_admits_not_to_have_the_block_is_kept() -> None:
    node = ready_node()
    say(node, "inv", encode_inventory([FIRST.hash]))
    say(node, "notfound", encode_inventory([FIRST.hash]))
    assert node.step(Tick(), NOW_MS + STALL_MS_MAX + 1) == []


# Evidence


def test_a_winners_two_blocks_become_evidence_at_every_node() -> None:
    network = Network(3)
    network.connect(0, 1)
    network.connect(1, 2)
    twin = block_on(START, time=START.time + 11)
    network.submit(0, FIRST)
    network.submit(2, twin)
    for node in network.nodes:
        assert node.kinds_saved().count(SaveEvidence) == 1
        assert node.tree.tip.hash == network.nodes[0].tree.tip.hash
    assert not network.drops


def test_evidence_is_passed_on_once() -> None:
    node = ready_node()
    twin = block_on(START, time=START.time + 11)
    data = encode_evidence(equivocation(FIRST.certified_header, twin.certified_header))
    say(node, "evidence", data)
    say(node, "evidence", data)
    assert node.kinds_saved().count(SaveEvidence) == 1


def test_a_federation_that_contradicts_itself_halts_every_node_that_sees_both() -> None:
    network = Network(2)
    network.connect(0, 1)
    network.submit(0, FIRST)
    network.submit(0, block_on(START, tickets=8))
    for node in network.nodes:
        assert node.gossip.intake.fault is not None
        assert [s.fault for s in node.saved if isinstance(s, SaveEvidence)] == [True]
        error = error_of(node, BlockSubmitted(data=SECOND.data))
        assert isinstance(error, Refused)
        assert error.code == "federation-fault"
        assert node.tree.tip == view_of(FIRST)
    assert not network.drops


def test_two_words_on_one_height_are_a_fault_even_before_their_blocks_come() -> None:
    node = Node(1)
    rival = block_on(START, miner=OTHER, rank=1)
    node.step(FinalitySubmitted(finality=finality_of(FIRST)))
    node.step(FinalitySubmitted(finality=finality_of(rival)))
    assert node.gossip.intake.fault is not None


def test_scripts_are_run_for_two_blocks_of_a_winner_only() -> None:
    """The third is refused before anybody looks at what its transactions do."""
    network = Network(1)
    for later in (10, 11):
        network.submit(0, block_on(START, time=START.time + later))
    greedy = block_on(START, time=START.time + 12, reward=10**15)
    error = error_of(network.nodes[0], BlockSubmitted(data=greedy.data))
    assert getattr(error, "code", None) == "too-many"
