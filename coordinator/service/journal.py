"""One replica's memory: what it promised, what was decided, and the score log, in one SQLite file.

WAL mode with synchronous=FULL: a commit returns when the disk has it.  One writer, this class; what
serves readers is JournalReader.  Tables:

    meta    schema, chain and owner
    wal     consensus' journal records (bft/pbft/journal.py), by lsn, pruned at stable checkpoints
    log     leaves of the score log by index; those of a decided batch also by sequence, with proof
    states  the application's newest two states; a short cut that the log can replay, but where it
            has a gap
    gap     at most one row: which part of `log` a state transfer left out, and a state before it
    blocks  blocks that this replica checked or fetched
    marks   where records stand in the log: (kind, number) -> index
    accusations  evidence that convicts a replica
    epochs  the epochs that this replica has lived in, see coordinator/epochs.py
    guard   what this replica's keys have signed (coordinator/guard/rows.py)

`log` (with `marks`) and `blocks` grow for ever, everything else stays as large as it is: pages that
became free are used again, and beyond FREE_PAGES_KEPT they are given back to the file system.
Every row of `wal`, `log` and `states` carries a checksum.  Trusted for safety: a replica that loses
this file, or gets an old copy, has forgotten promises and must not vote under its key again.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from bft.codec.canonical import Record, encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError, FederationError
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
    encode_leaf,
)
from coordinator.effects import Append, BlockAccepted, Effect, Installed, Restored, SaveState
from coordinator.epochs import Noted
from coordinator.guard.rows import TABLE, prune_guarded, write_guarded
from coordinator.guard.rules import Guarded
from coordinator.service.recovery import FORGOTTEN as FORGOTTEN
from coordinator.service.recovery import JournalCheck, Recovery, gap_checksum
from coordinator.service.recovery import checksum as checksum
from coordinator.service.wal_file import rotten

SCHEMA_VERSION = 4  # 2 added the table `gap`, 3 `guard`, 4 `epochs`
APPLICATION_ID = 0x47524D4C  # "GRML", in the file's header
STATES_KEPT = 2
BEHIND_MAX = 64  # transactions that wait for no disk, before one does
ACCUSATIONS_MAX = 10_000
WAL_FILE_BYTES_MAX = 64 * 1024 * 1024  # of SQLite's own write-ahead log, between two transactions
CHECKPOINT_PAGES = 1_000  # of SQLite's write-ahead log, beyond which they are copied back
FREE_PAGES_KEPT = 4_096  # for the next writes; 16 MiB
FREED_PAGES_MAX = 4_096  # given back at once

_GAP = (
    "CREATE TABLE gap (id INTEGER PRIMARY KEY CHECK (id = 0), last_sequence INTEGER NOT NULL,"
    " end_idx INTEGER NOT NULL, root BLOB NOT NULL, base_sequence INTEGER NOT NULL,"
    " base BLOB NOT NULL, crc INTEGER NOT NULL)"
)
_EPOCHS = (
    "CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, note BLOB NOT NULL, crc INTEGER NOT NULL)"
)
_SETTLE = "INSERT OR REPLACE INTO meta VALUES ('settled', randomblob(8))"
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
    _GAP,
    TABLE,
    _EPOCHS,
)
_ADDED = {2: _GAP, 3: TABLE, 4: _EPOCHS}

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


Durable = (
    Persist | Append | SaveState | Installed | Restored | Prune | BlockAccepted | Accuse | Guarded
)
"""Effects that the journal keeps."""


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
            ConfigError: of another chain, of another replica, of a newer version, or no journal at
                all.  One that was there once and is gone is made anew, and says so for ever.
        """
        born = path.with_name(path.name + ".born")
        self._path, self._lost = path, born.exists()
        self._prune = 0  # records through here go with the present transaction
        self._waits = True  # the next COMMIT, for the disk
        self.lags = False  # something written is not durable yet
        self._behind = 0  # transactions since the last that waited for the disk
        if rotten(path.with_name(path.name + "-wal"), BEHIND_MAX + 1):
            raise ConfigError(f"{path}-wal is damaged in its middle.  {FORGOTTEN}")
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # counts in a new file only
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(f"PRAGMA journal_size_limit={WAL_FILE_BYTES_MAX}")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._check_or_create(chain_id, replica_key)
            # What a torn write has left behind the log's end must not be there at the next start.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
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
        if version in range(1, SCHEMA_VERSION):
            self._connection.execute("BEGIN IMMEDIATE")
            for newer in range(version + 1, SCHEMA_VERSION + 1):
                self._connection.execute(_ADDED[newer])
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._connection.execute("COMMIT")
        elif version != SCHEMA_VERSION:
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
        if self._lost:
            self._write_forgotten(f"{self._path.name} was there once and is gone.  {FORGOTTEN}")
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def forget(self, reason: str) -> None:
        """Write down for ever that this replica has forgotten what it promised under its key.

        Raises:
            JournalError: the disk refused.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._write_forgotten(reason)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def note_epoch(self, noted: Noted) -> None:
        """Keep an epoch; what is known of it already is replaced.

        Raises:
            JournalError: the disk refused.
        """
        note = encode(noted)
        row = (noted.epoch, note, checksum(noted.epoch, note))
        try:
            self._connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?)", row)
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _write_forgotten(self, reason: str) -> None:
        row = ("forgotten", reason.encode())
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)

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
            self._wait_for_disk(True)
            self._connection.execute("BEGIN IMMEDIATE")
            for effect in effects:
                self._write(effect)
            if self.lags:  # a transaction that changes no page would sync nothing
                self._connection.execute(_SETTLE)
        except (sqlite3.Error, OSError) as error:
            raise self._refused(error) from error

    def write_behind(self, effects: Iterable[Durable]) -> None:
        """Everything in one transaction that becomes durable with the next that does.

        Readers see it at once, and the end of this process does not harm it; a power failure may
        undo it, from the newest transaction backwards.  Does not wait for the disk.
        Raises JournalError, as `commit`.
        """
        if self._behind == BEHIND_MAX:
            self.commit(effects)
            return
        try:
            self._wait_for_disk(False)
            self._connection.execute("BEGIN IMMEDIATE")
            for effect in effects:
                self._write(effect)
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise self._refused(error) from error
        self.lags = True
        self._behind += 1

    def _wait_for_disk(self, wait: bool) -> None:
        """Whether the next COMMIT waits for the disk, and may copy the log's pages back.

        A checkpoint of SQLite's write-ahead log syncs too, so those that do not wait make none.
        """
        if wait != self._waits:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if wait else 'NORMAL'}")
            pages = CHECKPOINT_PAGES if wait else 0
            self._connection.execute(f"PRAGMA wal_autocheckpoint={pages}").fetchone()
            self._waits = wait

    @property
    def is_heavy(self) -> bool:
        """Whether the next `sync` does more than wait for the disk."""
        return self._prune > 0

    def sync(self) -> None:
        """Make the transaction durable, and all before it.  Blocks.

        Raises JournalError, as `commit`.
        """
        try:
            prune, self._prune = self._prune, 0
            if prune:
                self._connection.execute("DELETE FROM wal WHERE lsn <= ?", (prune,))
                prune_guarded(self._connection)
            self._connection.execute("COMMIT")
            self.lags = False
            self._behind = 0
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
                self._save_state(sequence, state)
            case Installed():
                self._install(effect)
            case Restored():
                self._restore(effect)
            case Prune(up_to_lsn=lsn):
                self._prune = max(self._prune, lsn)
            case BlockAccepted(height=height, block_hash=block_hash, block=block):
                row_of_block = (block_hash, height, block)
                execute("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", row_of_block)
            case Guarded():
                write_guarded(self._connection, effect)
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

    def _save_state(self, sequence: int, state: bytes) -> None:
        row = (sequence, state, checksum(sequence, state))
        self._connection.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", row)
        self._connection.execute(
            "DELETE FROM states WHERE sequence NOT IN"
            " (SELECT sequence FROM states ORDER BY sequence DESC LIMIT ?)",
            (STATES_KEPT,),
        )

    def _install(self, installed: Installed) -> None:
        self._save_state(installed.sequence, installed.state)
        numbers = (installed.sequence, installed.end_index)
        base = (installed.base_sequence, installed.base)
        crc = gap_checksum(*numbers, installed.state_root, *base)
        row = (0, *numbers, installed.state_root, *base, crc)
        self._connection.execute("INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _restore(self, restored: Restored) -> None:
        self._append(restored.append)
        if restored.closed:
            self._connection.execute("DELETE FROM gap")
        elif restored.base is not None:
            last, end, root = self._connection.execute(
                "SELECT last_sequence, end_idx, root FROM gap"
            ).fetchone()
            base = (restored.append.sequence, restored.base)
            self._connection.execute(
                "UPDATE gap SET base_sequence = ?, base = ?, crc = ?",
                (*base, gap_checksum(last, end, root, *base)),
            )

    def recover(self) -> Recovery:
        """What was durable when the process ended, every row of it checked.

        Raises:
            ConfigError: damage; see FORGOTTEN.
        """
        return JournalCheck(self._path, self._connection).read()


def durable(effects: Iterable[Effect]) -> list[Durable]:
    """Those effects that the journal keeps, in order."""
    return [effect for effect in effects if isinstance(effect, Durable)]
