"""Transactions that wait for a block: which are taken, which make room, which go first.

Source: Bitcoin Core, policy/policy.h, validation.cpp (`MemPoolAccept`), node/miner.cpp; BIP 125's
idea of replacement, without its signalling (as Core since 28).
Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bft.errors import Refused
from chain.bitcoin.flags import POLICY
from chain.bitcoin.ledger import (
    Coin,
    Coins,
    Outpoint,
    check_scripts,
    check_transaction,
    cost_of_signatures,
    inputs_of,
    is_final,
    median_time,
    weight,
)
from chain.bitcoin.script import is_key_hash, is_script_hash, is_unspendable, witness_program
from chain.records.peer_message import TRANSACTION_WEIGHT_MAX
from chain.records.transaction import Transaction

FEE_RATE_MIN = 250
"""Smallest unit per 1000 weight: 1 per virtual byte."""
TRANSACTION_SIGNATURE_COST_MAX = 16_000
POOL_WEIGHT_MAX = 20_000_000
ANCESTORS_MAX = 25  # a transaction and everything unconfirmed that it builds on
REPLACED_MAX = 100
DATA_BYTES_MAX = 83  # of one OP_RETURN output
VERSIONS = (1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One waiting transaction."""

    transaction: Transaction
    txid: bytes
    fee: int
    weight: int
    spent: tuple[Outpoint, ...]
    parents: frozenset[bytes]  # in the pool
    arrived: int  # a count, not a time

    @property
    def rate(self) -> int:
        """Fee per 1000 weight."""
        return self.fee * 1000 // self.weight


class Mempool:
    """Waiting transactions, each valid after the tip and those it builds on."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._spenders: dict[Outpoint, bytes] = {}
        self._weight = self._arrived = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def weight(self) -> int:
        """Of all that wait."""
        return self._weight

    def get(self, txid: bytes) -> Entry | None:
        """A waiting transaction."""
        return self._entries.get(txid)

    def is_spent(self, outpoint: Outpoint) -> bool:
        """Whether something that waits spends it."""
        return outpoint in self._spenders

    def entries(self) -> tuple[Entry, ...]:
        """In order of arrival."""
        return tuple(self._entries.values())

    def add(self, transaction: Transaction, coins: Coins) -> tuple[bytes, ...]:
        """Take a transaction that fits on `coins` (those of the tip) and on what waits.

        Returns:
            Ids of those that had to leave for it.

        Raises:
            Refused: "known", "not-standard", "fee-too-low", "too-many-ancestors", "pool-full",
                "not-final", or why it is not valid (chain/bitcoin/ledger.py).
        """
        txid = transaction.txid
        if txid in self._entries:
            raise Refused("known", f"{txid[::-1].hex()} waits already")
        entry = self._judge(transaction, txid, coins)
        evicted = self._conflicts(entry)
        self._check_replacement(entry, evicted)
        self._check_ancestors(entry)
        for gone in evicted:
            self._remove(gone)
        self._insert(entry)
        return (*evicted, *self._make_room(entry))

    def _judge(self, transaction: Transaction, txid: bytes, coins: Coins) -> Entry:
        height = coins.height + 1
        if transaction.is_coinbase:
            raise Refused("not-standard", "a coinbase stands in a block only")
        check_transaction(transaction)
        heavy = weight(transaction)
        _check_form(transaction, heavy)
        if not is_final(transaction, height, median_time(coins, height - 1)):
            raise Refused("not-final", f"locked until {transaction.locktime}")
        spent, fee = inputs_of(transaction, height, _WithPool(coins, self))
        if cost_of_signatures(transaction, spent.values()) > TRANSACTION_SIGNATURE_COST_MAX:
            raise Refused("not-standard", "too many signature operations")
        if fee * 1000 < FEE_RATE_MIN * heavy:
            raise Refused(
                "fee-too-low", f"a fee of {fee}; at least {-(-FEE_RATE_MIN * heavy // 1000)} needed"
            )
        check_scripts(transaction, spent.values(), POLICY)  # last: nothing else costs as much
        self._arrived += 1
        return Entry(
            transaction=transaction,
            txid=txid,
            fee=fee,
            weight=heavy,
            spent=tuple(spent),
            parents=frozenset(place[0] for place in spent if place[0] in self._entries),
            arrived=self._arrived,
        )

    def _conflicts(self, entry: Entry) -> tuple[bytes, ...]:
        """Those that spend the same coins, with everything that builds on them."""
        direct = [self._spenders[place] for place in entry.spent if place in self._spenders]
        return self._with_descendants(direct)

    def _with_descendants(self, roots: Iterable[bytes]) -> tuple[bytes, ...]:
        found: dict[bytes, None] = dict.fromkeys(roots)
        for txid, entry in self._entries.items():  # children arrive after their parents
            if not entry.parents.isdisjoint(found):
                found[txid] = None
        return tuple(found)

    def _check_replacement(self, entry: Entry, evicted: tuple[bytes, ...]) -> None:
        """It must pay for what leaves, and for its own way through the network."""
        if not evicted:
            return
        if len(evicted) > REPLACED_MAX:
            raise Refused("fee-too-low", f"{len(evicted)} would leave; at most {REPLACED_MAX} may")
        if not entry.parents.isdisjoint(evicted):
            raise Refused("missing-coin", "it builds on what it would replace")
        gone = [self._entries[txid] for txid in evicted]
        needed = sum(each.fee for each in gone) + FEE_RATE_MIN * entry.weight // 1000
        direct = [self._entries[self._spenders[p]] for p in entry.spent if p in self._spenders]
        if entry.fee < needed or any(entry.rate <= each.rate for each in direct):
            raise Refused("fee-too-low", f"a fee of {entry.fee}; replacing needs {needed} and more")

    def _ancestors(self, entry: Entry) -> dict[bytes, None]:
        """Ids of everything in the pool that `entry` builds on."""
        found: dict[bytes, None] = {}
        waiting = sorted(entry.parents)
        while waiting and len(found) <= ANCESTORS_MAX:
            txid = waiting.pop()
            if txid not in found:
                found[txid] = None
                waiting += sorted(self._entries[txid].parents)
        return found

    def _check_ancestors(self, entry: Entry) -> None:
        if len(self._ancestors(entry)) >= ANCESTORS_MAX:
            raise Refused(
                "too-many-ancestors", f"it builds on {ANCESTORS_MAX} unconfirmed ones or more"
            )

    def _insert(self, entry: Entry) -> None:
        self._entries[entry.txid] = entry
        self._weight += entry.weight
        for place in entry.spent:
            self._spenders[place] = entry.txid

    def _remove(self, txid: bytes) -> None:
        entry = self._entries.pop(txid)
        self._weight -= entry.weight
        for place in entry.spent:
            del self._spenders[place]

    def _make_room(self, newest: Entry) -> tuple[bytes, ...]:
        """Those that pay least leave until the rest fits.  Raises Refused: the newest would."""
        gone: tuple[bytes, ...] = ()
        while self._weight > POOL_WEIGHT_MAX:
            worst = min(self._entries.values(), key=lambda entry: (entry.rate, -entry.arrived))
            leaving = self._with_descendants([worst.txid])
            for txid in leaving:
                self._remove(txid)
            gone += leaving
        if newest.txid in gone:
            raise Refused("pool-full", f"the pool is full of better ones; it pays {newest.rate}")
        return gone

    def connect(self, transactions: Sequence[Transaction]) -> None:
        """A block became the tip: what it holds, and what it contradicts, waits no longer."""
        for transaction in transactions:
            txid = transaction.txid
            if txid in self._entries:
                self._confirm(txid)
            places = [(entry.previous, entry.index) for entry in transaction.inputs]
            rivals = [self._spenders[place] for place in places if place in self._spenders]
            for gone in self._with_descendants(rivals):
                self._remove(gone)

    def _confirm(self, txid: bytes) -> None:
        self._remove(txid)
        for name, entry in list(self._entries.items()):
            if txid in entry.parents:
                self._entries[name] = replace(entry, parents=entry.parents - {txid})

    def renew(self, coins: Coins, returned: Iterable[Transaction] = ()) -> None:
        """The tip was exchanged: judge everything anew, `returned` (of undone blocks) first."""
        waiting = [*returned, *(entry.transaction for entry in self._entries.values())]
        self._entries, self._spenders, self._weight = {}, {}, 0
        for transaction in waiting:
            try:
                self.add(transaction, coins)
            except Refused:
                continue  # it does not fit any more

    def select(self, weight_max: int) -> tuple[tuple[Transaction, ...], int]:
        """For the next block: packages that pay best first, parents before children; the fees.

        A package is a transaction with those that it builds on, which are not chosen yet.
        """
        chosen: dict[bytes, Entry] = {}
        left = weight_max
        packages = {txid: self._package(entry, chosen) for txid, entry in self._entries.items()}
        while packages:
            best = max(packages, key=lambda txid: _package_rank(packages[txid]))
            package = packages.pop(best)
            size = sum(entry.weight for entry in package)
            if size > left:
                continue
            left -= size
            for entry in package:
                chosen[entry.txid] = entry
                packages.pop(entry.txid, None)
            for txid, members in packages.items():
                if any(entry.txid in chosen for entry in members):
                    packages[txid] = self._package(self._entries[txid], chosen)
        return (
            tuple(entry.transaction for entry in chosen.values()),
            sum(entry.fee for entry in chosen.values()),
        )

    def _package(self, entry: Entry, chosen: dict[bytes, Entry]) -> tuple[Entry, ...]:
        members = [self._entries[txid] for txid in self._ancestors(entry) if txid not in chosen]
        return tuple(sorted((*members, entry), key=lambda each: each.arrived))


def _package_rank(package: tuple[Entry, ...]) -> tuple[int, int]:
    """Greater is better: the rate of all of it, then the one that came first."""
    rate = sum(e.fee for e in package) * 1000 // sum(e.weight for e in package)
    return rate, -package[-1].arrived


class _WithPool:
    """The tip's coins and those that waiting transactions make."""

    def __init__(self, below: Coins, pool: Mempool) -> None:
        self._below, self._pool, self.height = below, pool, below.height

    def coin(self, outpoint: Outpoint) -> Coin | None:
        found = self._pool.get(outpoint[0])
        if found is None:
            return self._below.coin(outpoint)
        outputs = found.transaction.outputs
        if outpoint[1] >= len(outputs):
            return None
        return Coin(outputs[outpoint[1]], self.height + 1, False)

    def time(self, height: int) -> int:
        return self._below.time(height)


def _check_form(transaction: Transaction, heavy: int) -> None:
    """Forms that wallets make; others are valid in blocks but not passed on."""
    if transaction.version not in VERSIONS:
        raise Refused("not-standard", f"transaction version {transaction.version}")
    if heavy > TRANSACTION_WEIGHT_MAX:
        raise Refused("not-standard", f"weight {heavy}; at most {TRANSACTION_WEIGHT_MAX}")
    data = 0
    for output in transaction.outputs:
        script = output.script
        if is_unspendable(script):
            data += 1
            if len(script) > DATA_BYTES_MAX or data > 1:
                raise Refused("not-standard", "one output with data, of 83 bytes, is passed on")
        elif not (is_key_hash(script) or is_script_hash(script) or witness_program(script)):
            raise Refused(
                "not-standard", f"an output that is none of the templates: {script!r:.40}"
            )
