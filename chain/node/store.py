"""What a node keeps: one SQLite file, written in whole steps, each on disk before it is told.

Trusted: nothing was verified again when it is read, so the file belongs to this node's user alone.
Its loss costs a new synchronisation.  It grows by about 2 kB a block; less where old blocks are
pruned: their headers stay.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bft.codec.canonical import decode, encode
from bft.errors import ConfigError, DecodeError, Refused
from chain.bitcoin.ledger import Coin, Connected, Outpoint
from chain.gossip_events import SaveBlock, Saved, SaveEvidence, SaveFinal, SaveFinality
from chain.node import coins as coin_tables
from chain.node.coins import CoinTable
from chain.node.filling import Filling
from chain.node.indexes import Indexes
from chain.records.block import Block, decode_block
from chain.records.evidence import Evidence, Finality, decode_evidence
from chain.records.federation import FederationKey
from chain.records.transaction import TxOut
from chain.tree import BlockTree
from chain.validation import ParentView

SCHEMA_VERSION = 3  # 1 had no coins, 2 no headers and undo data of final blocks
BUSY_MS_MAX = 5_000
HEIGHT_DIGITS_MAX = 10
PRUNE_MIN = 288  # final blocks that are kept at the least, as in Bitcoin Core
FRESH_MAX = 64  # blocks of the last transactions that are not decoded again
DISCOURAGED_MAX = 256  # addresses; those that misbehaved last stay
_FINAL = (
    "CREATE TABLE final (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, header BLOB NOT NULL, "
    "undo BLOB NOT NULL)",
    "CREATE INDEX final_by_hash ON final (hash)",
)
_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE blocks (hash BLOB PRIMARY KEY, height INTEGER NOT NULL, previous BLOB NOT NULL, "
    "data BLOB NOT NULL)",
    "CREATE INDEX blocks_by_height ON blocks (height)",
    *_FINAL,
    "CREATE TABLE finality (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, "
    "signature BLOB NOT NULL)",
    "CREATE TABLE evidence (data BLOB PRIMARY KEY, fault INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE discouraged (host TEXT PRIMARY KEY, until_s INTEGER NOT NULL) WITHOUT ROWID",
    *coin_tables.SCHEMA,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The snapshot that a store began from."""

    height: int
    block: bytes  # 32
    digest: bytes  # 32, of the coins
    validated: bool | None  # whether blocks 1 to `height` make these coins; None: not known yet


class Store:
    """One node's chain on disk."""

    def __init__(
        self,
        path: Path,
        chain_id: bytes,
        genesis: ParentView,
        *,
        prune: int = 0,
        indexes: Iterable[str] = (),
    ) -> None:
        """Opens or creates the file.

        Args:
            prune: final blocks that are kept, at least PRUNE_MIN; 0 keeps all.
            indexes: names in chain/node/indexes.py.

        Raises:
            ConfigError: the file is no such store, of another version, or of another chain; or an
                index is wanted of blocks that are not here any more.
        """
        self._genesis = genesis
        self._fresh: dict[bytes, Block] = {}  # saved lately, oldest first
        self._prune, self._indexed = prune, frozenset(indexes)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS_MAX / 1000)
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: {error}") from None
        try:
            self._coins, self.indexes = CoinTable(self._db), Indexes(self._db)
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
        elif version in (1, 2):
            self._count_again(version)
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
        self._open_indexes(path)

    def _open_indexes(self, path: Path) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        fresh = self.indexes.begin(self._indexed)
        if fresh and self.pruned_height:
            raise ConfigError(f"{path}: an index needs all blocks, and old ones were pruned")
        rows = self._db.execute("SELECT height FROM final ORDER BY height").fetchall()
        for (height,) in rows if fresh else ():
            block = self.final_block(height)
            assert block is not None  # nothing was pruned
            self.indexes.apply(block, Connected(spent=self.undo(height)), fresh)
        self._db.execute("COMMIT")

    def _create(self, chain_id: bytes) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._db.execute("INSERT INTO meta VALUES ('chain_id', ?)", (chain_id,))
        self._coins.begin(self._genesis.time)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _count_again(self, version: int) -> None:
        """An older store has all final blocks, so everything else follows from it."""
        self._db.execute("BEGIN IMMEDIATE")
        rows = self._db.execute("SELECT height, hash FROM final ORDER BY height").fetchall()
        for table in ("final", *(("coins", "times") if version > 1 else ())):
            self._db.execute(f"DROP TABLE {table}")
        for statement in (*_FINAL, *coin_tables.SCHEMA):
            self._db.execute(statement)
        self._coins.begin(self._genesis.time)
        for height, block in rows:
            self._make_final(height, self._must_have(block), frozenset())
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Nothing is pending; the file can be opened again."""
        self._db.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Everything that is read inside is of one moment, whatever others write meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    @contextmanager
    def filling(self, height: int, block: bytes, digest: bytes) -> Iterator[Filling]:
        """A fresh store becomes that of a snapshot's end; unless an error leaves it empty."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield Filling(self._db)
            self._set("pruned", (height - 1).to_bytes(8, "big"))
            self._set("snapshot", encode((height, block, digest)))
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    @property
    def origin(self) -> Origin | None:
        """The snapshot that it began from; None where all blocks were checked as they came."""
        data, verdict = self._get("snapshot"), self._get("snapshot_verdict")
        if data is None:
            return None
        height, block, digest = decode(tuple[int, bytes, bytes], data, bytes_max=len(data))
        validated = None if verdict is None else verdict == b"validated"
        return Origin(height=height, block=block, digest=digest, validated=validated)

    def judge_origin(self, *, validated: bool) -> None:
        """What counting the coins from block 0 said of the snapshot; on disk when this returns."""
        self._set("snapshot_verdict", b"validated" if validated else b"false")

    def _get(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def _set(self, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def save(self, effects: Iterable[Saved]) -> None:
        """All of them or none; on disk when this returns."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for effect in effects:
                self._save_one(effect)
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            self._fresh.clear()
            raise

    def _roll_back(self) -> None:
        """On a full disk SQLite has done so itself; a second time would hide the reason."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _save_one(self, effect: Saved) -> None:
        match effect:
            case SaveBlock(block=block):
                row = (block.hash, block.certificate.height, block.header.previous, block.data)
                self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", row)
                self._remember(block)
            case SaveFinal(view=view):
                known = self._fresh.get(view.hash)
                final = known if known is not None else self._must_have(view.hash)
                self._make_final(view.height, final, self._indexed)
                place = (view.height, view.hash)
                self._db.execute("DELETE FROM blocks WHERE height = ? AND hash != ?", place)
                if self._prune:
                    self._forget_below(view.height + 1 - max(self._prune, PRUNE_MIN))
            case SaveFinality(finality=finality):
                word = (finality.height, finality.block, finality.signature)
                self._db.execute("INSERT OR REPLACE INTO finality VALUES (?, ?, ?)", word)
            case SaveEvidence(data=data, fault=fault):
                self._db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?)", (data, fault))

    def _remember(self, block: Block) -> None:
        self._fresh[block.hash] = block
        while len(self._fresh) > FRESH_MAX:
            del self._fresh[next(iter(self._fresh))]

    def _make_final(self, height: int, block: Block, indexes: frozenset[str]) -> None:
        row = (height, block.hash, block.certified_header.encode())
        self._db.execute("INSERT INTO final VALUES (?, ?, ?, x'')", row)
        changes = self._coins.apply(block)
        undo = tuple(
            (*at, coin.output.value, coin.output.script, coin.height, coin.coinbase)
            for at, coin in changes.spent.items()
        )
        if undo:
            data = encode(undo)
            self._db.execute("UPDATE final SET undo = ? WHERE height = ?", (data, height))
        self.indexes.apply(block, changes, indexes)

    def _forget_below(self, height: int) -> None:
        """Blocks below; headers stay, so that others can follow from them."""
        lowest = self.pruned_height + 1
        if height <= lowest:
            return
        self._db.execute("DELETE FROM blocks WHERE height >= ? AND height < ?", (lowest, height))
        self._db.execute(
            "UPDATE final SET undo = x'' WHERE height >= ? AND height < ?", (lowest, height)
        )
        self._set("pruned", (height - 1).to_bytes(8, "big"))

    @property
    def pruned_height(self) -> int:
        """Up to here blocks are gone; 0 where all are here."""
        return int.from_bytes(self._get("pruned") or b"", "big")

    def undo(self, height: int) -> dict[Outpoint, Coin]:
        """The coins that the final block at `height` spent, but for those that it made itself."""
        row = self._db.execute("SELECT undo FROM final WHERE height = ?", (height,)).fetchone()
        if row is None or not row[0]:
            return {}
        kind = tuple[tuple[bytes, int, int, bytes, int, bool], ...]
        return {
            (txid, at): Coin(TxOut(value=value, script=script), made, coinbase)
            for txid, at, value, script, made, coinbase in decode(
                kind, row[0], bytes_max=len(row[0])
            )
        }

    def epochs(self) -> tuple[FederationKey, ...]:
        """The certificates of all epochs that this node knows, from epoch 0 on."""
        data = self._get("epochs")
        if data is None:
            return ()
        return decode(tuple[FederationKey, ...], data, bytes_max=len(data))

    def save_epochs(self, epochs: tuple[FederationKey, ...]) -> None:
        """On disk when this returns."""
        self._set("epochs", encode(epochs))

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
        """The encoded certified header of the final block at this height."""
        row = self._db.execute("SELECT header FROM final WHERE height = ?", (height,)).fetchone()
        return None if row is None else bytes(row[0])

    def header_of(self, block: bytes) -> bytes | None:
        """The encoded certified header of the final block with this hash."""
        row = self._db.execute("SELECT header FROM final WHERE hash = ?", (block,)).fetchone()
        return None if row is None else bytes(row[0])

    def find(self, reference: str, tip: ParentView) -> Block | None:
        """A block by height (final, or `tip`) or by its hash as people see it.

        Raises:
            DecodeError: `reference` is neither.
        """
        if reference.isascii() and reference.isdecimal() and len(reference) <= HEIGHT_DIGITS_MAX:
            height = int(reference)
            return self.final_block(height) or (
                self.block(tip.hash) if height == tip.height else None
            )
        try:
            block = bytes.fromhex(reference)[::-1]
        except ValueError:
            block = b""
        if len(block) != 32 or len(reference) != 64:  # fromhex lets spaces pass
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
