"""The chain from certified headers alone: what is proven, what is refused, what is stale."""

from dataclasses import replace

import pytest

from bft.crypto import bls
from bft.errors import BadSignature, DecodeError, Refused
from chain.bitcoin.merkle_block import encode_merkle_block
from chain.light.follow import (
    FUTURE_S_MAX,
    STALE_CYCLES,
    LightChain,
    begin,
    check_epoch,
    check_fresh,
    cycle_s,
    finalise,
    follow,
    verify_transaction,
    view_of,
)
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.federation import FederationKey, activation_message
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    FEDERATION_SECRET,
    GENESIS,
    OTHER,
    OTHER_SECRET,
    START,
    WINNER,
    block_on,
    finality_of,
    make_chain,
)
from tests.chain.federation_fixture import view_of as parent_of
from tests.chain.test_spending import MATURE, PARENT, spend_of

NEW = begin(GENESIS, FEDERATION_KEY)
CHAIN = make_chain(4)


def headers(*blocks: Block) -> list[bytes]:
    return [block.certified_header.encode() for block in blocks]


def refused(chain: LightChain, *blocks: Block) -> str:
    with pytest.raises(Refused) as caught:
        follow(chain, headers(*blocks))
    return caught.value.code


def test_the_next_certificate_proves_a_block_and_nothing_proves_the_newest() -> None:
    chain = NEW
    for at, block in enumerate(CHAIN):
        chain = follow(chain, headers(block))
        assert chain.tip == block.certified_header
        assert chain.proven == (START if at == 0 else parent_of(CHAIN[at - 1]))
        assert chain.height == at + 1
    assert chain == follow(NEW, headers(*CHAIN))
    assert follow(chain, headers(CHAIN[-1])) == chain


def test_the_federations_word_proves_the_newest_block() -> None:
    chain = finalise(follow(NEW, headers(*CHAIN)), finality_of(CHAIN[-1]))
    assert (chain.proven, chain.tip) == (parent_of(CHAIN[-1]), None)
    assert finalise(chain, finality_of(CHAIN[-1])) == chain
    following = block_on(parent_of(CHAIN[-1]))
    assert follow(chain, headers(following)).tip == following.certified_header


def test_a_false_word_proves_nothing() -> None:
    chain = follow(NEW, headers(*CHAIN))
    with pytest.raises(BadSignature):
        finalise(chain, finality_of(CHAIN[-1], OTHER_SECRET))
    with pytest.raises(Refused, match="the tip is at 4"):
        finalise(chain, finality_of(CHAIN[0]))
    other = block_on(parent_of(CHAIN[2]), time=CHAIN[3].header.time + 1)
    with pytest.raises(Refused, match="another block is final"):
        finalise(chain, finality_of(other))


def test_one_forged_header_among_many_makes_all_of_them_unbelievable() -> None:
    forged = block_on(parent_of(CHAIN[1]), secret=OTHER_SECRET)
    with pytest.raises(BadSignature):
        follow(NEW, headers(CHAIN[0], CHAIN[1], forged))
    with pytest.raises(BadSignature):
        follow(begin(GENESIS, bls.public_key(OTHER_SECRET)), headers(CHAIN[0]))
    stolen = block_on(START, miner=OTHER, winner=WINNER.public_key, payee=WINNER.public_key)
    with pytest.raises(BadSignature, match="winner did not sign"):
        follow(NEW, headers(stolen))


def test_a_gap_and_another_parent_are_refused() -> None:
    assert refused(NEW, CHAIN[1]) == "wrong-parent"
    assert refused(follow(NEW, headers(CHAIN[0])), CHAIN[2]) == "wrong-parent"


def test_a_second_block_for_one_place_needs_a_higher_rank() -> None:
    chain = follow(NEW, headers(CHAIN[0]))
    equivocation = block_on(START, time=START.time + 11)
    assert equivocation.coinbase.certificate == CHAIN[0].coinbase.certificate
    assert refused(chain, equivocation) == "second-block"
    backup = block_on(START, rank=1, miner=OTHER)
    chain = follow(chain, headers(backup))
    assert chain.tip == backup.certified_header
    assert refused(chain, CHAIN[0]) == "second-block"
    above = block_on(parent_of(backup))
    assert follow(chain, headers(above)).proven == parent_of(backup)
    # The federation finalised the other one after all: its certificate says so.
    assert refused(chain, CHAIN[1]) == "wrong-parent"


def test_epochs_only_go_up() -> None:
    first = block_on(START, epoch=3)
    chain = follow(NEW, headers(first))
    assert chain.epoch == 3
    assert refused(chain, block_on(parent_of(first), epoch=2)) == "epoch-goes-back"
    assert follow(chain, headers(block_on(parent_of(first), epoch=4))).epoch == 4


def epoch_certificate(number: int) -> FederationKey:
    commitments = (FEDERATION_KEY,) * 3
    message = activation_message(CHAIN_ID, number, GENESIS.members, commitments)
    return FederationKey(
        chain_id=CHAIN_ID,
        epoch=number,
        members=GENESIS.members,
        commitments=commitments,
        qualified=(0, 1, 2),
        activation=bls.sign(FEDERATION_SECRET, message),
    )


def test_the_newest_certificate_names_the_members_of_an_epoch() -> None:
    epochs = [epoch_certificate(number) for number in range(3)]
    assert check_epoch(NEW, epochs) is None
    named = follow(NEW, headers(block_on(START, epoch=1, next_federation=epochs[2].digest)))
    assert check_epoch(named, epochs) == epochs[2]
    for known in (epochs[:2], []):
        with pytest.raises(Refused, match="none of the"):
            check_epoch(named, known)
    older = follow(NEW, headers(block_on(START, epoch=2, next_federation=epochs[1].digest)))
    with pytest.raises(Refused, match="none of the"):
        check_epoch(older, epochs)


def test_a_chain_without_a_young_certificate_is_stale() -> None:
    chain = follow(NEW, headers(*CHAIN))
    made = CHAIN[-1].certificate.not_before
    limit_s = STALE_CYCLES * cycle_s(MINIMAL)
    for now_s in (made - FUTURE_S_MAX, made, made + limit_s):
        check_fresh(chain, MINIMAL, now_s)
    for now_s, code in (
        (made + limit_s + 1, "stale"),
        (made - FUTURE_S_MAX - 1, "from-the-future"),
    ):
        with pytest.raises(Refused) as caught:
            check_fresh(chain, MINIMAL, now_s)
        assert caught.value.code == code
    assert cycle_s(MINIMAL) == 6 + 15 + 6 + 10 + 10 + 4 * 6


def test_a_transaction_is_proven_to_stand_in_a_proven_block() -> None:
    spends = tuple(spend_of(block) for block in MATURE[:1])
    block = block_on(PARENT, transactions=spends)
    ids = [each.txid for each in block.transactions]
    view, levels = view_of(block.certified_header), len(block.certified_header.branch)
    for place, txid in enumerate(ids):
        proof = encode_merkle_block(block.header.encode(), ids, {txid})
        assert verify_transaction(proof, txid, view, levels) == place
        with pytest.raises(DecodeError, match="says nothing"):
            verify_transaction(proof, bytes(32), view, levels)
        with pytest.raises(DecodeError, match="the proof is for block"):
            verify_transaction(proof, txid, replace(view, hash=bytes(32)), levels)
        with pytest.raises(DecodeError, match="levels"):
            verify_transaction(proof, txid, view, levels + 1)
