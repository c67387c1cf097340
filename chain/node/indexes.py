"""What an operator may have beside the coins: where each transaction is, what touched each script.

Tables of the store's database, written in its transactions.  They follow from the blocks, so they
are made when they are asked for and dropped when they are not.
Source: Bitcoin Core's txindex; Electrum's script hashes.
"""

import sqlite3
from collections.abc import Iterable

from bft.crypto.hashing import sha256
from chain.bitcoin.ledger import Connected
from chain.records.block import Block

TRANSACTIONS, SCRIPTS = "transactions_index", "scripts_index"  # the tables' names
_SCHEMA = {
    TRANSACTIONS: "CREATE TABLE transactions_index (txid BLOB PRIMARY KEY, "
    "height INTEGER NOT NULL) WITHOUT ROWID",
    SCRIPTS: "CREATE TABLE scripts_index (script BLOB NOT NULL, height INTEGER NOT NULL, "
    "place INTEGER NOT NULL, PRIMARY KEY (script, height, place)) WITHOUT ROWID",
}


class Indexes:
    """Those of one store."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    @property
    def present(self) -> frozenset[str]:
        """Which there are."""
        rows = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return frozenset(row[0] for row in rows) & frozenset(_SCHEMA)

    def begin(self, wanted: Iterable[str]) -> frozenset[str]:
        """Drops what is not wanted; returns what was made, empty, and has to be filled."""
        wanted, present = frozenset(wanted), self.present
        for name in sorted(present - wanted):
            self._db.execute(f"DROP TABLE {name}")
        for name in sorted(wanted - present):
            self._db.execute(_SCHEMA[name])
        return wanted - present

    def apply(self, block: Block, changes: Connected, names: Iterable[str]) -> None:
        """One final block, into these indexes."""
        height = block.certificate.height
        ids = [transaction.txid for transaction in block.transactions]
        if TRANSACTIONS in names:
            self._db.executemany(
                "INSERT OR REPLACE INTO transactions_index VALUES (?, ?)",
                [(txid, height) for txid in ids],
            )
        if SCRIPTS in names:
            self._db.executemany(
                "INSERT OR REPLACE INTO scripts_index VALUES (?, ?, ?)",
                [(script, height, place) for script, place in _touched(block, changes, ids)],
            )

    def height_of(self, txid: bytes) -> int | None:
        """Of the final block with this transaction; None if it is unknown, or nothing is known."""
        if TRANSACTIONS not in self.present:
            return None
        row = self._db.execute(
            "SELECT height FROM transactions_index WHERE txid = ?", (txid,)
        ).fetchone()
        return None if row is None else int(row[0])

    def places_of(self, script: bytes, above: int, limit: int) -> list[tuple[int, int]]:
        """(height, place in the block) of transactions that pay or spend `script`, ascending."""
        rows = self._db.execute(
            "SELECT height, place FROM scripts_index WHERE script = ? AND height > ? "
            "ORDER BY height, place LIMIT ?",
            (sha256(script), above, limit),
        ).fetchall()
        return [(height, place) for height, place in rows]


def _touched(block: Block, changes: Connected, ids: list[bytes]) -> Iterable[tuple[bytes, int]]:
    """(SHA-256 of a script, the place of a transaction that pays or spends it)."""
    own = dict(zip(ids, block.transactions, strict=True))
    for place, transaction in enumerate(block.transactions):
        scripts = {output.script for output in transaction.outputs}
        for entry in transaction.inputs[transaction.is_coinbase :]:
            made = own.get(entry.previous)
            coin = changes.spent.get((entry.previous, entry.index))
            if made is not None:
                scripts.add(made.outputs[entry.index].script)
            elif coin is not None:
                scripts.add(coin.output.script)
        yield from ((sha256(script), place) for script in sorted(scripts))
