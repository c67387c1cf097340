"""Which coins a payment spends, and what it costs.

First a search for coins that need no change (branch and bound), then the largest first.
Source: Erhardt, "An Evaluation of Coin Selection Strategies" (2016), section 6; Bitcoin Core,
wallet/coinselection.cpp (`SelectCoinsBnB`), whose bound on tries this has.
Pure: the same coins give the same payment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.errors import Refused
from chain.bitcoin.ledger import MONEY_MAX, weight
from chain.mempool import FEE_RATE_MIN
from chain.payment import COINS_MAX, DUST, REPLACEABLE
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.wallet.book import Owned

TRIES_MAX = 20_000
INPUT_WEIGHT = 4 * 41 + 108 + 4  # a P2WPKH input with its witness at the most, and counts
CHANGE_WEIGHT = 4 * 31  # a P2WPKH output
FEE_RATE_MAX = 10_000  # smallest units per virtual byte; more is a slip of the finger


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A transaction without signatures, and what it costs."""

    transaction: Transaction
    chosen: tuple[Owned, ...]  # in the order of the inputs
    fee: int
    change: int | None  # place of the output that comes back


def build(
    coins: Sequence[Owned],
    payments: Sequence[TxOut],
    change: bytes,
    fee_rate: int,
    *,
    required: Sequence[Owned] = (),
    replaced_fee: int | None = None,
    locktime: int = 0,
) -> Plan:
    """A payment of `payments` at `fee_rate`, with what is left over to the script `change`.

    Args:
        coins: P2WPKH, spendable now, none of them in `required`.
        fee_rate: smallest units per virtual byte.
        required: coins that it spends whatever else it does: those of a transaction it replaces.
        replaced_fee: of the transaction that this one replaces, with all that build on it; nodes
            ask for more than it, by their least rate for its own size (BIP 125, rule 4).

    Raises:
        Refused: "not-enough", "dust", "value-out-of-range", "too-many-coins", "fee-rate".
    """
    if not 1 <= fee_rate <= FEE_RATE_MAX:
        raise Refused("fee-rate", f"{fee_rate} per byte came; 1 to {FEE_RATE_MAX}")
    for payment in payments:
        if not 0 < payment.value <= MONEY_MAX:
            raise Refused("value-out-of-range", f"{payment.value} came; 1 to {MONEY_MAX}")
        if payment.value < DUST:
            raise Refused("dust", f"{payment.value} came; nodes pass on outputs of {DUST} and more")
    rate = _Rate(fee_rate, replaced_fee, payments)
    chosen = _without_change(coins, required, rate) or _largest_first(coins, required, rate)
    return _plan(chosen, payments, change, rate, locktime)


def sweep(coins: Sequence[Owned], to: bytes, fee_rate: int, *, locktime: int = 0) -> Plan:
    """Everything to one script.  Raises Refused: as `build`."""
    if len(coins) > COINS_MAX:
        raise Refused("too-many-coins", f"{len(coins)} coins; one payment spends {COINS_MAX}")
    rate = _Rate(fee_rate, None, [TxOut(value=0, script=to)])
    value = sum(coin.output.value for coin in coins) - rate.fee(len(coins))
    if value < DUST:
        raise Refused("not-enough", "what is here does not pay its own fee")
    return _plan(tuple(coins), [TxOut(value=value, script=to)], b"", rate, locktime)


class _Rate:
    """What a payment needs, as a function of how many coins it spends."""

    def __init__(self, fee_rate: int, replaced_fee: int | None, payments: Sequence[TxOut]) -> None:
        self._per_byte, self._replaced_fee = fee_rate, replaced_fee
        empty = Transaction(version=2, inputs=(), outputs=tuple(payments), locktime=0)
        self._base = weight(empty) + 2 + 8  # marker, flag, and counts in their longer form
        self.value = sum(payment.value for payment in payments)

    def fee(self, count: int, *, change: bool = False) -> int:
        """Of a payment that spends `count` coins."""
        heavy = self._base + count * INPUT_WEIGHT + change * CHANGE_WEIGHT
        fee = -(-heavy * self._per_byte // 4)
        if self._replaced_fee is None:
            return fee
        return max(fee, self._replaced_fee + -(-heavy * FEE_RATE_MIN // 1000) + 1)

    def needs(self, count: int, *, change: bool = False) -> int:
        """What the coins must hold together."""
        return self.value + self.fee(count, change=change) + change * DUST

    @property
    def waste_max(self) -> int:
        """Leaving this much to the fee is cheaper than making change and spending it later."""
        return -(-(CHANGE_WEIGHT + INPUT_WEIGHT) * self._per_byte // 4)


def _without_change(
    coins: Sequence[Owned], required: Sequence[Owned], rate: _Rate
) -> tuple[Owned, ...] | None:
    """Coins that hold what is needed and hardly more; None: none were found in TRIES_MAX tries."""
    ordered = _ordered(coins)
    rest = [0] * (len(ordered) + 1)
    for at in range(len(ordered) - 1, -1, -1):
        rest[at] = rest[at + 1] + ordered[at].output.value
    tries = 0
    stack: list[tuple[int, int, tuple[int, ...]]] = [
        (0, sum(coin.output.value for coin in required), ())
    ]
    while stack and tries < TRIES_MAX:
        tries += 1
        at, held, taken = stack.pop()
        count = len(required) + len(taken)
        needed = rate.needs(count)
        if count and needed <= held <= needed + rate.waste_max:
            return (*required, *(ordered[place] for place in taken))
        if at == len(ordered) or held > needed + rate.waste_max or held + rest[at] < needed:
            continue
        stack.append((at + 1, held, taken))
        if count < COINS_MAX:
            stack.append((at + 1, held + ordered[at].output.value, (*taken, at)))
    return None


def _largest_first(
    coins: Sequence[Owned], required: Sequence[Owned], rate: _Rate
) -> tuple[Owned, ...]:
    chosen, held = list(required), sum(coin.output.value for coin in required)
    for coin in [None, *_ordered(coins)]:
        if coin is not None:
            chosen.append(coin)
            held += coin.output.value
        if len(chosen) > COINS_MAX:
            raise Refused("too-many-coins", f"one payment spends at most {COINS_MAX} coins")
        if chosen and held >= rate.needs(len(chosen), change=True):
            return tuple(chosen)
    if chosen and held >= rate.needs(len(chosen)):
        return tuple(chosen)  # what is left over is dust, and goes to the fee
    fee = rate.fee(len(chosen))
    raise Refused("not-enough", f"{held} can be spent; {rate.value} and a fee of {fee} are needed")


def _ordered(coins: Sequence[Owned]) -> list[Owned]:
    return sorted(coins, key=lambda coin: (-coin.output.value, coin.outpoint))


def _plan(
    chosen: Sequence[Owned],
    payments: Sequence[TxOut],
    change: bytes,
    rate: _Rate,
    locktime: int,
) -> Plan:
    held = sum(coin.output.value for coin in chosen)
    paid = sum(payment.value for payment in payments)
    back = held - paid - rate.fee(len(chosen), change=True)
    outputs, at = list(payments), None
    if change and back >= DUST and held - paid - rate.fee(len(chosen)) > rate.waste_max:
        at = len(outputs)
        outputs.append(TxOut(value=back, script=change))
    inputs = tuple(
        TxIn(previous=coin.outpoint[0], index=coin.outpoint[1], script=b"", sequence=REPLACEABLE)
        for coin in chosen
    )
    made = Transaction(version=2, inputs=inputs, outputs=tuple(outputs), locktime=locktime)
    fee = held - sum(output.value for output in outputs)
    return Plan(transaction=made, chosen=tuple(chosen), fee=fee, change=at)
