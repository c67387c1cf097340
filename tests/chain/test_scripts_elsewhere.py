"""A block whose scripts take long waits for a worker; the node answers everybody meanwhile."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import aiohttp
import pytest

from bft.errors import Refused
from chain.bitcoin.ledger import SIGNED_BYTES_MAX, Coin, connect
from chain.federation import api
from chain.gossip_events import (
    BlockSubmitted,
    CheckScripts,
    Drop,
    MessageCame,
    PeerConnected,
    ScriptsChecked,
)
from chain.node.service import NodeService
from chain.records.block import Block
from chain.records.coinbase import pay_to_key
from chain.records.peer_message import PROTOCOL_VERSION, Version, encode_certheaders
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.scripts import Due, run_jobs
from tests.chain.federation_fixture import WINNER, block_on, view_of
from tests.chain.gossip_network import NOW_MS, Node
from tests.chain.node.test_rpc import grown
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import MATURE, PARENT, mature, signed, spend_of

INPUTS = 240


@cache
def heavy() -> Block:
    """Splits a reward into many coins and spends them all."""
    many = child_of(spend_of(MATURE[0]), outputs=INPUTS)
    entries = tuple(TxIn(previous=many.txid, index=at, script=b"") for at in range(INPUTS))
    value = sum(output.value for output in many.outputs) - 1_000
    paid = (TxOut(value=value, script=pay_to_key(WINNER.public_key)),)
    joined = signed(Transaction(version=2, inputs=entries, outputs=paid, locktime=0), *many.outputs)
    return block_on(PARENT, transactions=(spend_of(MATURE[0]), many, joined))


def waiting_node() -> tuple[Node, CheckScripts]:
    """A node that follows a peer, whose newest block is heavy."""
    node = Node(1, MATURE)
    node.step(PeerConnected(peer=7, outbound=True))
    version = Version(protocol=PROTOCOL_VERSION, time=1, nonce=9, user_agent=b"/x/", height=101)
    said = (
        ("version", version.encode()),
        ("verack", b""),
        ("certheaders", encode_certheaders([heavy().certified_header.encode()])),
        ("block", heavy().data),
    )
    for command, payload in said:
        node.step(MessageCame(peer=7, command=command, payload=payload))
    (asked,) = [effect for effect in node.saved if isinstance(effect, CheckScripts)]
    return node, asked


def test_a_heavy_block_is_taken_when_its_scripts_are_done() -> None:
    node, asked = waiting_node()
    assert asked.block == heavy().hash
    assert node.tree.tip == PARENT
    node.step(MessageCame(peer=7, command="block", payload=heavy().data))
    node.step(BlockSubmitted(data=heavy().data))
    again = [effect for effect in node.saved if isinstance(effect, CheckScripts)]
    assert again == [asked], "it is looked at once"
    assert run_jobs(asked.jobs) is None
    node.step(ScriptsChecked(block=asked.block, verdict=None))
    assert node.tree.tip == view_of(heavy())


def test_who_brought_a_block_with_bad_scripts_goes() -> None:
    node, asked = waiting_node()
    data, spent = asked.jobs[-1]
    dearer = ((spent[0][0] + 1, spent[0][1]), *spent[1:])
    verdict = run_jobs([(data, dearer)])
    assert verdict is not None, "a signature covers what is spent"
    (drop,) = node.step(ScriptsChecked(block=asked.block, verdict=verdict))
    assert isinstance(drop, Drop) and drop.discourage
    assert node.tree.tip == PARENT
    assert node.gossip.intake.waiting == {}


def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    node, asked = waiting_node()
    node.step(ScriptsChecked(block=asked.block, verdict=None))
    assert node.step(ScriptsChecked(block=asked.block, verdict=None)) == []
    assert node.step(ScriptsChecked(block=bytes(32), verdict=("x", "y"))) == []
    assert node.tree.tip == view_of(heavy())


def test_light_scripts_are_run_at_once() -> None:
    due = Due()
    first = spend_of(MATURE[0])
    due.add(first, (Coin(MATURE[0].transactions[0].outputs[0], 1, True),))
    assert not due.heavy
    due.run()
    assert run_jobs(due.jobs) is None


def test_a_block_has_a_bound_on_what_its_legacy_signatures_hash() -> None:
    """BIP 54 bounds one transaction; many of them together would still take seconds."""
    coins, height = mature(), PARENT.height + 1
    padding = TxOut(value=0, script=b"\x6a" + bytes(9_990))
    wasteful = b"\xae" * 100  # each counts as 20 signature operations
    lock = TxOut(value=1_000, script=wasteful)
    made = child_of(spend_of(MATURE[0]))
    bait = replace(made, outputs=(lock,) * 2)
    bait = signed(replace(bait, inputs=made.inputs), spend_of(MATURE[0]).outputs[0])

    def spend(at: int) -> Transaction:
        entry = TxIn(previous=bait.txid, index=at, script=b"")
        paddings = (padding,) * 30
        return Transaction(version=2, inputs=(entry,), outputs=paddings, locktime=0)

    spends = (spend(0), spend(1))
    assert 2 * 2_000 * len(spends[0].encode()) > SIGNED_BYTES_MAX > 2_000 * len(spends[0].encode())
    coinbase = block_on(PARENT).transactions[0]
    ran: list[Transaction] = []
    with pytest.raises(Refused, match="bytes to hash") as caught:
        connect(
            (coinbase, spend_of(MATURE[0]), bait, *spends),
            height,
            coins,
            run=lambda transaction, spent: ran.append(transaction),
        )
    assert caught.value.code == "too-many-signatures"
    assert len(ran) == 3, "it is refused before the scripts of the last one are run"


@pytest.mark.integration
async def test_a_node_runs_heavy_scripts_in_another_process(tmp_path: Path) -> None:
    config = grown(tmp_path)
    service = NodeService(config, now_ms=lambda: NOW_MS)
    await service.start()
    try:
        url = f"http://{service.http_endpoint}"
        async with aiohttp.ClientSession() as session:
            async with session.post(url + api.BLOCKS, data=heavy().data) as answer:
                assert answer.status == 202, await answer.text()
            assert service.core.tree.tip == view_of(heavy())
    finally:
        await service.stop()
