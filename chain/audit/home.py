"""What an auditor keeps between two audits: the log as far as it came, and what was seen last.

Edge.  Layout: `log.grist`, an archive that grows; `seen.json`, size and root of the last log that
passed.  An audit that is interrupted goes on with the entry after the last one that is here.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bft.errors import ConfigError
from chain.audit.archive import LENGTH_BYTES, frame, open_archive, start_archive
from chain.audit.findings import Finding, Severity
from chain.audit.replay import LOG_ENTRY_BYTES_MAX, Auditor

ARCHIVE = "log.grist"
SEEN = "seen.json"
SEEN_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Seen:
    """A log that passed."""

    chain_id: bytes
    size: int
    root: bytes


class AuditHome:
    """A directory of one auditor for one chain.  One process at a time."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError: it cannot be used, another process uses it, or it is damaged."""
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = (path / ARCHIVE).open("a+b")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ConfigError(f"{path} is held by another audit") from None
        try:
            self.seen = self._read_seen()
            self.held = self._count()  # entries that are here
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of it; everything that was kept is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def begin(self, genesis: bytes) -> Iterator[bytes]:
        """The entries that are here.

        Raises:
            ConfigError: they are of another chain than `genesis`.
        """
        self._file.seek(0)
        if not self._file.read(1):
            start_archive(self._file, genesis)
            self._file.flush()
            return iter(())
        self._file.seek(0)
        kept, entries = open_archive(self._file)
        if kept != genesis:
            raise ConfigError(f"{self.path} holds the log of another chain; name another directory")
        return self._first(entries)

    def _first(self, entries: Iterator[bytes]) -> Iterator[bytes]:
        for _ in range(self.held):
            yield next(entries)

    def kept(self, entries: Iterator[bytes]) -> Iterator[bytes]:
        """The same entries, each kept as it passes; they follow those that are here."""
        for entry in entries:
            self._file.write(frame(entry))  # opened for appending
            yield entry

    def compare(self, auditor: Auditor, entries: int) -> list[Finding]:
        """What does not go on from the log that was seen last."""
        if self.seen is None:
            return []
        if entries < self.seen.size:
            text = (
                f"the log ends after {entries} entries; when you last audited it, it had "
                f"{self.seen.size}"
            )
            return [_finding(entries, "shorter", text)]
        root = auditor.roots.at(self.seen.size)
        if root == self.seen.root:
            return []
        text = (
            f"when you last audited this log, its first {self.seen.size} entries had root "
            f"{self.seen.root.hex()[:16]}; now they have {root.hex()[:16] if root else 'none'}"
        )
        return [_finding(self.seen.size, "rewritten", text)]

    def note(self, seen: Seen) -> None:
        """This log passed."""
        told = {"chain_id": seen.chain_id.hex(), "size": seen.size, "root": seen.root.hex()}
        beside = self.path / (SEEN + ".new")
        with beside.open("w", encoding="ascii") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path / SEEN)

    def _read_seen(self) -> Seen | None:
        path = self.path / SEEN
        if not path.exists():
            return None
        try:
            with path.open("rb") as file:
                told = json.loads(file.read(SEEN_BYTES_MAX))
            chain_id, root = bytes.fromhex(told["chain_id"]), bytes.fromhex(told["root"])
            return Seen(chain_id, int(told["size"]), root)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is damaged: {error}") from None

    def _count(self) -> int:
        """Whole frames after the genesis record; a frame that was cut off is dropped."""
        file = self._file
        file.seek(0, os.SEEK_END)
        end = file.tell()
        if not end:
            return 0
        file.seek(0)
        open_archive(file)
        count, place = 0, file.tell()
        while True:
            file.seek(place)
            head = file.read(LENGTH_BYTES)
            size = int.from_bytes(head, "big")
            if len(head) < LENGTH_BYTES or size > LOG_ENTRY_BYTES_MAX:
                break
            if place + LENGTH_BYTES + size > end:
                break
            place += LENGTH_BYTES + size
            count += 1
        file.truncate(place)
        return count


def _finding(size: int, rule: str, text: str) -> Finding:
    return Finding(
        severity=Severity.BROKEN, entry=max(0, size - 1), sequence=0, cycle=0, rule=rule, text=text
    )
