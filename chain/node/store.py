"""What a node keeps: one SQLite file, written in whole steps, each on disk before it is told.

Trusted: nothing was verified again when it is read, so the file belongs to this node's user alone.
Its loss costs a new synchronisation.  It grows by about 1 kB a block.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from bft.codec.canonical import decode, encode
from bft.errors import ConfigError, DecodeError, Refused
from chain.gossip_events import SaveBlock, Saved, SaveEvidence, SaveFinal, SaveFinality
from chain.node import coins as coin_tables
from chain.node.coins import CoinTable
from chain.records.block import Block, decode_block
from chain.records.evidence import Evidence, Finality, decode_evidence
from chain.records.federation import FederationKey
from chain.tree import BlockTree
from chain.validation import ParentView

SCHEMA_VERSION = 2  # 1 had no coins
BUSY_MS_MAX = 5_000
HEIGHT_DIGITS_MAX = 10
HEADERS_KEPT_MAX = 8_192  # about 1 kB each
DISCOURAGED_MAX = 256  # addresses; those that misbehaved last stay
_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE blocks (hash BLOB PRIMARY KEY, height INTEGER NOT NULL, previous BLOB NOT NULL, "
    "data BLOB NOT NULL)",
    "CREATE INDEX blocks_by_height ON blocks (height)",
    "CREATE TABLE final (height INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE TABLE finality (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, "
    "signature BLOB NOT NULL)",
    "CREATE TABLE evidence (data BLOB PRIMARY KEY, fault INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE discouraged (host TEXT PRIMARY KEY, until_s INTEGER NOT NULL) WITHOUT ROWID",
    *coin_tables.SCHEMA,
)


class Store:
    """One node's chain on disk."""

    def __init__(self, path: Path, chain_id: bytes, genesis: ParentView) -> None:
        """Opens or creates the file.

        Raises:
            ConfigError: the file is no such store, of another version, or of another chain.
        """
        self._genesis = genesis
        self._headers: dict[int, bytes] = {}  # by height, oldest first
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS_MAX / 1000)
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: {error}") from None
        try:
            self._coins = CoinTable(self._db)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._open(path, chain_id)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ConfigError(f"{path}: {error}") from None
        except ConfigError:
            self._db.close()
            raise

    def _open(self, path: Path, chain_id: bytes) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._create(chain_id)
        elif version == 1:
            self._add_coins()
        elif version != SCHEMA_VERSION:
            raise ConfigError(
                f"{path} is a store of version {version}; this software knows {SCHEMA_VERSION}"
            )
        row = self._db.execute("SELECT value FROM meta WHERE name = 'chain_id'").fetchone()
        if row is None or row[0] != chain_id:
            found = "no chain" if row is None else f"chain {row[0].hex()[:16]}"
            raise ConfigError(
                f"{path} holds {found}; the genesis record is of {chain_id.hex()[:16]}"
            )

    def _create(self, chain_id: bytes) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._db.execute("INSERT INTO meta VALUES ('chain_id', ?)", (chain_id,))
        self._coins.begin(self._genesis.time)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _add_coins(self) -> None:
        """A store of version 1 has the final blocks, so the coins follow from it."""
        self._db.execute("BEGIN IMMEDIATE")
        for statement in coin_tables.SCHEMA:
            self._db.execute(statement)
        self._coins.begin(self._genesis.time)
        for (block,) in self._db.execute("SELECT hash FROM final ORDER BY height").fetchall():
            self._coins.apply(self._must_have(block))
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Nothing is pending; the file can be opened again."""
        self._db.close()

    def save(self, effects: Iterable[Saved]) -> None:
        """All of them or none; on disk when this returns."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for effect in effects:
                self._save_one(effect)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _save_one(self, effect: Saved) -> None:
        match effect:
            case SaveBlock(block=block):
                row = (block.hash, block.certificate.height, block.header.previous, block.data)
                self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", row)
            case SaveFinal(view=view):
                place = (view.height, view.hash)
                self._db.execute("INSERT INTO final VALUES (?, ?)", place)
                self._coins.apply(self._must_have(view.hash))
                self._db.execute("DELETE FROM blocks WHERE height = ? AND hash != ?", place)
            case SaveFinality(finality=finality):
                word = (finality.height, finality.block, finality.signature)
                self._db.execute("INSERT OR REPLACE INTO finality VALUES (?, ?, ?)", word)
            case SaveEvidence(data=data, fault=fault):
                self._db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?)", (data, fault))

    def epochs(self) -> tuple[FederationKey, ...]:
        """The certificates of all epochs that this node knows, from epoch 0 on."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'epochs'").fetchone()
        if row is None:
            return ()
        return decode(tuple[FederationKey, ...], row[0], bytes_max=len(row[0]))

    def save_epochs(self, epochs: tuple[FederationKey, ...]) -> None:
        """On disk when this returns."""
        row = ("epochs", encode(epochs))
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)

    @property
    def coins(self) -> CoinTable:
        """Coins and times after the newest final block."""
        return self._coins

    def tree(self) -> BlockTree:
        """The block tree as it was when the last step was saved."""
        row = self._db.execute("SELECT height, hash FROM final ORDER BY height DESC").fetchone()
        if row is None:
            tree = BlockTree(self._genesis)
        else:
            final = self._must_have(row[1])
            view = ParentView(hash=final.hash, height=row[0], time=final.header.time)
            tree = BlockTree(view, final.certified_header, self.finality(row[0]))
        rows = self._db.execute(
            "SELECT data FROM blocks WHERE height = ? AND previous = ? ORDER BY rowid",
            (tree.final.height + 1, tree.final.hash),
        ).fetchall()
        for (data,) in rows:
            try:
                tree, _ = tree.add(decode_block(data).certified_header)
            except Refused:
                continue  # one candidate too many; it had been pushed out before as well
        return tree

    def evidence(self) -> tuple[Evidence, ...]:
        """All that was saved, in byte order."""
        rows = self._db.execute("SELECT data FROM evidence ORDER BY data").fetchall()
        return tuple(decode_evidence(row[0]) for row in rows)

    def block(self, block: bytes) -> Block | None:
        """The block with this hash."""
        row = self._db.execute("SELECT data FROM blocks WHERE hash = ?", (block,)).fetchone()
        return None if row is None else _decoded(row[0])

    def block_data(self, block: bytes) -> bytes | None:
        """The bytes of the block with this hash."""
        row = self._db.execute("SELECT data FROM blocks WHERE hash = ?", (block,)).fetchone()
        return None if row is None else bytes(row[0])

    def final_header(self, height: int) -> bytes | None:
        """The encoded certified header of the final block at this height.

        To find a coinbase's Merkle branch all of a block is hashed, so headers are kept in memory.
        """
        known = self._headers.get(height)
        if known is None:
            block = self.final_block(height)
            if block is None:
                return None
            if len(self._headers) >= HEADERS_KEPT_MAX:
                del self._headers[next(iter(self._headers))]
            known = self._headers[height] = block.certified_header.encode()
        return known

    def find(self, reference: str, tip: ParentView) -> Block | None:
        """A block by height (final, or `tip`) or by its hash as people see it.

        Raises:
            DecodeError: `reference` is neither.
        """
        if reference.isdecimal() and len(reference) <= HEIGHT_DIGITS_MAX:
            height = int(reference)
            return self.final_block(height) or (
                self.block(tip.hash) if height == tip.height else None
            )
        try:
            block = bytes.fromhex(reference)[::-1]
        except ValueError:
            block = b""
        if len(block) != 32:
            raise DecodeError("a height or a block hash of 64 hex digits is expected")
        return self.block(block)

    def final_block(self, height: int) -> Block | None:
        """The final block at this height."""
        found = self.final_hash(height)
        return None if found is None else self.block(found)

    def final_hash(self, height: int) -> bytes | None:
        """Its hash; block 0's is the genesis record's."""
        if height == 0:
            return self._genesis.hash
        row = self._db.execute("SELECT hash FROM final WHERE height = ?", (height,)).fetchone()
        return None if row is None else bytes(row[0])

    def finality(self, height: int) -> Finality | None:
        """The federation's word on the block at this height, where it has reached us."""
        row = self._db.execute(
            "SELECT height, hash, signature FROM finality WHERE height = ?", (height,)
        ).fetchone()
        return None if row is None else Finality(height=row[0], block=row[1], signature=row[2])

    def discourage(self, host: str, now_s: int, until_s: int) -> None:
        """Do not talk with this address before `until_s`; what has expired is forgotten."""
        self._db.execute("DELETE FROM discouraged WHERE until_s <= ?", (now_s,))
        self._db.execute("INSERT OR REPLACE INTO discouraged VALUES (?, ?)", (host, until_s))
        self._db.execute(
            "DELETE FROM discouraged WHERE host NOT IN "
            "(SELECT host FROM discouraged ORDER BY until_s DESC, host LIMIT ?)",
            (DISCOURAGED_MAX,),
        )

    def is_discouraged(self, host: str, now_s: int) -> bool:
        """Whether it misbehaved a short while ago."""
        row = self._db.execute(
            "SELECT 1 FROM discouraged WHERE host = ? AND until_s > ?", (host, now_s)
        ).fetchone()
        return row is not None

    def _must_have(self, block: bytes) -> Block:
        found = self.block(block)
        if found is None:
            raise ConfigError(f"the store lacks its final block {block[::-1].hex()}; remove it")
        return found


def _decoded(data: bytes) -> Block:
    try:
        return decode_block(data)
    except DecodeError as error:
        raise ConfigError(f"the store holds a damaged block ({error}); remove it") from None
