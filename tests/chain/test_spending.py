"""Blocks with transactions: rewards mature, are spent, pay fees; every rule of coins holds."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import COINBASE_MATURITY, LEGACY_CHECKS_MAX, Coin, check_scripts
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.signing import Keyring, sign_input
from chain.node.coins import CoinTable
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.coinbase import pay_to_key
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.rules.reward import subsidy
from chain.validation import ParentView, validate_block
from tests.chain.coins_fixture import memory_coins
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    OTHER,
    START,
    WINNER,
    assemble,
    block_on,
    make_chain,
    view_of,
)

RING = Keyring([WINNER.secret, OTHER.secret])
FEE = 1_000
MATURE = make_chain(COINBASE_MATURITY)
PARENT = view_of(MATURE[-1])
REWARD = subsidy(PARENT.height + 1, MINIMAL)


def coins_after(blocks: Sequence[Block]) -> CoinTable:
    coins = memory_coins()
    for block in blocks:
        coins.apply(block)
    return coins


@cache
def mature() -> CoinTable:
    return coins_after(MATURE)


def spend_of(block: Block, fee: int = FEE, to: bytes = OTHER.public_key) -> Transaction:
    """The block's whole reward to `to`, but for a fee."""
    reward = block.transactions[0].outputs[0]
    return signed(
        Transaction(
            version=2,
            inputs=(TxIn(previous=block.transactions[0].txid, index=0, script=b""),),
            outputs=(TxOut(value=reward.value - fee, script=pay_to_key(to)),),
            locktime=0,
        ),
        reward,
    )


def signed(transaction: Transaction, *spent: TxOut) -> Transaction:
    hasher = SignatureHasher(transaction)
    inputs = tuple(sign_input(hasher, at, output, RING) for at, output in enumerate(spent))
    return replace(transaction, inputs=inputs)


def validate(block: Block, parent: ParentView = PARENT, coins: CoinTable | None = None) -> Block:
    held = mature() if coins is None else coins
    return validate_block(block.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, parent, held)


def refusal(*transactions: Transaction, reward: int = REWARD) -> str:
    with pytest.raises(Refused) as caught:
        validate(block_on(PARENT, reward=reward, transactions=transactions))
    return caught.value.code


def test_a_mature_reward_is_spent_and_its_fee_is_the_winners() -> None:
    spend = spend_of(MATURE[0])
    block = validate(block_on(PARENT, reward=REWARD + FEE, transactions=(spend,)))
    coins = coins_after([*MATURE, block])
    assert coins.coin((MATURE[0].transactions[0].txid, 0)) is None
    found = coins.coin((spend.txid, 0))
    assert found is not None
    assert found.output == spend.outputs[0]
    assert [outpoint for outpoint, _ in coins.of_script(spend.outputs[0].script)] == [
        (spend.txid, 0)
    ]


def test_a_transaction_may_spend_what_an_earlier_one_of_its_block_made() -> None:
    first = spend_of(MATURE[0], fee=0)
    again = signed(
        Transaction(
            version=2,
            inputs=(TxIn(previous=first.txid, index=0, script=b""),),
            outputs=(TxOut(value=5, script=pay_to_key(WINNER.public_key)),),
            locktime=0,
        ),
        first.outputs[0],
    )
    block = validate(block_on(PARENT, transactions=(first, again)))
    assert coins_after([*MATURE, block]).coin((first.txid, 0)) is None
    assert refusal(again, first) == "missing-coin"


def test_a_reward_cannot_be_spent_before_its_time() -> None:
    assert refusal(spend_of(MATURE[1])) == "immature"


def test_a_coin_is_spent_once() -> None:
    twice = spend_of(MATURE[0]), spend_of(MATURE[0], fee=2 * FEE)
    assert refusal(*twice) == "missing-coin"
    block = validate(block_on(PARENT, transactions=twice[:1]))
    after = coins_after([*MATURE, block])
    with pytest.raises(Refused, match="spent or unknown"):
        validate(block_on(view_of(block), transactions=twice[1:]), view_of(block), after)


def test_nobody_elses_coin_can_be_spent() -> None:
    spend = spend_of(MATURE[0])
    stolen = replace(spend, outputs=(replace(spend.outputs[0], value=1),))
    assert refusal(stolen) == "eval-false"


def test_no_coin_comes_from_nowhere() -> None:
    assert refusal(spend_of(MATURE[0], fee=-1)) == "spends-too-much"
    assert refusal(spend_of(MATURE[0]), reward=REWARD + FEE + 1) == "reward-too-high"
    unknown = spend_of(MATURE[0])
    unknown = replace(unknown, inputs=(replace(unknown.inputs[0], index=7),))
    assert refusal(unknown) == "missing-coin"


def test_a_locked_transaction_waits() -> None:
    entry = TxIn(previous=MATURE[0].transactions[0].txid, index=0, script=b"", sequence=0xFFFFFFFE)
    locked = Transaction(
        version=2,
        inputs=(entry,),
        outputs=(TxOut(value=1, script=pay_to_key(OTHER.public_key)),),
        locktime=PARENT.height + 1,
    )
    reward = MATURE[0].transactions[0].outputs[0]
    assert refusal(signed(locked, reward)) == "not-final"
    validate(
        block_on(PARENT, transactions=(signed(replace(locked, locktime=PARENT.height), reward),))
    )


def test_a_block_that_spends_is_not_judged_without_coins() -> None:
    block = block_on(PARENT, transactions=(spend_of(MATURE[0]),))
    with pytest.raises(Refused, match="not known here"):
        validate_block(block.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, PARENT)


def test_transactions_stand_under_the_winners_signature() -> None:
    block = block_on(PARENT, transactions=(spend_of(MATURE[0]),))
    other = spend_of(MATURE[0], fee=7)
    with pytest.raises(DecodeError):
        validate_block(
            assemble(block.header, block.transactions[0], other),
            FEDERATION_KEY,
            CHAIN_ID,
            MINIMAL,
            PARENT,
            mature(),
        )


def test_block_zero_has_a_time_and_no_coins() -> None:
    coins = memory_coins()
    assert coins.height == 0
    assert coins.time(0) == START.time
    with pytest.raises(KeyError):
        coins.time(1)


def test_a_transactions_inputs_run_so_many_legacy_signature_operations_at_most() -> None:
    """BIP 54: each of them may hash the whole transaction."""
    checks = TxOut(value=1, script=b"\xac" * 200)
    most = LEGACY_CHECKS_MAX // 200
    for count, code in ((most, "invalid-stack-operation"), (most + 1, "too-many-signatures")):
        entries = tuple(TxIn(previous=bytes(32), index=at, script=b"") for at in range(count))
        spend = Transaction(version=2, inputs=entries, outputs=(checks,), locktime=0)
        with pytest.raises(Refused) as caught:
            check_scripts(spend, [Coin(checks, 1, False)] * count)
        assert caught.value.code == code
