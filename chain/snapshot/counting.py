"""Coins counted from block 0 on, beside a store that began from a snapshot.

A file of its own, `history.sqlite`, with the coins as far as they are counted; one call takes a few
blocks, all of them or none, so that a node that was killed goes on where it was.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bft.errors import ConfigError, DecodeError, FederationError, Refused
from chain.node.coins import SCHEMA, CoinTable
from chain.params import Params
from chain.records.block import Block, CertifiedHeader, decode_block
from chain.snapshot.file import coin_elements
from chain.snapshot.muhash import digest_of
from chain.validation import ParentView, check_authorship, check_reward

FALSE = "false-history"


class Counting:
    """Opens its file in every call, so that any thread may do one."""

    def __init__(self, path: Path, start: ParentView, params: Params) -> None:
        """`start`: block 0."""
        self._path, self._start, self._params = path, start, params

    def height(self) -> int:
        """Up to which the coins are counted."""
        with closing(self._open()) as database:
            return CoinTable(database).height

    def take(self, blocks: Sequence[tuple[CertifiedHeader, bytes]]) -> int:
        """The next blocks' bytes, with their headers that were verified; the new height.

        Raises:
            DecodeError: the bytes are not those of the block that the header is of.
            Refused: FALSE; the block that the federation certified breaks the rules.
        """
        with closing(self._open()) as database:
            table = CoinTable(database)
            database.execute("BEGIN IMMEDIATE")
            for certified, data in blocks:
                table.apply(self._checked(table, certified, data))
            database.execute("COMMIT")
            return table.height

    def _checked(self, table: CoinTable, certified: CertifiedHeader, data: bytes) -> Block:
        block, height = decode_block(data), certified.certificate.height
        if block.hash != certified.hash:
            raise DecodeError(f"another block than that of height {height} came")
        parent = ParentView(
            hash=certified.header.previous, height=height - 1, time=table.time(height - 1)
        )
        check_authorship(block, parent, known=certified)
        try:
            check_reward(block, self._params, table)
        except FederationError as error:
            raise Refused(FALSE, f"block {height} is certified and not valid: {error}") from None
        return block

    def digest(self) -> bytes:
        """Of the coins counted so far."""
        with closing(self._open()) as database:
            return digest_of(coin_elements(CoinTable(database).all()))

    def remove(self) -> None:
        """It is not needed any more."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        try:
            database = sqlite3.connect(self._path, isolation_level=None)
            database.execute("PRAGMA journal_mode=WAL")
            self._create(database)
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{self._path}: {error}; remove it") from None
        return database

    def _create(self, database: sqlite3.Connection) -> None:
        if database.execute("PRAGMA user_version").fetchone()[0]:
            return
        database.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            database.execute(statement)
        CoinTable(database).begin(self._start.time)
        database.execute("PRAGMA user_version = 1")
        database.execute("COMMIT")
