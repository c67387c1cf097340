"""What waits for a block: taken, replaced, chosen, forgotten."""

import random
from dataclasses import replace

import pytest

from bft.errors import Refused
from chain.bitcoin.ledger import After, connect, weight
from chain.mempool import ANCESTORS_MAX, FEE_RATE_MIN, REPLACED_MAX, Mempool
from chain.records.coinbase import pay_to_key
from chain.records.transaction import Transaction, TxIn, TxOut
from tests.chain.federation_fixture import OTHER, WINNER, block_on
from tests.chain.test_spending import MATURE, PARENT, coins_after, mature, signed, spend_of

HEIGHT = PARENT.height + 1


def child_of(*parents: Transaction, fee: int = 1_000, outputs: int = 1) -> Transaction:
    """Spends the first output of each."""
    spent = [parent.outputs[0] for parent in parents]
    value = sum(output.value for output in spent) - fee
    share = TxOut(value=value // outputs, script=pay_to_key(WINNER.public_key))
    entries = [TxIn(previous=p.txid, index=0, script=b"", sequence=0xFFFFFFFD) for p in parents]
    draft = Transaction(version=2, inputs=tuple(entries), outputs=(share,) * outputs, locktime=0)
    return signed(draft, *spent)


def refusal(pool: Mempool, transaction: Transaction) -> str:
    before = pool.entries()
    with pytest.raises(Refused) as caught:
        pool.add(transaction, mature())
    assert pool.entries() == before, "a refusal changes nothing"
    return caught.value.code


def test_a_valid_transaction_waits_until_a_block_has_it() -> None:
    pool, spend = Mempool(), spend_of(MATURE[0])
    assert pool.add(spend, mature()) == ()
    assert refusal(pool, spend) == "known"
    assert pool.select(10**6) == ((spend,), 1_000)
    pool.connect(block_on(PARENT, transactions=(spend,)).transactions)
    assert len(pool) == pool.weight == 0


def test_a_fee_below_the_minimum_is_refused() -> None:
    needed = -(-FEE_RATE_MIN * weight(spend_of(MATURE[0])) // 1000)
    assert refusal(Mempool(), spend_of(MATURE[0], fee=needed - 1)) == "fee-too-low"
    Mempool().add(spend_of(MATURE[0], fee=needed), mature())


def test_invalid_and_odd_transactions_are_refused() -> None:
    pool, spend = Mempool(), spend_of(MATURE[0])
    assert refusal(pool, spend_of(MATURE[1], fee=10**6)) != "known"  # mature in the next block only
    assert refusal(pool, replace(spend, version=7)) == "not-standard"
    odd = replace(spend, outputs=(replace(spend.outputs[0], script=b"\x51"),))
    assert refusal(pool, odd) == "not-standard"
    assert refusal(pool, MATURE[0].transactions[0]) == "not-standard"


def test_a_better_payer_replaces_and_takes_what_built_on_the_old_one_along() -> None:
    pool, first = Mempool(), spend_of(MATURE[0], fee=1_000)
    pool.add(first, mature())
    child = child_of(first)
    pool.add(child, mature())
    assert refusal(pool, spend_of(MATURE[0], fee=2_000)) == "fee-too-low"  # not its own way
    better = spend_of(MATURE[0], fee=5_000)
    assert set(pool.add(better, mature())) == {first.txid, child.txid}
    assert [entry.txid for entry in pool.entries()] == [better.txid]


def children_of(parent: Transaction) -> list[Transaction]:
    """One for each output."""
    found = []
    for index, output in enumerate(parent.outputs):
        entry = TxIn(previous=parent.txid, index=index, script=b"", sequence=0xFFFFFFFD)
        left = TxOut(value=output.value - 1_000, script=output.script)
        draft = Transaction(version=2, inputs=(entry,), outputs=(left,), locktime=0)
        found.append(signed(draft, output))
    return found


def test_so_many_leave_for_one_and_all_for_a_block() -> None:
    pool, first = Mempool(), spend_of(MATURE[0], fee=1_000)
    wide = child_of(first, fee=10_000, outputs=REPLACED_MAX)
    *few, last = children_of(wide)
    for each in (first, wide, *few[:-1]):  # REPLACED_MAX of them
        pool.add(each, mature())
    better = spend_of(MATURE[0], fee=1_000_000)
    assert pool.test(better, mature()).txid == better.txid
    for each in (few[-1], last):
        pool.add(each, mature())
        assert refusal(pool, better) == "fee-too-low"
    pool.connect(block_on(PARENT, transactions=(better,)).transactions)
    assert len(pool) == pool.weight == 0, "for a block all of them leave"


def test_a_chain_of_unconfirmed_ones_ends_somewhere() -> None:
    pool, newest = Mempool(), spend_of(MATURE[0])
    for _ in range(ANCESTORS_MAX):
        pool.add(newest, mature())
        newest = child_of(newest)
    assert refusal(pool, newest) == "too-many-ancestors"


def test_a_child_that_pays_well_takes_its_parent_along() -> None:
    pool, parent = Mempool(), spend_of(MATURE[0], fee=200)
    child = child_of(parent, fee=90_000)
    pool.add(parent, mature())
    pool.add(child, mature())
    chosen, fees = pool.select(10**6)
    assert chosen == (parent, child)
    assert fees == 90_200
    assert pool.select(weight(parent) + weight(child) - 1) == ((parent,), 200)
    assert pool.select(0) == ((), 0)


def test_the_choice_keeps_the_limit_of_a_blocks_signature_operations() -> None:
    """Else well-paying transactions full of them would make the winner's only block invalid."""
    pool, parent = Mempool(), spend_of(MATURE[0], fee=200)
    child = child_of(parent, fee=90_000)
    pool.add(parent, mature())
    pool.add(child, mature())
    cost = sum(entry.signature_cost for entry in pool.entries())
    assert cost == 2
    assert pool.select(10**6, cost) == ((parent, child), 90_200)
    assert pool.select(10**6, cost - 1) == ((parent,), 200)
    assert pool.select(10**6, 0) == ((), 0)


def test_scripts_that_were_run_are_known_by_every_byte() -> None:
    pool, spend = Mempool(), spend_of(MATURE[0])
    assert not pool.is_verified(spend)
    pool.add(spend, mature())
    assert pool.is_verified(spend)
    signature, key = spend.inputs[0].witness
    other = replace(spend, inputs=(replace(spend.inputs[0], witness=(signature[:-1], key)),))
    assert other.txid == spend.txid
    assert not pool.is_verified(other)


def test_a_full_pool_refuses_bad_payers_before_their_scripts_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, first = Mempool(), spend_of(MATURE[0], fee=5_000)
    pool.add(first, mature())
    monkeypatch.setattr("chain.mempool.POOL_WEIGHT_MAX", weight(first) + 1)
    child = child_of(first, fee=1_000)
    unsigned = replace(child, inputs=(replace(child.inputs[0], witness=()),))
    assert refusal(pool, unsigned) == "pool-full"


def test_a_block_with_a_rival_ends_the_wait() -> None:
    pool, mine = Mempool(), spend_of(MATURE[0])
    pool.add(mine, mature())
    pool.add(child_of(mine), mature())
    pool.connect(block_on(PARENT, transactions=(spend_of(MATURE[0], fee=7_000),)).transactions)
    assert len(pool) == 0


def test_undone_blocks_give_their_transactions_back() -> None:
    pool, spend = Mempool(), spend_of(MATURE[0])
    pool.add(spend, mature())
    pool.connect((block := block_on(PARENT, transactions=(spend,))).transactions)
    pool.renew(mature(), block.transactions[1:])
    assert [entry.txid for entry in pool.entries()] == [spend.txid]
    pool.renew(coins_after([*MATURE, block]))
    assert len(pool) == 0


@pytest.mark.parametrize("seed", range(3))
def test_what_is_chosen_is_always_a_valid_block(seed: int) -> None:
    """Random chains, children of several parents, replacements; every choice connects."""
    rng, pool = random.Random(seed), Mempool()
    blocks = MATURE
    coins = coins_after(blocks)
    tip: list[Transaction] = [spend_of(blocks[0], fee=rng.randint(300, 3_000))]
    pool.add(tip[0], coins)
    for _ in range(12):
        parents = rng.sample(tip, min(len(tip), rng.randint(1, 2)))
        made = child_of(*parents, fee=rng.randint(300, 20_000), outputs=rng.randint(1, 3))
        try:
            pool.add(made, coins)
        except Refused:
            continue
        tip = [entry.transaction for entry in pool.entries()]
    assert len(pool) >= 3
    for weight_max in (600, 2_000, 5_000, 10**6):
        chosen, fees = pool.select(weight_max)
        block = block_on(PARENT, miner=OTHER, transactions=chosen)
        assert connect(block.transactions, HEIGHT, coins).fees == fees
        After(coins, block.transactions, HEIGHT, block.header.time)
        assert sum(weight(each) for each in chosen) <= weight_max
