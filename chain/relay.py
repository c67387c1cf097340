"""How nodes pass transactions on: announced, asked for, judged once, announced further.

Nothing that a peer sends as a transaction costs it the connection unless it is malformed: what is
valid depends on the tip, and honest peers' tips differ.  Its rate is bounded instead.
Source: Bitcoin Core, net_processing.cpp; without orphans: whoever builds on something unconfirmed
sends that first.
Pure.
"""

from collections.abc import Callable

from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import Coins
from chain.bitcoin.verify import claimed_checks
from chain.mempool import Mempool
from chain.peer import Peer
from chain.records.block import Block
from chain.records.peer_message import MSG_TX, MSG_WITNESS_TX
from chain.records.transaction import Transaction, decode_transaction
from chain.tree import TipChanged

TRANSACTION_KINDS = (MSG_TX, MSG_WITNESS_TX)
ASKED_MAX = 100  # transactions asked of one peer and not come
REFUSED_MAX = 5_000  # ids that are not judged again before the tip changes
_SAME_FOR_ANY_WITNESS = frozenset(
    {
        "missing-coin",
        "immature",
        "sequence-locked",
        "spends-too-much",
        "not-final",
        "input-twice",
        "no-input",
        "value-out-of-range",
    }
)
"""Refusals of an id.  For others another witness, which leaves the id as it is, may make up."""


class Relay:
    """The mempool among peers."""

    def __init__(self, coins: Callable[[], Coins]) -> None:
        """`coins`: as the tip leaves them, whenever it is called."""
        self.pool = Mempool()
        self._coins = coins
        self._refused: dict[bytes, None] = {}  # txids and wtxids

    def wanted(self, peer: Peer, txids: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Those of the announced that are to be asked for; they count as asked."""
        fresh = [
            txid
            for txid in dict.fromkeys(txids)
            if self.pool.get(txid) is None
            and txid not in self._refused
            and txid not in peer.transactions
        ]
        for txid in fresh:
            peer.transactions[txid] = None
        while len(peer.transactions) > ASKED_MAX:
            del peer.transactions[next(iter(peer.transactions))]
        return tuple(fresh)

    def take(self, peer: Peer, payload: bytes, now_ms: int) -> bytes | None:
        """The id to announce further, or None.  Raises DecodeError: malformed."""
        if not peer.spend_amount("taken bytes", len(payload), now_ms):
            return None
        transaction = decode_transaction(payload)
        txid = transaction.txid
        peer.transactions.pop(txid, None)
        if txid in self._refused or transaction.wtxid in self._refused:
            return None
        if not peer.spend_amount("signatures", claimed_checks(transaction), now_ms):
            return None
        try:
            self.submit(transaction)
        except Refused as error:
            if error.code != "known":
                by_id = error.code in _SAME_FOR_ANY_WITNESS
                self._remember(txid if by_id else transaction.wtxid)
            return None
        return txid

    def submit(self, transaction: Transaction) -> tuple[bytes, ...]:
        """From our own door.  Returns whom it replaced; raises Refused as `Mempool.add`."""
        return self.pool.add(transaction, self._coins())

    def _remember(self, txid: bytes) -> None:
        self._refused[txid] = None
        while len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]

    def served(
        self, peer: Peer, txids: tuple[bytes, ...], now_ms: int
    ) -> tuple[list[bytes], list[bytes]]:
        """(encoded transactions, ids that are not here or beyond what the peer gets now)."""
        found, missing = [], []
        for txid in txids:
            entry = self.pool.get(txid)
            data = None if entry is None else entry.transaction.encode()
            if data is None or not peer.spend_amount("served bytes", len(data), now_ms):
                missing.append(txid)
            else:
                found.append(data)
        return found, missing

    def tip_changed(self, change: TipChanged, find: Callable[[bytes], Block]) -> None:
        """Another tip: blocks' transactions wait no longer, undone ones wait again."""
        self._refused.clear()
        if change.disconnected:
            undone = [t for block in change.disconnected for t in find(block).transactions[1:]]
            self.pool.renew(self._coins(), undone)
        for block in change.connected:
            self.pool.connect(find(block).transactions)


def decode_submitted(data: bytes) -> Transaction:
    """From our own door.  Raises DecodeError with what was expected."""
    try:
        return decode_transaction(data)
    except DecodeError as error:
        raise DecodeError(f"not one whole Bitcoin transaction: {error}") from None
