"""Payments balance, pay their fee, and are valid."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.errors import Refused
from chain.bitcoin.ledger import Coin, check_scripts, weight
from chain.bitcoin.signing import Keyring
from chain.mempool import FEE_RATE_MIN
from chain.payment import COINS_MAX, DUST, pay
from chain.records.coinbase import pay_to_key
from chain.records.peer_message import TRANSACTION_WEIGHT_MAX
from chain.records.transaction import TxOut
from tests.chain.federation_fixture import OTHER, WINNER

MINE, THEIRS = pay_to_key(WINNER.public_key), pay_to_key(OTHER.public_key)
RING = Keyring([WINNER.secret])
VALUES = st.lists(st.integers(1, 10**12), min_size=1, max_size=5)


def coins_of(values: list[int]) -> list[tuple[tuple[bytes, int], TxOut]]:
    return [((bytes([at]) * 32, at), TxOut(value=v, script=MINE)) for at, v in enumerate(values)]


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(DUST, 10**12) | st.none(), st.integers(FEE_RATE_MIN, 20_000))
def test_a_payment_balances_and_pays_its_rate(
    values: list[int], value: int | None, rate: int
) -> None:
    coins = coins_of(values)
    try:
        payment = pay(coins, THEIRS, value, MINE, RING, fee_rate=rate)
    except Refused as error:
        refused = error.code
    else:
        refused = ""
    if refused:
        assert refused == "not-enough"
        assert sum(values) < (value or 0) + rate * 5  # a payment of five coins weighs below 5000
        return
    made = payment.transaction
    spent = {(entry.previous, entry.index) for entry in made.inputs}
    held = {outpoint: coin for outpoint, coin in coins if outpoint in spent}
    total = sum(coin.value for coin in held.values())
    assert total == sum(output.value for output in made.outputs) + payment.fee
    assert payment.fee * 1000 >= rate * weight(made)
    assert all(output.value >= DUST for output in made.outputs)
    if value is None:
        assert len(spent) == len(values)
    else:
        assert made.outputs[0] == TxOut(value=value, script=THEIRS)
        assert payment.fee < rate * weight(made) // 1000 + DUST + rate * 2
    ordered = [Coin(held[entry.previous, entry.index], 1, False) for entry in made.inputs]
    check_scripts(made, ordered)


def test_dust_and_impossible_amounts_are_refused() -> None:
    for value, code in (
        (DUST - 1, "dust"),
        (0, "value-out-of-range"),
        (10**17, "value-out-of-range"),
    ):
        with pytest.raises(Refused) as caught:
            pay(coins_of([10**9]), THEIRS, value, MINE, RING)
        assert caught.value.code == code


def test_the_fewest_coins_are_spent() -> None:
    payment = pay(coins_of([5_000, 10**6, 7_000]), THEIRS, 9_000, MINE, RING)
    assert len(payment.transaction.inputs) == 1
    assert payment.change == 10**6 - 9_000 - payment.fee


def test_a_payment_of_the_most_coins_is_light_enough_to_be_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = pay(coins_of([10**6] * 3), THEIRS, None, MINE, RING).transaction
    least = pay(coins_of([10**6]), THEIRS, None, MINE, RING).transaction
    each = (weight(whole) - weight(least)) // 2 + 2  # a signature's last bytes vary
    assert weight(least) + COINS_MAX * each < TRANSACTION_WEIGHT_MAX
    monkeypatch.setattr("chain.payment.COINS_MAX", 2)
    assert pay(coins_of([10**6] * 3), THEIRS, 10**6 + 1, MINE, RING).fee > 0
    for value in (None, 2 * 10**6):
        with pytest.raises(Refused) as caught:
            pay(coins_of([10**6] * 3), THEIRS, value, MINE, RING)
        assert caught.value.code == "too-many-coins"
