"""Where the bounds of what a key may sign are kept: a file of its own, locked while in use.

Apart from the journal on purpose, and it may stand on another disk: an old copy of a journal that
is put back does not match it any more.  One SQLite file, synchronous=FULL: what `raise_to` was
given is on the disk when it returns.
"""

import fcntl
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from bft.errors import ConfigError, FederationError
from chain.durable import sync_directory
from coordinator.guard.rules import Reservation
from coordinator.guard.text import read_memory, write_memory

APPLICATION_ID = 0x47524744  # "GRGD", in the file's header
SCHEMA_VERSION = 1
REFUSALS_KEPT = 1_000
LOCK_SUFFIX = ".lock"
ID_BYTES = 16

_SCHEMA = (
    "CREATE TABLE memory (what TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE refusals (number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL,"
    " code TEXT NOT NULL, text TEXT NOT NULL)",
)
_ID, _RESERVED, _INHERITED = "id", "reserved", "inherited"
_CLOSED, _CLUSTER, _SINCE = "closed", "cluster", "since"
_SECOND = "second"


class GuardError(FederationError):
    """The bounds could not be raised: nothing may be signed beyond them, and the replica stops."""


class Fenced(GuardError):
    """Another process holds the key now."""


class GuardStore(Protocol):
    """What keeps the bounds."""

    @property
    def reservation(self) -> Reservation:
        """The bounds in force."""

    def raise_to(self, reservation: Reservation) -> None:
        """Make higher bounds durable.  Blocks.

        Raises:
            GuardError: they are not, or nobody knows whether they are.
        """


class Refusal(NamedTuple):
    """One signature that was asked for and refused."""

    at_ms: int  # wall clock
    code: str
    text: str


class Seen(NamedTuple):
    """A guard as somebody sees it who does not hold it."""

    id: str
    reservation: Reservation
    inherited: Reservation
    closed: str | None
    refusals: tuple[int, tuple[Refusal, ...]]  # how many ever, and the newest, newest first


class SqliteGuard:
    """The embedded store.  Close it."""

    def __init__(
        self,
        path: Path,
        public_key: bytes,
        *,
        create: bool = False,
        hold: bool = True,
        second: bool = False,
    ) -> None:
        """Open, and hold the lock until `close`.

        Args:
            create: make a new one where none is, for a key that was never used.
            second: with `create`: for a key that another process uses; see `second`.
            hold: False to look only, beside the process that holds it.

        Raises:
            ConfigError: held by another process, missing, already there, damaged, or of another
                key.
        """
        self._path, self._public_key = path, public_key
        self._busy = threading.Lock()
        if create and path.exists():
            raise ConfigError(f"{path} exists; a guard's memory is never overwritten")
        if not create and not path.is_file():
            raise ConfigError(f"{path} is missing.  {advice(path)}")
        self._lock = _hold(path) if hold else None
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA synchronous=FULL")
            if create:
                self._create(second)
            self._check()
            self._reserved = self._read(_RESERVED)
        except sqlite3.Error as error:
            self.close()
            raise ConfigError(f"{path}: {error}.  {advice(path)}") from None
        except ConfigError:
            self.close()
            raise

    def _create(self, second: bool) -> None:
        os.chmod(self._path, 0o600)
        with self._transaction():
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._write(_ID, secrets.token_hex(ID_BYTES).encode())
            self._write(_RESERVED, write_memory(self._public_key, Reservation()))
            self._write(_INHERITED, write_memory(self._public_key, Reservation()))
            if second:
                self._write(_SECOND, b"1")
        sync_directory(self._path.parent)

    def _check(self) -> None:
        found = self._connection.execute("PRAGMA application_id").fetchone()[0]
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if (found, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise ConfigError(f"{self._path} is no guard of version {SCHEMA_VERSION}")
        damage = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise ConfigError(f"{self._path}: {damage}.  {advice(self._path)}")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)

    @property
    def public_key(self) -> bytes:
        """Whose memory it is; 33 bytes."""
        return self._public_key

    @property
    def id(self) -> str:
        """Names this file among the holders of one key; 32 hex digits, made with the file."""
        found = self._data(_ID)
        assert found is not None
        return found.decode()

    @property
    def reservation(self) -> Reservation:
        """The bounds in force."""
        return self._reserved

    @property
    def inherited(self) -> Reservation:
        """What others that held this key may have signed."""
        return self._read(_INHERITED)

    @property
    def second(self) -> bool:
        """Whether it was made for a standby: it signs nothing before it knows others' bounds."""
        return self._data(_SECOND) is not None

    @property
    def closed(self) -> str | None:
        """Why this guard lets nothing be signed any more, if so."""
        found = self._data(_CLOSED)
        return None if found is None else found.decode("utf-8", "replace")

    @property
    def cluster(self) -> tuple[int, int] | None:
        """etcd's cluster id and the highest revision seen of it, where etcd is used."""
        found = self._data(_CLUSTER)
        if found is None:
            return None
        cluster, _, revision = found.decode().partition(" ")
        return int(cluster), int(revision)

    def saw_cluster(self, cluster: int, revision: int) -> None:
        """Remember how far etcd has come.  Raises GuardError."""
        with self._durable():
            self._write(_CLUSTER, b"%d %d" % (cluster, revision))

    def raise_to(self, reservation: Reservation) -> None:
        """See GuardStore."""
        assert reservation.number > self._reserved.number
        with self._durable():
            self._write(_RESERVED, write_memory(self._public_key, reservation))
        self._reserved = reservation

    @property
    def since(self) -> int:
        """Number of the bounds when something was inherited last: older journals do not count."""
        found = self._data(_SINCE)
        return 0 if found is None else int(found)

    def inherit(self, reservation: Reservation) -> None:
        """From now on sign nothing that is within `reservation` either.  Raises GuardError."""
        merged = self.inherited.merged(reservation)
        reserved = self._reserved.merged(reservation)
        with self._durable():
            self._write(_INHERITED, write_memory(self._public_key, merged))
            self._write(_RESERVED, write_memory(self._public_key, reserved))
            self._write(_SINCE, b"%d" % reserved.number)
        self._reserved = reserved

    def shut(self, reason: str) -> None:
        """Sign nothing here any more.  Raises GuardError."""
        with self._durable():
            self._write(_CLOSED, reason.encode())

    def reopen(self) -> None:
        """Take `shut` back.  Raises GuardError."""
        with self._durable():
            self._connection.execute("DELETE FROM memory WHERE what = ?", (_CLOSED,))

    def refuse(self, code: str, text: str) -> None:
        """Count a signature that was refused; the newest ones are kept.  Raises GuardError."""
        row = (time.time_ns() // 1_000_000, code, text)
        with self._durable():
            self._connection.execute(
                "INSERT INTO refusals (at_ms, code, text) VALUES (?, ?, ?)", row
            )
            self._connection.execute(
                "DELETE FROM refusals WHERE number <= (SELECT max(number) FROM refusals) - ?",
                (REFUSALS_KEPT,),
            )

    def refusals(self) -> tuple[int, tuple[Refusal, ...]]:
        """How many there were ever, and the newest, newest first."""
        rows = self._connection.execute(
            "SELECT number, at_ms, code, text FROM refusals ORDER BY number DESC"
        ).fetchall()
        return (rows[0][0] if rows else 0), tuple(Refusal(*row[1:]) for row in rows)

    # Rows.

    def _read(self, what: str) -> Reservation:
        data = self._data(what)
        if data is None:
            raise ConfigError(f"{self._path}: no row {what!r}.  {advice(self._path)}")
        return read_memory(data, self._public_key, str(self._path))

    def _data(self, what: str) -> bytes | None:
        query = "SELECT data FROM memory WHERE what = ?"
        row = self._connection.execute(query, (what,)).fetchone()
        return None if row is None else bytes(row[0])

    def _write(self, what: str, data: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (what, data))

    @contextmanager
    def _durable(self) -> Iterator[None]:
        try:
            with self._busy, self._transaction():
                yield
        except (sqlite3.Error, OSError) as error:
            raise GuardError(f"{self._path}: {error}; nothing more was signed") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def peek(path: Path, public_key: bytes) -> Seen:
    """A guard that another process may hold.  Raises ConfigError, as SqliteGuard."""
    guard = SqliteGuard(path, public_key, hold=False)
    try:
        return Seen(guard.id, guard.reservation, guard.inherited, guard.closed, guard.refusals())
    finally:
        guard.close()


def advice(path: Path) -> str:
    """What to do when the guard's memory is not there."""
    return (
        f"Without {path.name} nobody knows what this key has signed, so it signs nothing.  Put "
        "back the newest one, bring an export (`gristmill operator guard import`), or see "
        "`gristmill operator guard reset --help`"
    )


def _hold(path: Path) -> int:
    lock = path.with_name(path.name + LOCK_SUFFIX)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(f"{lock} is held: another process signs with this key") from None
    return descriptor
