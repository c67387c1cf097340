"""A winner that signs two blocks loses its reward, once anybody's later coinbase shows both."""

from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from bft.codec.canonical import decode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError, FederationError, Refused
from chain.bitcoin.ledger import COINBASE_MATURITY, After
from chain.federation import api
from chain.gossip_events import BlockSubmitted
from chain.node.coins import CoinTable
from chain.node.service import NodeService
from chain.params import MINIMAL
from chain.records.block import Block, decode_block, decode_certified_header
from chain.records.coinbase import CARRIED_EVIDENCE_BYTES_MAX
from chain.records.evidence import encode_evidence, equivocation, federation_fault
from chain.records.template import BlockTemplate
from chain.records.transaction import TxOut
from chain.validation import validate_block
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    OTHER,
    START,
    block_on,
    view_of,
    with_coinbase,
)
from tests.chain.gossip_network import NOW_MS
from tests.chain.node.homes import make_config
from tests.chain.test_spending import coins_after, spend_of

FIRST = block_on(START)
TWIN = block_on(START, time=FIRST.header.time + 1)
EVIDENCE = encode_evidence(equivocation(FIRST.certified_header, TWIN.certified_header))
REWARD = (FIRST.transactions[0].txid, 0)


def after(*blocks: Block) -> CoinTable:
    return coins_after(blocks)


def judge(block: Block, *before: Block) -> Block:
    parent = view_of(before[-1])
    coins = after(*before)
    return validate_block(block.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, parent, coins)


def refusal(evidence: bytes, *before: Block) -> str:
    before = before or (FIRST,)
    with pytest.raises(Refused) as caught:
        judge(block_on(view_of(before[-1]), miner=OTHER, evidence=evidence), *before)
    return caught.value.code


def test_the_reward_is_gone_and_can_never_be_spent() -> None:
    showing = judge(block_on(view_of(FIRST), miner=OTHER, evidence=EVIDENCE), FIRST)
    assert after(FIRST).coin(REWARD) is not None
    coins = after(FIRST, showing)
    assert coins.coin(REWARD) is None
    assert coins.coin((showing.transactions[0].txid, 0)) is not None, "whoever shows it is paid"
    chain = [FIRST, showing]
    while len(chain) <= COINBASE_MATURITY:
        chain.append(block_on(view_of(chain[-1])))
    spending = block_on(view_of(chain[-1]), transactions=(spend_of(FIRST),))
    with pytest.raises(Refused) as caught:
        judge(spending, *chain)
    assert caught.value.code == "missing-coin"


def test_either_of_the_two_may_be_the_one_of_this_chain() -> None:
    showing = judge(block_on(view_of(TWIN), miner=OTHER, evidence=EVIDENCE), TWIN)
    assert after(TWIN, showing).coin((TWIN.transactions[0].txid, 0)) is None


def test_a_header_shows_what_its_coinbase_carries() -> None:
    showing = block_on(view_of(FIRST), evidence=EVIDENCE)
    assert showing.coinbase.evidence == EVIDENCE
    encoded = showing.certified_header.encode()
    assert decode_certified_header(encoded) == showing.certified_header
    assert decode_block(showing.data) == showing


def test_it_is_shown_once() -> None:
    showing = block_on(view_of(FIRST), miner=OTHER, evidence=EVIDENCE)
    assert refusal(EVIDENCE, FIRST, showing) == "bad-evidence"


def test_it_comes_too_late_when_the_reward_is_mature() -> None:
    chain = [FIRST]
    while len(chain) < COINBASE_MATURITY - 1:
        chain.append(block_on(view_of(chain[-1])))
    judge(block_on(view_of(chain[-1]), evidence=EVIDENCE), *chain)
    chain.append(block_on(view_of(chain[-1])))
    assert refusal(EVIDENCE, *chain) == "bad-evidence"


def other_certificate() -> bytes:
    """Both are its own, of two cycles at one height: a winner may make a block for each."""
    later = block_on(START, cycle=2)
    return encode_evidence(equivocation(FIRST.certified_header, later.certified_header))


def forged() -> bytes:
    """The second one's time is another, which its winner never signed."""
    header = replace(TWIN.header, time=TWIN.header.time + 1)
    second = replace(TWIN.certified_header, header=header)
    return encode_evidence(equivocation(FIRST.certified_header, second))


def elsewhere() -> bytes:
    """True, but neither block is of this chain."""
    blocks = [block_on(START, rank=1, time=START.time + at) for at in (10, 11)]
    return encode_evidence(equivocation(*(block.certified_header for block in blocks)))


def fault() -> bytes:
    """A fault of the federation has no reward to void."""
    return encode_evidence(federation_fault(sha256(b"one"), sha256(b"two")))


def test_what_convicts_nobody_makes_the_block_invalid() -> None:
    made = (other_certificate(), forged(), elsewhere(), fault(), EVIDENCE[:-1], b"\x01")
    assert {refusal(evidence) for evidence in made} == {"bad-evidence"}


def test_a_coinbase_has_one_place_for_it() -> None:
    carrying = block_on(view_of(FIRST), evidence=EVIDENCE).transactions[0]
    outputs = carrying.outputs
    for spoilt in (
        (*outputs, outputs[3]),
        (*outputs[:3], replace(outputs[3], value=1)),
        (*outputs[:3], TxOut(value=0, script=outputs[3].script + b"\x02ab")),
        (*outputs[:3], TxOut(value=0, script=b"\x6a\x04GRSE")),
        (*outputs[:3], TxOut(value=0, script=b"\x6a\x04evil")),
    ):
        with pytest.raises(DecodeError):
            decode_block(with_coinbase(FIRST, replace(carrying, outputs=spoilt)))
    too_much = block_on(view_of(FIRST)).coinbase
    heavy = replace(too_much, evidence=bytes(CARRIED_EVIDENCE_BYTES_MAX + 1)).transaction()
    with pytest.raises(DecodeError, match="at most"):
        decode_block(with_coinbase(FIRST, heavy))


def test_who_does_not_know_the_coins_does_not_judge_it() -> None:
    showing = block_on(view_of(FIRST), evidence=EVIDENCE)
    with pytest.raises(Refused) as caught:
        validate_block(showing.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, view_of(FIRST))
    assert caught.value.code == "coins-unknown"


def test_coins_ahead_of_the_store_know_it_too() -> None:
    showing = block_on(view_of(FIRST), evidence=EVIDENCE)
    ahead = After(after(FIRST), showing.transactions, 2, showing.header.time)
    assert ahead.coin(REWARD) is None
    assert REWARD in ahead.changes.spent, "so that it can be told afterwards what was taken"


@pytest.mark.integration
async def test_a_node_offers_it_to_the_next_winner(tmp_path: Path) -> None:
    service = NodeService(make_config(tmp_path), now_ms=lambda: NOW_MS)
    await service.start()
    try:
        for block in (FIRST, TWIN):
            service.step(BlockSubmitted(data=block.data))
        tip = service.core.tree.tip
        url = f"http://{service.http_endpoint}{api.TEMPLATE.format(parent=tip.hash[::-1].hex())}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            template = decode(BlockTemplate, await answer.read())
        assert template.evidence == EVIDENCE
        showing = block_on(tip, miner=OTHER, evidence=template.evidence)
        service.step(BlockSubmitted(data=showing.data))
        assert service.core.tree.tip == view_of(showing)
        coins = service.core.gossip.intake.coins_after_tip()
        assert [coins.coin((each.transactions[0].txid, 0)) for each in (FIRST, TWIN)] == [None] * 2
        assert service.core.gossip.intake.due_evidence() == b"", "it is shown"
        again = block_on(view_of(showing), evidence=EVIDENCE)
        with pytest.raises(FederationError, match="immature"):
            service.step(BlockSubmitted(data=again.data))
    finally:
        await service.stop()
