"""Transactions among nodes: from one door to every pool, into a block, and out of the pools."""

from dataclasses import replace

import pytest

from chain.bitcoin.verify import claimed_checks
from chain.gossip_events import BlockSubmitted, MessageCame, TransactionSubmitted
from chain.params import MINIMAL
from chain.peer import AMOUNT_PER_MINUTE
from chain.records.block import Block
from chain.records.peer_message import MSG_BLOCK, MSG_TX, encode_inventory
from chain.records.transaction import Transaction
from chain.rules.reward import subsidy
from tests.chain.federation_fixture import OTHER, block_on, view_of
from tests.chain.gossip_network import NOW_MS, Network, error_of
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import MATURE, PARENT, spend_of

SPEND = spend_of(MATURE[0])


def line_of(count: int) -> Network:
    """Nodes in a row, all with the mature chain."""
    network = Network(count, MATURE)
    for node in range(count - 1):
        network.connect(node, node + 1)
    return network


def send(network: Network, node: int, transaction: Transaction) -> None:
    network.act(node, TransactionSubmitted(data=transaction.encode()))


def with_damaged_witness(transaction: Transaction) -> Transaction:
    """The same id, and an empty signature in its first input."""
    first = transaction.inputs[0]
    emptied = replace(first, witness=(b"", *first.witness[1:]))
    return replace(transaction, inputs=(emptied, *transaction.inputs[1:]))


def pools(network: Network) -> list[list[bytes]]:
    return [[entry.txid for entry in node.gossip.relay.pool.entries()] for node in network.nodes]


def block_of(network: Network, node: int) -> Block:
    """What a winner at this node makes of its pool."""
    chosen, fees = network.nodes[node].gossip.relay.pool.select(10**6)
    reward = subsidy(PARENT.height + 1, MINIMAL) + fees
    return block_on(PARENT, reward=reward, transactions=chosen)


def test_a_transaction_reaches_every_pool_and_leaves_it_with_its_block() -> None:
    network = line_of(3)
    send(network, 0, SPEND)
    child = child_of(SPEND)
    send(network, 2, child)
    assert pools(network) == [[SPEND.txid, child.txid]] * 3
    network.submit(1, block_of(network, 1))
    assert pools(network) == [[]] * 3
    for node in network.nodes:
        assert node.tree.tip.height == PARENT.height + 1
        assert node.gossip.intake.coins_after_tip().coin((child.txid, 0)) is not None
    assert not network.drops


def test_a_block_may_spend_what_its_parent_made_before_that_is_saved() -> None:
    """Both arrive in one step: the child waited for its parent."""
    first = block_on(PARENT, transactions=(SPEND,))
    second = block_on(view_of(first), transactions=(child_of(SPEND),))
    third = block_on(view_of(second))
    network = line_of(2)
    for block in (third, second, first):
        network.nodes[0].step(MessageCame(peer=1, command="block", payload=block.data))
    assert network.nodes[0].tree.tip == view_of(third)
    assert network.nodes[0].coins.height == second.certificate.height
    assert not network.drops


def test_a_transaction_that_is_not_valid_is_refused_at_the_door_and_not_passed_on() -> None:
    network = line_of(2)
    stolen = spend_of(MATURE[50])  # immature
    error = error_of(network.nodes[0], TransactionSubmitted(data=stolen.encode()))
    assert getattr(error, "code", None) == "immature"
    malformed = error_of(network.nodes[0], TransactionSubmitted(data=SPEND.encode()[:-1]))
    assert "whole Bitcoin transaction" in str(malformed)
    assert pools(network) == [[], []]


def test_a_peer_with_an_invalid_transaction_keeps_its_connection_and_is_not_heard_twice() -> None:
    network = line_of(2)
    immature = spend_of(MATURE[50])
    came = MessageCame(peer=1, command="tx", payload=immature.encode())
    assert network.nodes[0].step(came) == []
    told = MessageCame(peer=1, command="inv", payload=encode_inventory((immature.txid,), MSG_TX))
    assert network.nodes[0].step(told) == []  # known to be refused
    assert not network.drops


def test_a_damaged_witness_does_not_keep_the_true_transaction_out() -> None:
    """Both have one id: a refusal for the witness' sake says nothing about the id."""
    network = line_of(2)
    damaged = with_damaged_witness(SPEND)
    assert damaged.txid == SPEND.txid
    came = MessageCame(peer=1, command="tx", payload=damaged.encode())
    assert network.nodes[0].step(came) == []
    told = MessageCame(peer=1, command="inv", payload=encode_inventory((SPEND.txid,), MSG_TX))
    (asked,) = network.nodes[0].step(told)
    assert getattr(asked, "command", None) == "getdata"
    network.nodes[0].step(MessageCame(peer=1, command="tx", payload=SPEND.encode()))
    assert pools(network)[0] == [SPEND.txid]


def test_a_block_with_a_damaged_witness_is_refused_though_its_id_waits() -> None:
    network = line_of(1)
    send(network, 0, SPEND)
    block = block_on(PARENT, transactions=(with_damaged_witness(SPEND),))
    error = error_of(network.nodes[0], BlockSubmitted(data=block.data))
    assert getattr(error, "code", None) == "eval-false"


def test_a_peer_sends_and_gets_so_many_bytes_of_transactions_in_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = line_of(2)
    monkeypatch.setitem(AMOUNT_PER_MINUTE, "taken bytes", len(SPEND.encode()))
    monkeypatch.setitem(AMOUNT_PER_MINUTE, "served bytes", len(SPEND.encode()))
    child = child_of(SPEND)
    for transaction in (SPEND, child):
        network.nodes[0].step(MessageCame(peer=1, command="tx", payload=transaction.encode()))
    assert pools(network)[0] == [SPEND.txid]  # the second was not looked at
    asked = encode_inventory((SPEND.txid,), MSG_TX)
    answers = [
        network.nodes[0].step(MessageCame(peer=1, command="getdata", payload=asked))[0].command
        for _ in range(2)
    ]
    assert answers == ["tx", "notfound"]
    assert not network.drops


def test_a_peer_asks_for_so_many_signature_checks_in_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted before any is made: a last one that fails costs its sender nothing else."""
    first = SPEND.inputs[0]
    heavy = replace(SPEND, inputs=(replace(first, witness=(b"", b"\xac" * 201)),))
    assert claimed_checks(heavy) == 1 + 201
    network = line_of(2)
    monkeypatch.setitem(AMOUNT_PER_MINUTE, "signatures", claimed_checks(heavy))
    for transaction in (heavy, SPEND):
        network.nodes[0].step(MessageCame(peer=1, command="tx", payload=transaction.encode()))
    assert pools(network)[0] == []
    came = MessageCame(peer=1, command="tx", payload=SPEND.encode())
    network.nodes[0].step(came, NOW_MS + 60_000)
    assert pools(network)[0] == [SPEND.txid]
    assert not network.drops


def test_a_malformed_transaction_costs_the_connection() -> None:
    network = line_of(2)
    (drop,) = network.nodes[0].step(
        MessageCame(peer=1, command="tx", payload=SPEND.encode() + b"!")
    )
    assert getattr(drop, "discourage", False)


def test_what_is_not_in_the_pool_is_said_to_be_missing() -> None:
    network = line_of(2)
    asked = encode_inventory((SPEND.txid,), MSG_TX)
    (answer,) = network.nodes[0].step(MessageCame(peer=1, command="getdata", payload=asked))
    assert getattr(answer, "command", None) == "notfound"


def test_an_exchanged_tip_gives_transactions_back() -> None:
    network = line_of(2)
    send(network, 0, SPEND)
    network.submit(0, block_on(PARENT, miner=OTHER, rank=1, transactions=(SPEND,)))
    assert pools(network) == [[], []]
    network.submit(1, block_on(PARENT))  # rank 0, without it
    assert network.nodes[0].tree.tip == view_of(block_on(PARENT))
    assert pools(network) == [[SPEND.txid]] * 2


def test_inventories_of_blocks_and_transactions_do_not_mix() -> None:
    network = line_of(2)
    told = encode_inventory((SPEND.txid,), MSG_BLOCK)
    network.nodes[0].step(MessageCame(peer=1, command="inv", payload=told))
    assert network.nodes[0].gossip.peers[1].transactions == {}
