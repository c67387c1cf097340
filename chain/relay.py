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
from chain.mempool import Mempool
from chain.peer import Peer
from chain.records.block import Block
from chain.records.peer_message import MSG_TX, MSG_WITNESS_TX
from chain.records.transaction import Transaction, decode_transaction
from chain.tree import TipChanged

TRANSACTION_KINDS = (MSG_TX, MSG_WITNESS_TX)
ASKED_MAX = 100  # transactions asked of one peer and not come
REFUSED_MAX = 5_000  # ids that are not judged again before the tip changes


class Relay:
    """The mempool among peers."""

    def __init__(self, coins: Callable[[], Coins]) -> None:
        """`coins`: as the tip leaves them, whenever it is called."""
        self.pool = Mempool()
        self._coins = coins
        self._refused: dict[bytes, None] = {}

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

    def take(self, peer: Peer, payload: bytes) -> bytes | None:
        """The id to announce further, or None.  Raises DecodeError: malformed."""
        transaction = decode_transaction(payload)
        txid = transaction.txid
        peer.transactions.pop(txid, None)
        if txid in self._refused:
            return None
        try:
            self.submit(transaction)
        except Refused as error:
            if error.code != "known":
                self._remember(txid)
            return None
        return txid

    def submit(self, transaction: Transaction) -> tuple[bytes, ...]:
        """From our own door.  Returns whom it replaced; raises Refused as `Mempool.add`."""
        return self.pool.add(transaction, self._coins())

    def _remember(self, txid: bytes) -> None:
        self._refused[txid] = None
        while len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]

    def served(self, txids: tuple[bytes, ...]) -> tuple[list[bytes], list[bytes]]:
        """(encoded transactions, ids that are not here)."""
        found, missing = [], []
        for txid in txids:
            entry = self.pool.get(txid)
            if entry is None:
                missing.append(txid)
            else:
                found.append(entry.transaction.encode())
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
