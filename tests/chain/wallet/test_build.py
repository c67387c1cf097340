"""Payments: they balance, pay their rate, spend no more than they must."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.errors import Refused
from chain.bitcoin.ledger import weight
from chain.mempool import FEE_RATE_MIN
from chain.payment import DUST
from chain.records.coinbase import pay_to_key
from chain.records.transaction import Transaction, TxOut
from chain.wallet.account import Account, descriptor_of, finder
from chain.wallet.book import CHANGE, RECEIVE, Owned
from chain.wallet.build import Plan, build, sweep
from chain.wallet.sign import extract, finalize, sign
from tests.chain.federation_fixture import OTHER

SEED = bytes(range(32))
ACCOUNT = Account(descriptor=descriptor_of(SEED))
THEIRS = pay_to_key(OTHER.public_key)
BACK = ACCOUNT.script(CHANGE, 0)
assert BACK is not None
VALUES = st.lists(st.integers(300, 10**10), min_size=1, max_size=8)


def coins_of(values: list[int]) -> list[Owned]:
    found = []
    for at, value in enumerate(values):
        script = ACCOUNT.script(RECEIVE, at)
        assert script is not None
        output = TxOut(value=value, script=script)
        place = (bytes([at + 1]) * 32, at)
        more = {"branch": RECEIVE, "number": at, "height": 1, "coinbase": False}
        found.append(Owned(outpoint=place, output=output, **more))  # type: ignore[arg-type]
    return found


def finished(plan: Plan) -> Transaction:
    """Signed, and every script run."""
    psbt, added = sign(ACCOUNT.psbt(plan, (CHANGE, 0)), finder(SEED, []))
    assert added == len(plan.chosen)
    return extract(finalize(psbt)[0])


@settings(max_examples=40, deadline=None)
@given(VALUES, st.integers(DUST, 2 * 10**10), st.integers(1, 100))
def test_a_payment_balances_and_pays_its_rate(values: list[int], value: int, rate: int) -> None:
    coins = coins_of(values)
    plan, refused = None, ""
    try:
        plan = build(coins, [TxOut(value=value, script=THEIRS)], BACK, rate)
    except Refused as error:
        refused = error.code
    if plan is None:
        assert refused == "not-enough"
        assert sum(values) < value + rate * (80 * len(values) + 100)
        return
    made = finished(plan)
    held = sum(coin.output.value for coin in plan.chosen)
    assert held == sum(output.value for output in made.outputs) + plan.fee
    assert 4 * plan.fee >= rate * weight(made)
    assert 4 * plan.fee <= rate * (weight(made) + 4 * 150) + 4 * (DUST + 1)
    assert made.outputs[0] == TxOut(value=value, script=THEIRS)
    assert all(output.value >= DUST for output in made.outputs)
    assert [output.script for output in made.outputs[1:]] == [BACK] * (plan.change is not None)


def test_coins_that_fit_need_no_change() -> None:
    values = [100_000, 70_000, 40_450, 9_000]
    exact = build(coins_of(values), [TxOut(value=110_000, script=THEIRS)], BACK, 2)
    assert exact.change is None
    assert sorted(coin.output.value for coin in exact.chosen) == [40_450, 70_000]
    other = build(coins_of(values), [TxOut(value=60_000, script=THEIRS)], BACK, 2)
    assert other.change == 1
    assert [coin.output.value for coin in other.chosen] == [100_000]


def test_everything_can_be_paid_out() -> None:
    plan = sweep(coins_of([1_000, 2_000, 3_000]), THEIRS, 3)
    made = finished(plan)
    assert (len(made.inputs), len(made.outputs)) == (3, 1)
    assert made.outputs[0].value == 6_000 - plan.fee
    with pytest.raises(Refused, match="does not pay its own fee"):
        sweep(coins_of([400]), THEIRS, 3)
    with pytest.raises(Refused):
        sweep([], THEIRS, 1)


def test_a_replacement_spends_the_same_and_pays_what_nodes_ask_for() -> None:
    coins = coins_of([50_000, 60_000])
    old = build(coins[:1], [TxOut(value=20_000, script=THEIRS)], BACK, 2)
    new = build(
        coins[1:],
        [TxOut(value=20_000, script=THEIRS)],
        BACK,
        2,
        required=old.chosen,
        replaced_fee=old.fee,
    )
    assert old.chosen[0] in new.chosen
    assert 1000 * (new.fee - old.fee) > FEE_RATE_MIN * weight(finished(new))
    # Where its own coin does not pay for it, another one helps.
    whole = sweep(coins[:1], THEIRS, 2)
    more = build(
        coins[1:],
        list(whole.transaction.outputs),
        BACK,
        5,
        required=whole.chosen,
        replaced_fee=whole.fee,
    )
    assert len(more.chosen) == 2


@pytest.mark.parametrize(
    ("value", "rate", "code"),
    [
        (DUST - 1, 1, "dust"),
        (0, 1, "value-out-of-range"),
        (10**17, 1, "value-out-of-range"),
        (1_000, 0, "fee-rate"),
        (1_000, 10_001, "fee-rate"),
        (49_990, 1, "not-enough"),
    ],
)
def test_what_cannot_be_paid(value: int, rate: int, code: str) -> None:
    with pytest.raises(Refused) as caught:
        build(coins_of([50_000]), [TxOut(value=value, script=THEIRS)], BACK, rate)
    assert caught.value.code == code


def test_too_many_coins_are_not_spent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.wallet.build.COINS_MAX", 2)
    coins = coins_of([1_000] * 3)
    with pytest.raises(Refused) as caught:
        build(coins, [TxOut(value=2_500, script=THEIRS)], BACK, 1)
    assert caught.value.code == "too-many-coins"
    with pytest.raises(Refused):
        sweep(coins, THEIRS, 1)


def test_another_wallets_signer_adds_nothing() -> None:
    plan = build(coins_of([50_000]), [TxOut(value=20_000, script=THEIRS)], BACK, 2)
    psbt = ACCOUNT.psbt(plan, (CHANGE, 0))
    assert sign(psbt, finder(bytes(32), []))[1] == 0
    assert sign(replace(psbt, inputs=({},)), finder(SEED, []))[1] == 0
