"""The coins after the newest final block: three tables of an open SQLite database.

Who holds the database writes inside its own transactions, so that coins and chain never disagree.
Source: Bitcoin Core's UTXO set; reorganisations end above the final block, so nothing is undone.
"""

import sqlite3
from collections.abc import Iterator

from chain.bitcoin.ledger import After, Coin, Connected, Outpoint
from chain.records.block import Block
from chain.records.transaction import TxOut

TIMES_KEPT_MAX = 4_096  # in memory: each input with a lock in time asks for 22
ALL = -1  # rows, to SQLite
SCHEMA = (
    "CREATE TABLE coins (txid BLOB NOT NULL, output INTEGER NOT NULL, value INTEGER NOT NULL, "
    "script BLOB NOT NULL, height INTEGER NOT NULL, coinbase INTEGER NOT NULL, "
    "PRIMARY KEY (txid, output)) WITHOUT ROWID",
    "CREATE INDEX coins_by_script ON coins (script)",
    "CREATE TABLE times (height INTEGER PRIMARY KEY, time INTEGER NOT NULL)",
)


class CoinTable:
    """The coins and the times of final blocks (chain.bitcoin.ledger.Coins)."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """`database` has the tables of SCHEMA."""
        self._db = database
        self._times: dict[int, int] = {}  # final, so none of them changes

    @property
    def height(self) -> int:
        """Of the newest block whose coins are here; -1 before block 0."""
        row = self._db.execute("SELECT max(height) FROM times").fetchone()
        return -1 if row[0] is None else int(row[0])

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """None where there is none, or none any more."""
        row = self._db.execute(
            "SELECT value, script, height, coinbase FROM coins WHERE txid = ? AND output = ?",
            outpoint,
        ).fetchone()
        if row is None:
            return None
        return Coin(TxOut(value=row[0], script=row[1]), row[2], bool(row[3]))

    def time(self, height: int) -> int:
        """Of the final block at `height`, Unix seconds.  Raises KeyError: there is none."""
        known = self._times.get(height)
        if known is not None:
            return known
        row = self._db.execute("SELECT time FROM times WHERE height = ?", (height,)).fetchone()
        if row is None:
            raise KeyError(f"no final block at height {height}")
        if len(self._times) >= TIMES_KEPT_MAX:
            self._times.clear()
        self._times[height] = int(row[0])
        return int(row[0])

    def sum_of(self, script: bytes) -> tuple[int, int]:
        """(how many coins `script` locks, their value)."""
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(value), 0) FROM coins WHERE script = ?", (script,)
        ).fetchone()
        return int(row[0]), int(row[1])

    def of_script(self, script: bytes, limit: int = ALL) -> list[tuple[Outpoint, Coin]]:
        """The coins that `script` locks, the oldest first; at most `limit`."""
        rows = self._db.execute(
            "SELECT txid, output, value, height, coinbase FROM coins WHERE script = ? "
            "ORDER BY height, txid, output LIMIT ?",
            (script, limit),
        ).fetchall()
        return [
            ((txid, output), Coin(TxOut(value=value, script=script), height, bool(coinbase)))
            for txid, output, value, height, coinbase in rows
        ]

    def all(self) -> Iterator[tuple[Outpoint, Coin]]:
        """Every coin, by ascending outpoint."""
        rows = self._db.execute(
            "SELECT txid, output, value, script, height, coinbase FROM coins ORDER BY txid, output"
        )
        for txid, output, value, script, height, coinbase in rows:
            yield (txid, output), Coin(TxOut(value=value, script=script), height, bool(coinbase))

    def height_of(self, txid: bytes) -> int | None:
        """Of the block that made a transaction's coins, while one of them is unspent."""
        row = self._db.execute(
            "SELECT height FROM coins WHERE txid = ? LIMIT 1", (txid,)
        ).fetchone()
        return None if row is None else int(row[0])

    def totals(self) -> tuple[int, int, int]:
        """(coins, transactions that have some, their value)."""
        row = self._db.execute(
            "SELECT count(*), count(DISTINCT txid), coalesce(sum(value), 0) FROM coins"
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def begin(self, time: int) -> None:
        """Block 0, which makes no coins."""
        self._db.execute("INSERT INTO times VALUES (0, ?)", (time,))

    def apply(self, block: Block) -> Connected:
        """The next final block, which is valid on these coins; what it did to them."""
        height = block.certificate.height
        assert height == self.height + 1, "final blocks come in order"
        changes = After(self, block.transactions, height, block.header.time).changes
        self._db.executemany("DELETE FROM coins WHERE txid = ? AND output = ?", list(changes.spent))
        self._db.executemany(
            "INSERT INTO coins VALUES (?, ?, ?, ?, ?, ?)",
            [
                (*outpoint, coin.output.value, coin.output.script, coin.height, coin.coinbase)
                for outpoint, coin in changes.created.items()
            ],
        )
        self._db.execute("INSERT INTO times VALUES (?, ?)", (height, block.header.time))
        return changes
