"""What a miner keeps on disk: updates before they are committed, certificates, models, events."""

import fcntl
import json
import logging
import os
import time
from pathlib import Path
from types import TracebackType

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError, DecodeError
from miner.actions import Update

EVENTS_BYTES_MAX = 16 * 1024 * 1024  # then the file starts anew; one old one is kept
MODELS_KEPT_MAX = 2
CERTIFICATES_TOLD_MAX = 100

log = logging.getLogger("gristmill.miner")


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """The file has exactly these bytes, whole and synced, or is as it was."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class HomeLock:
    """One agent to a home: two would train the same unit and commit to different updates."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._descriptor = -1

    def __enter__(self) -> "HomeLock":
        """Raises ConfigError: another agent runs in this home."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError(f"another miner runs in {self._path.parent}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)


class UnitStore:
    """Trained updates and their salts, until their cycle is settled."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "units"
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def bytes_path(self, cycle: int, unit: int) -> Path:
        """Where the trainer puts an update's bytes."""
        return self._directory / f"{cycle:012d}-{unit:08d}.update"

    def _record_path(self, cycle: int, unit: int) -> Path:
        return self.bytes_path(cycle, unit).with_suffix(".record")

    def keep(self, update: Update) -> None:
        """The bytes are there; what opens their commitment follows.  Durable on return."""
        path = self._record_path(update.cycle, update.unit)
        write_durably(path, encode(update), mode=0o600)

    def read(self, update: Update) -> bytes:
        """The update's bytes.  Raises DecodeError: missing, or others than were kept."""
        path = self.bytes_path(update.cycle, update.unit)
        data = path.read_bytes() if path.exists() else b""
        if sha256(data) != update.digest:
            raise DecodeError(f"{path} is not the update that was trained")
        return data

    def restore(self) -> tuple[Update, ...]:
        """All updates that are complete, by cycle and unit; damaged ones are told and left out."""
        found = []
        for path in sorted(self._directory.glob("*.record")):
            try:
                update = decode(Update, path.read_bytes())
                self.read(update)
            except DecodeError as error:
                log.warning("%s cannot be used: %s", path.name, error)
                continue
            found.append(update)
        return tuple(found)

    def forget(self, cycle: int) -> None:
        """Delete what is kept of one cycle."""
        for path in sorted(self._directory.glob(f"{cycle:012d}-*")):
            path.unlink(missing_ok=True)


class ModelCache:
    """Model snapshots by digest; only the newest are kept."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "cache"
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, digest: bytes) -> Path:
        """Where the snapshot is, or would be."""
        return self._directory / digest.hex()

    def holds(self, digest: bytes) -> bool:
        """Whether the snapshot is there and whole."""
        path = self.path(digest)
        return path.exists() and sha256(path.read_bytes()) == digest

    def put(self, data: bytes) -> Path:
        """Keep a snapshot; the oldest ones go."""
        path = self.path(sha256(data))
        write_durably(path, data)
        snapshots = sorted(self._directory.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
        for old in snapshots[:-MODELS_KEPT_MAX]:
            old.unlink(missing_ok=True)
        return path


class CertificateStore:
    """Contribution certificates as JSON, one file a cycle."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "certificates"
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def keep(self, cycle: int, document: dict[str, object]) -> str:
        """The file's name."""
        path = self._directory / f"{cycle:012d}.json"
        write_durably(path, json.dumps(document, indent=1).encode() + b"\n")
        return path.name

    def newest(self) -> list[dict[str, object]]:
        """The last ones, oldest first."""
        paths = sorted(self._directory.glob("*.json"))[-CERTIFICATES_TOLD_MAX:]
        return [json.loads(path.read_bytes()) for path in paths]


class EventFile:
    """What the miner did, for dashboards and for people with `tail -f`."""

    def __init__(self, home: Path) -> None:
        self._path = home / "events.jsonl"

    def write(self, event: str, fields: dict[str, int | float | str]) -> None:
        """Append one line, in one write, so that a reader never sees half of one for long."""
        line = {"at_ms": time.time_ns() // 1_000_000, "event": event, **fields}
        data = json.dumps(line).encode() + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        if size + len(data) > EVENTS_BYTES_MAX:
            os.replace(self._path, self._path.with_suffix(".jsonl.1"))

    def newest(self, count: int) -> list[dict[str, object]]:
        """The last whole lines, oldest first."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines[-count:]]
