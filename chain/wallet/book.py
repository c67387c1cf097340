"""What a wallet owns and what happened to it: a fold over final blocks.

Final blocks never go away, so nothing is ever taken back.  Addresses are watched up to GAP beyond
the last one that was used; who gives out more than that without a payment would not see the rest.
Source: BIP 44, "Address gap limit".
Pure.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import COINBASE_MATURITY, Outpoint
from chain.records.transaction import Transaction, TxOut

GAP = 20
RECEIVE, CHANGE, KEY = 0, 1, 2  # branches; KEY: single keys, such as a miner's identity
PENDING_MAX = 500

ScriptAt = Callable[[int, int], bytes | None]
"""(branch, number) -> script; None: there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Owned:
    """A final, unspent coin of this wallet."""

    outpoint: Outpoint
    output: TxOut
    branch: int
    number: int
    height: int
    coinbase: bool

    def is_mature(self, height: int) -> bool:
        """Whether a block after `height` may spend it."""
        return not self.coinbase or height + 1 - self.height >= COINBASE_MATURITY


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One transaction of the past that gave or took."""

    txid: bytes
    height: int
    time: int  # Unix seconds, of the block
    received: int  # smallest unit
    spent: int
    fee: int | None  # None where others paid as well
    coinbase: bool


@dataclass(kw_only=True)
class Book:
    """Mutable: `apply` goes forward by one block."""

    script_at: ScriptAt
    height: int = 0
    block: bytes = b""  # hash of the newest block in it; empty: none
    used: list[int] = field(default_factory=lambda: [0, 0])  # per branch, one beyond the last used
    given: list[int] = field(default_factory=lambda: [0, 0])  # one beyond the last given out
    coins: dict[Outpoint, Owned] = field(default_factory=dict)
    history: list[Entry] = field(default_factory=list)
    pending: dict[bytes, Transaction] = field(default_factory=dict)  # sent, not final; by id

    def __post_init__(self) -> None:
        self._watched: dict[bytes, tuple[int, int]] = {}
        self._reach = [0, 0, 0]
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Watch all addresses that may be paid."""
        ends = [max(used, given) + GAP for used, given in zip(self.used, self.given, strict=True)]
        for branch in (RECEIVE, CHANGE):
            for number in range(self._reach[branch], ends[branch]):
                script = self.script_at(branch, number)
                if script is not None:
                    self._watched[script] = branch, number
            self._reach[branch] = max(self._reach[branch], ends[branch])
        while (script := self.script_at(KEY, self._reach[KEY])) is not None:
            self._watched[script] = KEY, self._reach[KEY]
            self._reach[KEY] += 1

    def place_of(self, script: bytes) -> tuple[int, int] | None:
        """(branch, number) of a script; None: it is not this wallet's."""
        return self._watched.get(script)

    def apply(
        self,
        height: int,
        block: bytes,
        previous: bytes,
        time: int,
        transactions: Sequence[Transaction],
    ) -> None:
        """The next final block.

        Raises:
            DecodeError: it is not the next one.
        """
        if self.block and (height, previous) != (self.height + 1, self.block):
            raise DecodeError(
                f"block {height} came, on {previous[::-1].hex()[:16]}; the wallet is at "
                f"{self.height} {self.block[::-1].hex()[:16]}: another chain?"
            )
        for transaction in transactions:
            self._apply_one(transaction, height, time)
        self.height, self.block = height, block

    def _apply_one(self, transaction: Transaction, height: int, time: int) -> None:
        places = [(entry.previous, entry.index) for entry in transaction.inputs]
        gone = [self.coins.pop(place) for place in places if place in self.coins]
        txid, received = transaction.txid, 0
        for at, output in enumerate(transaction.outputs):
            place = self._watched.get(output.script)
            if place is None:
                continue
            self._use(*place)
            received += output.value
            self.coins[txid, at] = Owned(
                outpoint=(txid, at),
                output=output,
                branch=place[0],
                number=place[1],
                height=height,
                coinbase=transaction.is_coinbase,
            )
        if not gone and not received:
            return
        spent = sum(coin.output.value for coin in gone)
        paid = sum(output.value for output in transaction.outputs)
        self.history.append(
            Entry(
                txid=txid,
                height=height,
                time=time,
                received=received,
                spent=spent,
                fee=spent - paid if len(gone) == len(places) else None,
                coinbase=transaction.is_coinbase,
            )
        )
        self._settle(set(places))

    def _use(self, branch: int, number: int) -> None:
        if branch != KEY and number >= self.used[branch]:
            self.used[branch] = number + 1
            self._look_ahead()

    def _settle(self, spent: set[Outpoint]) -> None:
        """Forget what was sent and is now final, or can never be."""
        for txid, sent in [*self.pending.items()]:
            if spent & {(entry.previous, entry.index) for entry in sent.inputs}:
                del self.pending[txid]

    def give(self, branch: int) -> int:
        """The number of an address that nobody was given yet.

        Raises:
            Refused: "gap": GAP addresses wait for their first payment already.
        """
        number = max(self.used[branch], self.given[branch])
        if number - self.used[branch] >= GAP:
            raise Refused("gap", f"{GAP} addresses wait for a payment; use one of them")
        self.given[branch] = number + 1
        self._look_ahead()
        return number

    def next_change(self) -> int:
        """The number of a change address that nothing was sent to, while there are such."""
        number = max(self.used[CHANGE], self.given[CHANGE])
        return number if number - self.used[CHANGE] < GAP else self.used[CHANGE]

    def send(self, transaction: Transaction) -> None:
        """Remember a transaction that spends what is here, and what it replaces no more.

        Raises:
            Refused: "too-many-pending".
        """
        self._settle({(entry.previous, entry.index) for entry in transaction.inputs})
        if len(self.pending) >= PENDING_MAX:
            raise Refused("too-many-pending", f"{PENDING_MAX} transactions wait for a block")
        self.pending[transaction.txid] = transaction
        for output in transaction.outputs:
            branch, number = self._watched.get(output.script, (KEY, 0))
            if branch == CHANGE:
                self.given[CHANGE] = max(self.given[CHANGE], number + 1)
        self._look_ahead()

    def spendable(self) -> list[Owned]:
        """Mature coins that nothing pending spends."""
        busy = {
            (entry.previous, entry.index) for sent in self.pending.values() for entry in sent.inputs
        }
        return [
            coin
            for place, coin in self.coins.items()
            if place not in busy and coin.is_mature(self.height)
        ]

    def balance(self) -> dict[str, int]:
        """Smallest units: what can be spent, what is too young, what is on its way back."""
        free = sum(coin.output.value for coin in self.spendable())
        young = [coin for coin in self.coins.values() if not coin.is_mature(self.height)]
        returning = sum(
            output.value
            for sent in self.pending.values()
            for output in sent.outputs
            if output.script in self._watched
        )
        immature = sum(coin.output.value for coin in young)
        return {"spendable": free, "immature": immature, "returning": returning}


def total(coins: Iterable[Owned]) -> int:
    """Smallest units."""
    return sum(coin.output.value for coin in coins)
