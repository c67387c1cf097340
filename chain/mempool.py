"""Transactions that wait for a block: which are taken, which make room, which go first.

Source: Bitcoin Core, policy/policy.h, validation.cpp (`MemPoolAccept`), node/miner.cpp; BIP 125's
idea of replacement, without its signalling (as Core since 28).
Pure.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bft.errors import Refused
from chain.bitcoin.flags import POLICY
from chain.bitcoin.ledger import (
    SIGNATURE_COST_MAX,
    SIGNED_BYTES_MAX,
    WEIGHT_MAX,
    Coin,
    Coins,
    Outpoint,
    check_scripts,
    check_transaction,
    cost_of_signatures,
    inputs_of,
    is_final,
    median_time,
    signed_bytes,
    weight,
)
from chain.bitcoin.script import is_key_hash, is_script_hash, is_unspendable, witness_program
from chain.records.peer_message import TRANSACTION_WEIGHT_MAX
from chain.records.template import TEMPLATE_WEIGHT_MAX
from chain.records.transaction import Transaction

FEE_RATE_MIN = 250
"""Smallest unit per 1000 weight: 1 per virtual byte."""
TRANSACTION_SIGNATURE_COST_MAX = 16_000
SIGNED_BYTES_PER_WEIGHT = SIGNED_BYTES_MAX // WEIGHT_MAX
"""So no choice of what waits can exceed a block's limit."""
POOL_WEIGHT_MAX = 20_000_000
_WEIGHT_MIN = 4 * 60  # no transaction is lighter
ENTRIES_MAX = POOL_WEIGHT_MAX // _WEIGHT_MIN + 1
ANCESTORS_MAX = 25  # a transaction and everything unconfirmed that it builds on
REPLACED_MAX = 100
DATA_BYTES_MAX = 83  # of one OP_RETURN output
VERSIONS = (1, 2)
VERIFIED_MAX = 100_000  # transactions whose scripts are not run again


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One waiting transaction."""

    transaction: Transaction
    txid: bytes
    fee: int
    weight: int
    signature_cost: int  # BIP 141's unit
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
        self._children: dict[bytes, set[bytes]] = {}  # of those that have some
        self._worst: list[tuple[int, int, bytes]] = []  # heap; some have left already
        self._verified: dict[bytes, None] = {}  # oldest first
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

    def is_verified(self, transaction: Transaction) -> bool:
        """Whether its scripts were run here, in a block's sense, and let it spend what it names.

        That depends on nothing but its bytes: the ids of what it spends name those outputs.
        """
        return transaction.wtxid in self._verified

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
        entry, evicted = self._consider(transaction, coins)
        for gone in evicted:
            self._remove(gone)
        self._insert(entry)
        return (*evicted, *self._make_room(entry))

    def test(self, transaction: Transaction, coins: Coins) -> Entry:
        """What would wait if it was taken.  Raises Refused, as `add`; nothing changes."""
        return self._consider(transaction, coins)[0]

    def _consider(self, transaction: Transaction, coins: Coins) -> tuple[Entry, tuple[bytes, ...]]:
        txid = transaction.txid
        if txid in self._entries:
            raise Refused("known", f"{txid[::-1].hex()} waits already")
        entry, spent = self._judge(transaction, txid, coins)
        evicted = self._conflicts(entry)
        self._check_replacement(entry, evicted)
        self._check_ancestors(entry)
        self._check_room(entry)
        self._check_scripts(transaction, spent)  # last: nothing else costs as much
        return entry, evicted

    def ancestors(self, entry: Entry) -> tuple[Entry, ...]:
        """What waits and it builds on."""
        return tuple(self._entries[txid] for txid in self._ancestors(entry))

    def descendants(self, entry: Entry) -> tuple[Entry, ...]:
        """What waits and builds on it."""
        found = self._with_descendants([entry.txid])
        return tuple(self._entries[txid] for txid in found if txid != entry.txid)

    def rate_to_beat(self, blocks: int) -> int:
        """Fee per 1000 weight of the best that so many full blocks would leave; 0 if none."""
        room = blocks * TEMPLATE_WEIGHT_MAX
        for entry in sorted(self._entries.values(), key=lambda each: -each.rate):
            room -= entry.weight
            if room < 0:
                return entry.rate + 1
        return 0

    def _judge(
        self, transaction: Transaction, txid: bytes, coins: Coins
    ) -> tuple[Entry, tuple[Coin, ...]]:
        """Everything but its scripts; and the coins that it spends."""
        height = coins.height + 1
        if transaction.is_coinbase:
            raise Refused("not-standard", "a coinbase stands in a block only")
        check_transaction(transaction)
        heavy = weight(transaction)
        _check_form(transaction, heavy)
        if not is_final(transaction, height, median_time(coins, height - 1)):
            raise Refused("not-final", f"locked until {transaction.locktime}")
        spent, fee = inputs_of(transaction, height, _WithPool(coins, self))
        cost = cost_of_signatures(transaction, spent.values())
        if cost > TRANSACTION_SIGNATURE_COST_MAX:
            raise Refused("not-standard", "too many signature operations")
        if signed_bytes(transaction, spent.values()) > SIGNED_BYTES_PER_WEIGHT * heavy:
            raise Refused("not-standard", "too many signature operations for its size")
        if fee * 1000 < FEE_RATE_MIN * heavy:
            raise Refused(
                "fee-too-low", f"a fee of {fee}; at least {-(-FEE_RATE_MIN * heavy // 1000)} needed"
            )
        self._arrived += 1
        entry = Entry(
            transaction=transaction,
            txid=txid,
            fee=fee,
            weight=heavy,
            signature_cost=cost,
            spent=tuple(spent),
            parents=frozenset(place[0] for place in spent if place[0] in self._entries),
            arrived=self._arrived,
        )
        return entry, tuple(spent.values())

    def _check_scripts(self, transaction: Transaction, spent: tuple[Coin, ...]) -> None:
        wtxid = transaction.wtxid
        if wtxid not in self._verified:
            check_scripts(transaction, spent, POLICY)
            self._verified[wtxid] = None
            if len(self._verified) > VERIFIED_MAX:
                del self._verified[next(iter(self._verified))]

    def _conflicts(self, entry: Entry) -> tuple[bytes, ...]:
        """Those that spend the same coins, with what builds on them, as far as it may leave."""
        direct = [self._spenders[place] for place in entry.spent if place in self._spenders]
        return self._with_descendants(direct, enough=REPLACED_MAX)

    def _with_descendants(
        self, roots: Iterable[bytes], enough: int = ENTRIES_MAX
    ) -> tuple[bytes, ...]:
        """All of them; of more than `enough` some, but more than `enough`."""
        found: dict[bytes, None] = {}
        waiting = list(roots)
        while waiting and len(found) <= enough:
            txid = waiting.pop()
            if txid not in found:
                found[txid] = None
                waiting += sorted(self._children.get(txid, ()))
        return tuple(found)

    def _check_replacement(self, entry: Entry, evicted: tuple[bytes, ...]) -> None:
        """It must pay for what leaves, and for its own way through the network."""
        if not evicted:
            return
        if len(evicted) > REPLACED_MAX:
            raise Refused("fee-too-low", f"more than {REPLACED_MAX} that wait would leave for it")
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

    def _check_room(self, entry: Entry) -> None:
        if self._weight + entry.weight > POOL_WEIGHT_MAX and entry.rate <= self._lowest().rate:
            raise Refused("pool-full", f"the pool is full of better ones; it pays {entry.rate}")

    def _insert(self, entry: Entry) -> None:
        self._entries[entry.txid] = entry
        self._weight += entry.weight
        for place in entry.spent:
            self._spenders[place] = entry.txid
        for parent in entry.parents:
            self._children.setdefault(parent, set()).add(entry.txid)
        heapq.heappush(self._worst, (entry.rate, -entry.arrived, entry.txid))

    def _remove(self, txid: bytes) -> None:
        entry = self._entries.pop(txid)
        self._weight -= entry.weight
        for place in entry.spent:
            del self._spenders[place]
        for parent in entry.parents:
            if parent in self._children:
                self._children[parent].discard(txid)
        self._children.pop(txid, None)
        if len(self._worst) > 2 * len(self._entries) + 1_000:
            self._worst = [(e.rate, -e.arrived, e.txid) for e in self._entries.values()]
            heapq.heapify(self._worst)

    def _lowest(self) -> Entry:
        """The one that pays least, of equal ones the last that came; there is one."""
        while True:
            _, arrived, txid = self._worst[0]
            entry = self._entries.get(txid)
            if entry is not None and entry.arrived == -arrived:
                return entry
            heapq.heappop(self._worst)

    def _make_room(self, newest: Entry) -> tuple[bytes, ...]:
        """Those that pay least leave until the rest fits.  Raises Refused: the newest would."""
        gone: tuple[bytes, ...] = ()
        while self._weight > POOL_WEIGHT_MAX:
            leaving = self._with_descendants([self._lowest().txid])
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
        for child in self._children.get(txid, ()):
            entry = self._entries[child]
            self._entries[child] = replace(entry, parents=entry.parents - {txid})
        self._remove(txid)

    def renew(self, coins: Coins, returned: Iterable[Transaction] = ()) -> None:
        """The tip was exchanged: judge everything anew, `returned` (of undone blocks) first."""
        waiting = [*returned, *(entry.transaction for entry in self._entries.values())]
        self._entries, self._spenders, self._weight = {}, {}, 0
        self._children, self._worst = {}, []
        for transaction in waiting:
            try:
                self.add(transaction, coins)
            except Refused:
                continue  # it does not fit any more

    def select(
        self, weight_max: int, signature_cost_max: int = SIGNATURE_COST_MAX
    ) -> tuple[tuple[Transaction, ...], int]:
        """For the next block: packages that pay best first, parents before children; the fees.

        A package is a transaction with those that it builds on, which are not chosen yet.
        """
        chosen: dict[bytes, Entry] = {}
        weight_left, cost_left = weight_max, signature_cost_max
        packages = {txid: self._package(entry, chosen) for txid, entry in self._entries.items()}
        ranked = [(*_package_rank(package), txid) for txid, package in packages.items()]
        heapq.heapify(ranked)
        while ranked and weight_left >= _WEIGHT_MIN:
            *rank, best = heapq.heappop(ranked)
            package = packages[best]
            if best in chosen or tuple(rank) != _package_rank(package):
                continue  # it has another rank since something that it builds on was chosen
            heavy = sum(entry.weight for entry in package)
            cost = sum(entry.signature_cost for entry in package)
            if heavy > weight_left or cost > cost_left:
                continue
            weight_left, cost_left = weight_left - heavy, cost_left - cost
            chosen |= {entry.txid: entry for entry in package}
            for txid in self._with_descendants(entry.txid for entry in package):
                if txid not in chosen:
                    packages[txid] = self._package(self._entries[txid], chosen)
                    heapq.heappush(ranked, (*_package_rank(packages[txid]), txid))
        return (
            tuple(entry.transaction for entry in chosen.values()),
            sum(entry.fee for entry in chosen.values()),
        )

    def _package(self, entry: Entry, chosen: dict[bytes, Entry]) -> tuple[Entry, ...]:
        members = [self._entries[txid] for txid in self._ancestors(entry) if txid not in chosen]
        return tuple(sorted((*members, entry), key=lambda each: each.arrived))


def _package_rank(package: tuple[Entry, ...]) -> tuple[int, int]:
    """Smaller is better: the rate of all of it, then the one that came first."""
    rate = sum(e.fee for e in package) * 1000 // sum(e.weight for e in package)
    return -rate, package[-1].arrived


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
