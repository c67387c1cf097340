"""Who owns what: coins, what makes a transaction valid on them, what a block does to them.

Source: Bitcoin Core, consensus/tx_check.cpp, consensus/tx_verify.cpp, validation.cpp
(`ConnectBlock`); BIP 30, 54 (its limit of legacy signature operations), 68, 113, 141.
Pure: coins and past times come through `Coins`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bft.errors import Refused
from chain.bitcoin.flags import CONSENSUS, Flag
from chain.bitcoin.script import count_signature_checks, is_unspendable
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.verify import (
    LOCK_TIME_THRESHOLD,
    SEQUENCE_DISABLED,
    SEQUENCE_IS_TIME,
    SEQUENCE_MASK,
    legacy_checks,
    signature_cost,
    verify_input,
)
from chain.records.serialization import compact_size
from chain.records.transaction import FINAL_SEQUENCE, NULL_ID, NULL_INDEX, Transaction, TxOut
from chain.voiding import voided

MONEY_MAX = 21_000_000 * 100_000_000
"""No output and no sum is above it."""
WEIGHT_MAX = 4_000_000
SIGNATURE_COST_MAX = 20_000
"""Of a block, BIP 141's unit.  A quarter of Bitcoin's 80 000, as our blocks have a quarter of the
bytes: so long a block may keep a core busy."""
SIGNED_BYTES_MAX = 2**30
"""What a block's legacy signature operations may hash: operations times the transaction's bytes."""
COINBASE_MATURITY = 100
"""Blocks until a reward can be spent; evidence against its winner can void it meanwhile."""
LEGACY_CHECKS_MAX = 2_500
"""Signature operations that one transaction's inputs may run outside witness scripts (BIP 54): each
may hash the whole transaction."""
MEDIAN_SPAN = 11
HEADER_BYTES = 80
_SEQUENCE_TIME_SHIFT = 9  # 512 s

Outpoint = tuple[bytes, int]
"""(transaction id, index of an output)."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that nobody has spent."""

    output: TxOut
    height: int  # of the block that made it
    coinbase: bool


class Coins(Protocol):
    """The coins and times as they are after some block."""

    @property
    def height(self) -> int:
        """Of that block."""

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """None where there is none, or none any more."""

    def time(self, height: int) -> int:
        """Of the block at `height`, 0 to that block's; Unix seconds."""


def median_time(coins: Coins, height: int) -> int:
    """Median of the times of the block at `height` and the ten before it (BIP 113)."""
    span = sorted(coins.time(at) for at in range(max(0, height + 1 - MEDIAN_SPAN), height + 1))
    return span[len(span) // 2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Connected:
    """What a block, or a single transaction, does to the coins."""

    created: dict[Outpoint, Coin] = field(default_factory=dict)
    spent: dict[Outpoint, Coin] = field(default_factory=dict)  # that were there before
    fees: int = 0


class Overlay:
    """Coins with changes on top that are not in them yet."""

    def __init__(self, below: Coins) -> None:
        self._below, self.height = below, below.height
        self.created: dict[Outpoint, Coin] = {}
        self.spent: dict[Outpoint, Coin] = {}

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """As `Coins.coin`."""
        if outpoint in self.created:
            return self.created[outpoint]
        return None if outpoint in self.spent else self._below.coin(outpoint)

    def time(self, height: int) -> int:
        """As `Coins.time`."""
        return self._below.time(height)

    def spend(self, outpoint: Outpoint, coin: Coin) -> None:
        """It is there no more."""
        if self.created.pop(outpoint, None) is None:
            self.spent[outpoint] = coin

    def create(self, transaction: Transaction, height: int) -> None:
        """Its outputs are there from now on, but for those that nobody can spend.

        Raises:
            Refused: "coin-exists": unspent outputs of an equal id would be lost (BIP 30); or
                "bad-evidence": a coinbase carries some that voids no reward.
        """
        txid, coinbase = transaction.txid, transaction.is_coinbase
        for index, output in enumerate(transaction.outputs):
            if is_unspendable(output.script):
                continue
            if self.coin((txid, index)) is not None:
                raise Refused("coin-exists", f"{txid[::-1].hex()} has unspent outputs already")
            self.created[txid, index] = Coin(output, height, coinbase)
        if coinbase:
            self._void(transaction, height)

    def _void(self, coinbase: Transaction, height: int) -> None:
        """Takes the reward that the coinbase's evidence is against."""
        found = voided(coinbase)
        if found is None:
            return
        for txid in found.coinbases:
            coin = self.coin((txid, 0))
            if coin is None or not coin.coinbase or coin.height != found.height:
                continue
            if found.height < height < found.height + COINBASE_MATURITY:
                self.spend((txid, 0), coin)
                return
        raise Refused("bad-evidence", "no reward of this chain that is still immature is meant")


def weight(transaction: Transaction) -> int:
    """BIP 141's measure of size: three times without witness, once with."""
    return 3 * len(transaction.encode(witness=False)) + len(transaction.encode())


def check_transaction(transaction: Transaction) -> None:
    """What a transaction must keep by itself.

    Raises:
        Refused: "tx-too-heavy", "value-out-of-range", "input-twice", "no-input" or "coinbase-size".
    """
    if 4 * len(transaction.encode(witness=False)) > WEIGHT_MAX:
        raise Refused("tx-too-heavy", f"a transaction weighs at most {WEIGHT_MAX}")
    total = 0
    for output in transaction.outputs:
        total += output.value
        if total > MONEY_MAX:
            raise Refused("value-out-of-range", f"outputs of {total}; at most {MONEY_MAX} can be")
    places = {(entry.previous, entry.index) for entry in transaction.inputs}
    if len(places) != len(transaction.inputs):
        raise Refused("input-twice", "a transaction spends one coin twice")
    if transaction.is_coinbase:
        if not 2 <= len(transaction.inputs[0].script) <= 100:
            raise Refused("coinbase-size", "a coinbase's script has 2 to 100 bytes")
    elif (NULL_ID, NULL_INDEX) in places:
        raise Refused("no-input", "an input that names no coin")


def is_final(transaction: Transaction, height: int, parent_time: int) -> bool:
    """Whether its lock time is over at `height`; `parent_time`: the parent's median time."""
    limit = height if transaction.locktime < LOCK_TIME_THRESHOLD else parent_time
    if transaction.locktime < limit or not transaction.locktime:
        return True
    return all(entry.sequence == FINAL_SEQUENCE for entry in transaction.inputs)


def inputs_of(
    transaction: Transaction, height: int, coins: Coins
) -> tuple[dict[Outpoint, Coin], int]:
    """The coins that a transaction spends in a block at `height`, and the fee it leaves.

    Raises:
        Refused: "missing-coin", "immature", "sequence-locked" or "spends-too-much".
    """
    spent: dict[Outpoint, Coin] = {}
    for entry in transaction.inputs:
        outpoint = (entry.previous, entry.index)
        coin = coins.coin(outpoint)
        if coin is None:
            raise Refused(
                "missing-coin", f"{entry.previous[::-1].hex()}:{entry.index} is spent or unknown"
            )
        if coin.coinbase and height - coin.height < COINBASE_MATURITY:
            raise Refused(
                "immature",
                f"a reward of height {coin.height} can be spent from {COINBASE_MATURITY} later on",
            )
        spent[outpoint] = coin
    _check_sequence_locks(transaction, list(spent.values()), height, coins)
    total = sum(coin.output.value for coin in spent.values())
    paid = sum(output.value for output in transaction.outputs)
    if paid > total or total > MONEY_MAX:
        raise Refused("spends-too-much", f"outputs of {paid} from inputs of {total}")
    return spent, total - paid


def count_legacy_checks(transaction: Transaction, spent: Iterable[Coin]) -> int:
    """Signature operations that its inputs may run outside witness scripts (BIP 54's count).

    Raises:
        Refused: "too-many-signatures": more than LEGACY_CHECKS_MAX.
    """
    checks = sum(
        legacy_checks(entry.script, coin.output.script)
        for entry, coin in zip(transaction.inputs, spent, strict=True)
    )
    if checks > LEGACY_CHECKS_MAX:
        raise Refused(
            "too-many-signatures",
            f"{checks} legacy operations in a transaction; at most {LEGACY_CHECKS_MAX}",
        )
    return checks


def signed_bytes(transaction: Transaction, spent: Iterable[Coin]) -> int:
    """What its legacy signature operations may hash.  Raises Refused: as `count_legacy_checks`."""
    checks = count_legacy_checks(transaction, spent)
    return checks * len(transaction.encode(witness=False)) if checks else 0


def check_scripts(transaction: Transaction, spent: Iterable[Coin], flags: Flag = CONSENSUS) -> None:
    """Whether the scripts of all inputs let them spend `spent`, in their order.

    Raises:
        Refused: one does not; the codes are those of chain/bitcoin/verify.py.  Or
            "too-many-signatures": more than LEGACY_CHECKS_MAX.
    """
    spent = tuple(spent)
    count_legacy_checks(transaction, spent)
    hasher = SignatureHasher(transaction)
    for index, coin in enumerate(spent):
        verify_input(hasher, index, coin.output, flags)


def _check_sequence_locks(
    transaction: Transaction, spent: Sequence[Coin], height: int, coins: Coins
) -> None:
    """BIP 68: coins must be as old as the inputs say."""
    if transaction.version < 2:
        return
    for entry, coin in zip(transaction.inputs, spent, strict=True):
        if entry.sequence & SEQUENCE_DISABLED:
            continue
        age = entry.sequence & SEQUENCE_MASK
        if entry.sequence & SEQUENCE_IS_TIME:
            begin = median_time(coins, max(coin.height - 1, 0))
            reached = median_time(coins, height - 1) >= begin + (age << _SEQUENCE_TIME_SHIFT)
        else:
            reached = height >= coin.height + age
        if not reached:
            raise Refused("sequence-locked", f"an input must wait longer (sequence {age})")


def cost_of_signatures(transaction: Transaction, spent: Iterable[Coin]) -> int:
    """Signature operations in BIP 141's unit."""
    own = [entry.script for entry in transaction.inputs]
    own += [output.script for output in transaction.outputs]
    cost = 4 * sum(count_signature_checks(script, accurate=False) for script in own)
    if transaction.is_coinbase:
        return cost
    return cost + sum(
        signature_cost(entry.script, entry.witness, coin.output.script)
        for entry, coin in zip(transaction.inputs, spent, strict=True)
    )


class After:
    """Coins and times after one more block, which is known to be valid on `below`."""

    def __init__(self, below: Coins, transactions: Sequence[Transaction], height: int, time: int):
        self._coins = Overlay(below)
        self.height, self._time = height, time
        for transaction in transactions:
            if not transaction.is_coinbase:
                for entry in transaction.inputs:
                    outpoint = (entry.previous, entry.index)
                    coin = self._coins.coin(outpoint)
                    if coin is not None:
                        self._coins.spend(outpoint, coin)
            self._coins.create(transaction, height)

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """As `Coins.coin`."""
        return self._coins.coin(outpoint)

    def time(self, height: int) -> int:
        """As `Coins.time`."""
        return self._time if height == self.height else self._coins.time(height)

    @property
    def changes(self) -> Connected:
        """What that block did."""
        return Connected(created=self._coins.created, spent=self._coins.spent)


def connect(
    transactions: Sequence[Transaction],
    height: int,
    coins: Coins,
    verified: Callable[[Transaction], bool] | None = None,
    run: Callable[[Transaction, tuple[Coin, ...]], None] = check_scripts,
) -> Connected:
    """What a block's transactions, coinbase first, do to the coins that its parent left.

    Args:
        verified: whether a transaction's scripts were run before, under CONSENSUS at the least.
        run: runs them, now or later.

    Raises:
        Refused: "second-coinbase", "not-final", "block-too-heavy", "too-many-signatures", or what
            `check_transaction`, `inputs_of`, `check_scripts` and `Overlay.create` raise.
    """
    overlay, fees, cost, hashed = Overlay(coins), 0, 0, 0
    heavy = 4 * (HEADER_BYTES + len(compact_size(len(transactions))))
    parent_time = median_time(coins, height - 1)
    for at, transaction in enumerate(transactions):
        check_transaction(transaction)
        if transaction.is_coinbase != (at == 0):
            raise Refused("second-coinbase", f"transaction {at} of a block; the first is coinbase")
        if not is_final(transaction, height, parent_time):
            raise Refused("not-final", f"transaction {at} is locked until {transaction.locktime}")
        heavy += weight(transaction)
        if heavy > WEIGHT_MAX:
            raise Refused("block-too-heavy", f"a block weighs at most {WEIGHT_MAX}")
        spent: dict[Outpoint, Coin] = {}
        if at:
            spent, fee = inputs_of(transaction, height, overlay)
            fees += fee
        cost += cost_of_signatures(transaction, spent.values())
        if cost > SIGNATURE_COST_MAX:
            raise Refused("too-many-signatures", f"cost {cost}; at most {SIGNATURE_COST_MAX}")
        coins_in = tuple(spent.values())
        if at:
            hashed += signed_bytes(transaction, coins_in)
        if hashed > SIGNED_BYTES_MAX:
            text = f"{hashed} bytes to hash for signatures; at most {SIGNED_BYTES_MAX}"
            raise Refused("too-many-signatures", text)
        if at and not (verified is not None and verified(transaction)):
            run(transaction, coins_in)
        for outpoint, coin in spent.items():
            overlay.spend(outpoint, coin)
        overlay.create(transaction, height)
    return Connected(created=overlay.created, spent=overlay.spent, fees=fees)
