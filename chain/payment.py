"""Paying from the coins of one key: which are spent, what comes back, what the block gets.

Source: Bitcoin Core, wallet/spend.cpp, in small: the largest coins first, so that the fewest are
signed for.
Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.errors import Refused
from chain.bitcoin.ledger import MONEY_MAX, Outpoint, weight
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.signing import Keyring, sign_input
from chain.mempool import FEE_RATE_MIN
from chain.records.transaction import Transaction, TxIn, TxOut

DUST = 294
"""Change below it would cost more to spend than it is worth; it goes to the fee."""
COINS_MAX = 1_400
"""Of one payment: the inputs of more would be heavier than what nodes pass on."""
REPLACEABLE = 0xFFFFFFFD
_SIGNED_INPUT = 108 + 4  # weight of a P2WPKH witness at the most, with counts


@dataclass(frozen=True, slots=True)
class Payment:
    """A signed transaction and what it costs."""

    transaction: Transaction
    fee: int
    change: int


def pay(
    coins: Sequence[tuple[Outpoint, TxOut]],
    to: bytes,
    value: int | None,
    change: bytes,
    keyring: Keyring,
    *,
    fee_rate: int = FEE_RATE_MIN,
) -> Payment:
    """A signed payment of `value` to the script `to`; None pays everything that is there.

    Args:
        coins: spendable now, locked by `change`'s key.
        change: script that gets what is left over.
        fee_rate: per 1000 weight.

    Raises:
        Refused: "not-enough", "dust", "value-out-of-range", or "too-many-coins".
    """
    if value is not None and not 0 < value <= MONEY_MAX:
        raise Refused("value-out-of-range", f"{value} came; 1 to {MONEY_MAX} can be paid")
    if value is not None and value < DUST:
        raise Refused("dust", f"{value} came; nodes pass on outputs of {DUST} and more")
    ordered = sorted(coins, key=lambda coin: (-coin[1].value, coin[0]))
    chosen: list[tuple[Outpoint, TxOut]] = []
    total = 0
    for coin in ordered:
        if len(chosen) >= COINS_MAX:
            raise Refused(
                "too-many-coins",
                f"the {COINS_MAX} largest coins hold {total}; one payment spends no more of them",
            )
        chosen.append(coin)
        total += coin[1].value
        if value is None:
            continue
        fee = _fee(len(chosen), (to, change), fee_rate)
        if total >= value + fee + DUST:
            return _signed(chosen, [(to, value), (change, total - value - fee)], keyring)
        if total >= value + _fee(len(chosen), (to,), fee_rate):
            return _signed(chosen, [(to, value)], keyring)
    fee = _fee(len(chosen), (to,), fee_rate)
    if value is None and total >= fee + DUST:
        return _signed(chosen, [(to, total - fee)], keyring)
    wanted = "anything" if value is None else str(value)
    raise Refused("not-enough", f"{total} can be spent; {wanted} and a fee of {fee} are needed")


def _draft(count: int, outputs: Sequence[tuple[bytes, int]]) -> Transaction:
    entry = TxIn(previous=bytes(32), index=0, script=b"", sequence=REPLACEABLE)
    paid = tuple(TxOut(value=value, script=script) for script, value in outputs)
    return Transaction(version=2, inputs=(entry,) * count, outputs=paid, locktime=0)


def _fee(count: int, scripts: Sequence[bytes], fee_rate: int) -> int:
    heavy = weight(_draft(count, [(script, 0) for script in scripts])) + 2 + count * _SIGNED_INPUT
    return -(-heavy * fee_rate // 1000)


def _signed(
    chosen: Sequence[tuple[Outpoint, TxOut]], outputs: Sequence[tuple[bytes, int]], keyring: Keyring
) -> Payment:
    draft = _draft(len(chosen), outputs)
    inputs = tuple(
        TxIn(previous=txid, index=at, script=b"", sequence=REPLACEABLE) for (txid, at), _ in chosen
    )
    unsigned = Transaction(version=2, inputs=inputs, outputs=draft.outputs, locktime=0)
    hasher = SignatureHasher(unsigned)
    entries = tuple(
        sign_input(hasher, index, coin, keyring) for index, (_, coin) in enumerate(chosen)
    )
    made = Transaction(version=2, inputs=entries, outputs=draft.outputs, locktime=0)
    fee = sum(coin.value for _, coin in chosen) - sum(value for _, value in outputs)
    change = outputs[1][1] if len(outputs) > 1 else 0
    return Payment(made, fee, change)
