"""One replica's memory: what it promised, what was decided, and the score log, in one SQLite file.

WAL mode with synchronous=FULL: a commit returns when the disk has it.  One writer, this class; what
serves readers is JournalReader.  Tables:

    meta    schema, chain and owner
    wal     consensus' journal records (bft/pbft/journal.py), by lsn, pruned at stable checkpoints
    log     leaves of the score log by index; those of a decided batch also by sequence, with proof
    states  the application's newest two states; only a short cut, the log can replay them
    blocks  blocks that this replica checked or fetched
    marks   where records stand in the log: (kind, number) -> index
    accusations  evidence that convicts a replica

`log` (with `marks`) and `blocks` grow for ever, everything else stays as large as it is: pages that
became free are used again, and beyond FREE_PAGES_KEPT they are given back to the file system.
Every row of `wal`, `log` and `states` carries a checksum.  Trusted for safety: a replica that loses
this file, or gets an old copy, has forgotten promises and must not vote under its key again.
"""

import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bft.codec.canonical import Record, encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError, DecodeError, FederationError
from bft.pbft.config import Recovered
from bft.pbft.events import Accuse, Persist, Prune
from chain.records.certificate import decode_certificate
from chain.records.score_log import (
    Aggregated,
    Assigned,
    BeaconRound,
    BlockFinal,
    Certified,
    CycleClosed,
    Drawn,
    KeyActivated,
    Ordered,
    RankVoided,
    Revealed,
    Scored,
    decode_leaf,
    encode_leaf,
)
from coordinator.effects import Append, BlockAccepted, Effect, SaveState

SCHEMA_VERSION = 1
APPLICATION_ID = 0x47524D4C  # "GRML", in the file's header
STATES_KEPT = 2
ACCUSATIONS_MAX = 10_000
WAL_FILE_BYTES_MAX = 64 * 1024 * 1024  # of SQLite's own write-ahead log, between two transactions
FREE_PAGES_KEPT = 4_096  # for the next writes; 16 MiB
FREED_PAGES_MAX = 4_096  # given back at once

FORGOTTEN = (
    "A replica without its whole journal has forgotten what it promised and could contradict "
    "itself, so it must not vote under its key again.  Put back the undamaged file of this very "
    "replica if it never ran since; otherwise make a new identity (`gristmill operator init`) and "
    "have the federation replace this member."
)

_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE wal (lsn INTEGER PRIMARY KEY, record BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE log (idx INTEGER PRIMARY KEY, sequence INTEGER, leaf BLOB NOT NULL,"
    " proof BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE UNIQUE INDEX log_by_sequence ON log (sequence) WHERE sequence IS NOT NULL",
    "CREATE TABLE states (sequence INTEGER PRIMARY KEY, state BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE blocks (hash BLOB PRIMARY KEY, height INTEGER NOT NULL, block BLOB NOT NULL)",
    "CREATE TABLE marks (kind TEXT, number INTEGER, idx INTEGER,"
    " PRIMARY KEY (kind, number, idx)) WITHOUT ROWID",
    "CREATE TABLE accusations (digest BLOB PRIMARY KEY, culprit INTEGER NOT NULL,"
    " text TEXT NOT NULL, evidence BLOB NOT NULL)",
)

_KINDS: dict[type[Record], str] = {
    Assigned: "assigned",
    Revealed: "revealed",
    Scored: "scored",
    Drawn: "drawn",
    Aggregated: "aggregated",
    RankVoided: "rank-voided",
    CycleClosed: "closed",
}


class JournalError(FederationError):
    """The disk refused a write: nothing after the last commit counts, and the replica stops."""


Durable = Persist | Append | SaveState | Prune | BlockAccepted | Accuse
"""Effects that the journal keeps."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was durable when the process ended."""

    consensus: Recovered
    saved: bytes | None  # newest state
    saved_sequence: int  # 0 without a state
    tail: tuple[tuple[int, bytes], ...]  # (sequence, batch) after it, in order
    log_size: int


def checksum(number: int, *parts: bytes) -> int:
    """CRC-32 over a row's key and content: finds damage by disks, not by people."""
    crc = zlib.crc32(number.to_bytes(8, "big"))
    for part in parts:
        crc = zlib.crc32(part, zlib.crc32(len(part).to_bytes(8, "big"), crc))
    return crc


def marks(record: Record) -> tuple[tuple[str, int], ...]:
    """Under which (kind, number) a log record is found again."""
    if isinstance(record, KeyActivated):
        return (("key", record.federation_key.epoch),)
    if isinstance(record, Certified):
        return (("certified", decode_certificate(record.certificate)[0].cycle),)
    if isinstance(record, BeaconRound):
        return (("beacon", record.round),)
    if isinstance(record, BlockFinal):
        return (("final", record.cycle), ("height", record.height))
    kind = _KINDS.get(type(record))
    return () if kind is None else ((kind, record.cycle),)  # type: ignore[attr-defined]


class Journal:
    """The writer.  One transaction at a time: `commit`, or `write` and then `sync`."""

    def __init__(self, path: Path, chain_id: bytes, replica_key: bytes) -> None:
        """Open or create.

        Raises:
            ConfigError: of another chain, of another replica, of a newer version, missing though
                it was there once, or no journal at all.
        """
        born = path.with_name(path.name + ".born")
        if born.exists() and not path.exists():
            raise ConfigError(f"{path} is gone.  {FORGOTTEN}")
        self._path = path
        self._prune = 0  # records through here go with the present transaction
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # counts in a new file only
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(f"PRAGMA journal_size_limit={WAL_FILE_BYTES_MAX}")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._check_or_create(chain_id, replica_key)
        except sqlite3.Error as error:
            self._connection.close()
            raise ConfigError(f"{path}: {error}.  {FORGOTTEN}") from None
        except ConfigError:
            self._connection.close()
            raise
        born.touch(mode=0o600)

    def _check_or_create(self, chain_id: bytes, replica_key: bytes) -> None:
        found = self._connection.execute("PRAGMA application_id").fetchone()[0]
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found == 0 and tables == 0:
            self._create(chain_id, replica_key)
            return
        if found != APPLICATION_ID:
            raise ConfigError(f"{self._path} is no journal of Gristmill")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"{self._path} has schema {version}; this software knows {SCHEMA_VERSION}"
            )
        rows = self._connection.execute("SELECT key, value FROM meta").fetchall()
        meta = {str(key): bytes(value) for key, value in rows}
        for key, expected in (("chain", chain_id), ("replica", replica_key)):
            if meta.get(key) != expected:
                raise ConfigError(
                    f"{self._path} is of {key} {meta.get(key, b'').hex()[:16]}; "
                    f"{expected.hex()[:16]} expected"
                )

    def _create(self, chain_id: bytes, replica_key: bytes) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            execute(statement)
        execute("INSERT INTO meta VALUES ('chain', ?), ('replica', ?)", (chain_id, replica_key))
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    # Writing.

    def commit(self, effects: Iterable[Durable]) -> None:
        """Everything in one durable transaction, in order.

        Raises:
            JournalError: the disk refused; nothing of it was written, and nothing may be sent.
        """
        self.write(effects)
        self.sync()

    def write(self, effects: Iterable[Durable]) -> None:
        """Put everything into a new transaction, in order; nothing counts before `sync`.

        Does not wait for the disk: that, and whatever touches many pages, is left to `sync`.
        Raises JournalError, as `commit`.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for effect in effects:
                self._write(effect)
        except (sqlite3.Error, OSError) as error:
            raise self._refused(error) from error

    def sync(self) -> None:
        """Make the transaction durable.  Blocks.  Raises JournalError, as `commit`."""
        try:
            prune, self._prune = self._prune, 0
            if prune:
                self._connection.execute("DELETE FROM wal WHERE lsn <= ?", (prune,))
            self._connection.execute("COMMIT")
            if prune:
                self._give_back()
        except (sqlite3.Error, OSError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> JournalError:
        return JournalError(f"{self._path}: {error}; nothing unwritten was sent")

    def _write(self, effect: Durable) -> None:
        execute = self._connection.execute
        match effect:
            case Persist(lsn=lsn, record=record):
                execute("INSERT INTO wal VALUES (?, ?, ?)", (lsn, record, checksum(lsn, record)))
            case Append():
                self._append(effect)
            case SaveState(sequence=sequence, state=state):
                row = (sequence, state, checksum(sequence, state))
                execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", row)
                execute(
                    "DELETE FROM states WHERE sequence NOT IN"
                    " (SELECT sequence FROM states ORDER BY sequence DESC LIMIT ?)",
                    (STATES_KEPT,),
                )
            case Prune(up_to_lsn=lsn):
                self._prune = max(self._prune, lsn)
            case BlockAccepted(height=height, block_hash=block_hash, block=block):
                row_of_block = (block_hash, height, block)
                execute("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", row_of_block)
            case Accuse(culprit=culprit, text=text, evidence=evidence):
                digest = sha256(encode(evidence))
                execute(
                    "INSERT OR IGNORE INTO accusations SELECT ?, ?, ?, ?"
                    " WHERE (SELECT count(*) FROM accusations) < ?",
                    (digest, culprit, text, encode(evidence), ACCUSATIONS_MAX),
                )

    def _give_back(self) -> None:
        """Shorten the file when much of it is free, a little at a time."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        pages = min(free - FREE_PAGES_KEPT, FREED_PAGES_MAX)
        if pages > 0:
            # `execute` would stop after the first page: the statement gives a row for each.
            self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def _append(self, append: Append) -> None:
        assert isinstance(append.records[0], Ordered)
        for offset, record in enumerate(append.records):
            index, leaf = append.first_index + offset, encode_leaf(record)
            sequence = append.sequence if offset == 0 else None
            proof = append.proof if offset == 0 else b""
            row = (index, sequence, leaf, proof, checksum(index, leaf, proof))
            self._connection.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?)", row)
            for kind, number in marks(record):
                mark = (kind, number, index)
                self._connection.execute("INSERT INTO marks VALUES (?, ?, ?)", mark)

    # Recovery.

    def recover(self) -> Recovery:
        """What was durable when the process ended, every row of it checked.

        Raises:
            ConfigError: damage; see FORGOTTEN.
        """
        try:
            records = tuple(self._checked_wal())
            log_size, executed = self._check_log()
            saved_sequence, saved = self._newest_state(executed)
            tail = tuple(self._batches(saved_sequence))
        except (sqlite3.Error, DecodeError) as error:
            raise ConfigError(f"{self._path}: {error}.  {FORGOTTEN}") from None
        if [sequence for sequence, _ in tail] != list(range(saved_sequence + 1, executed + 1)):
            raise ConfigError(f"{self._path}: decided batches are missing.  {FORGOTTEN}")
        return Recovery(
            consensus=Recovered(records=records, executed=executed),
            saved=saved,
            saved_sequence=saved_sequence,
            tail=tail,
            log_size=log_size,
        )

    def _checked_wal(self) -> Iterable[tuple[int, bytes]]:
        for lsn, record, crc in self._connection.execute(
            "SELECT lsn, record, crc FROM wal ORDER BY lsn"
        ):
            if checksum(lsn, record) != crc:
                raise ConfigError(f"{self._path}: record {lsn} of wal is damaged.  {FORGOTTEN}")
            yield lsn, record

    def _check_log(self) -> tuple[int, int]:
        """(size of the log, last sequence)."""
        size, executed = 0, 0
        for index, sequence, leaf, proof, crc in self._connection.execute(
            "SELECT idx, sequence, leaf, proof, crc FROM log ORDER BY idx"
        ):
            if index != size or checksum(index, leaf, proof) != crc:
                raise ConfigError(f"{self._path}: entry {size} of log is damaged.  {FORGOTTEN}")
            size += 1
            executed = executed if sequence is None else sequence
        return size, executed

    def _newest_state(self, executed: int) -> tuple[int, bytes | None]:
        """The newest undamaged state; without one, all batches are replayed."""
        for sequence, state, crc in self._connection.execute(
            "SELECT sequence, state, crc FROM states WHERE sequence <= ? ORDER BY sequence DESC",
            (executed,),
        ):
            if checksum(sequence, state) == crc:
                return sequence, state
        return 0, None

    def _batches(self, after: int) -> Iterable[tuple[int, bytes]]:
        for (leaf,) in self._connection.execute(
            "SELECT leaf FROM log WHERE sequence > ? ORDER BY sequence", (after,)
        ):
            ordered = decode_leaf(leaf)
            if not isinstance(ordered, Ordered):
                raise DecodeError("a decided batch is not where it should be")
            yield ordered.sequence, ordered.batch


def durable(effects: Iterable[Effect]) -> list[Durable]:
    """Those effects that the journal keeps, in order."""
    return [effect for effect in effects if isinstance(effect, Durable)]
