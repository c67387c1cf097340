"""The coins after the newest final block that is here: what a replica judges spends with.

A file of its own beside the journal, which follows from the journal's blocks: when it is missing,
damaged, or of another chain, it is made anew.  Until it has reached the tip, this replica votes
for blocks that spend nothing and refuses others (`coins-unknown`).
"""

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Protocol

from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import Coin, Outpoint
from chain.node.coins import SCHEMA, CoinTable
from chain.records.block import decode_block
from chain.validation import ParentView

SCHEMA_VERSION = 1
CHUNK = 256  # heights looked at together

log = logging.getLogger("gristmill.ledger")


class FinalBlocks(Protocol):
    """What the journal holds; see coordinator/service/index.py."""

    async def final_blocks(self, above: int, limit: int) -> tuple[tuple[int, bytes, bool], ...]:
        """(height, hash, whether its bytes are here), ascending."""

    async def block(self, block_hash: bytes) -> bytes | None:
        """A block's bytes."""


class Ledger:
    """Coins in SQLite, for one thread."""

    def __init__(self, path: Path, genesis: ParentView) -> None:
        self._path, self._genesis = path, genesis
        self._grown = asyncio.Event()
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s): the coins are counted anew", path, error)
            path.unlink()
            self._db = self._open()
        self._table = CoinTable(self._db)  # raises sqlite3.Error, which ends the counting
        self.coins = _Readable(self._db)

    def _open(self) -> sqlite3.Connection:
        """The database, made anew if it is not one of this chain."""
        database = sqlite3.connect(self._path, isolation_level=None)
        try:
            # Whatever power cuts take from it is counted again from the journal.
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            if not self._fits(database):
                self._create(database)
        except BaseException:
            database.close()
            raise
        return database

    def _fits(self, database: sqlite3.Connection) -> bool:
        if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            return False
        row = database.execute("SELECT hash FROM chain").fetchone()
        return row is not None and row[0] == self._genesis.hash

    def _create(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        for table in ("coins", "times", "chain"):
            database.execute(f"DROP TABLE IF EXISTS {table}")
        database.execute("CREATE TABLE chain (hash BLOB NOT NULL)")
        for statement in SCHEMA:
            database.execute(statement)
        database.execute("INSERT INTO chain VALUES (?)", (self._genesis.hash,))
        CoinTable(database).begin(self._genesis.time)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("COMMIT")

    def close(self) -> None:
        """The file can be opened again."""
        self._db.close()

    def wake(self) -> None:
        """The journal has another final block."""
        self._grown.set()

    async def run(self, finals: FinalBlocks) -> None:
        """Follow the journal until cancelled."""
        while True:
            self._grown.clear()
            try:
                await self.catch_up(finals)
            except (DecodeError, Refused, sqlite3.Error) as error:
                log.error(
                    "coins are not counted any more; blocks that spend get no vote: %s", error
                )
                return
            await self._grown.wait()

    async def catch_up(self, finals: FinalBlocks) -> None:
        """Count the coins up to the first final block that is not here."""
        while chunk := await finals.final_blocks(self._table.height, CHUNK):
            for height, hashed, held in chunk:
                data = await finals.block(hashed) if held else None
                if data is None or height != self._table.height + 1:
                    return
                self._apply(data, hashed)

    def _apply(self, data: bytes, hashed: bytes) -> None:
        block = decode_block(data)
        if block.hash != hashed:
            raise DecodeError(f"the journal's block {hashed[::-1].hex()} is another one")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._table.apply(block)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise


class _Readable(CoinTable):
    """A file that rots costs this replica its votes for blocks that spend, and nothing else."""

    @property
    def height(self) -> int:
        """As CoinTable's; -1 where it cannot be read."""
        try:
            return super().height
        except sqlite3.Error:
            return -1

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """As CoinTable's.  Raises Refused: "coins-unknown"."""
        try:
            return super().coin(outpoint)
        except sqlite3.Error as error:
            raise _unreadable(error) from None

    def time(self, height: int) -> int:
        """As CoinTable's.  Raises Refused: "coins-unknown"."""
        try:
            return super().time(height)
        except sqlite3.Error as error:
            raise _unreadable(error) from None


def _unreadable(error: sqlite3.Error) -> Refused:
    log.error("the coins cannot be read (%s); without the file, a start counts them anew", error)
    return Refused("coins-unknown", "the coins that this block spends cannot be read here")
