"""What an auditor keeps between two audits: the log as far as it came, and what was seen last.

Edge.  Layout: `log.grist`, an archive that grows; `seen.json`, size and root of the last log that
passed; `bookmark.grist`, the auditor's state (chain/audit/bookmark.py).  An audit that is
interrupted fetches from the entry after the last one that is here, and replays from the bookmark.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bft.errors import ConfigError
from chain.audit.archive import LENGTH_BYTES, frame, open_archive, start_archive
from chain.audit.bookmark import Bookmark
from chain.audit.bookmark_file import BookmarkFile
from chain.audit.findings import Finding
from chain.audit.onward import Seen, rewritten, shorter
from chain.audit.replay import LOG_ENTRY_BYTES_MAX, Auditor
from chain.audit.split import leaf_of
from chain.durable import write_whole
from chain.records.score_log import entry_hash

ARCHIVE = "log.grist"
SEEN = "seen.json"
LOCK = "lock"
SEEN_BYTES_MAX = 4096


class AuditHome:
    """A directory of one auditor for one chain.  One process at a time."""

    def __init__(self, path: Path, *, archive: bool = True) -> None:
        """`archive`: whether the log is kept.

        Raises:
            ConfigError: it cannot be used, another process uses it, or it is damaged.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock: BinaryIO = (path / LOCK).open("ab")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        self._file: BinaryIO | None = None
        try:
            self._take(archive)
            self.seen = self._read_seen()
            self.held, self._last = self._count()  # entries that are here; place of the last
        except BaseException:
            self.close()
            raise
        self.bookmark_file = BookmarkFile(path)

    def _take(self, archive: bool) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"{self.path} is held by another audit") from None
        log = self.path / ARCHIVE
        if archive:
            try:
                self._file = log.open("a+b")
            except OSError as error:
                raise ConfigError(f"{log}: {error.strerror}") from None
        elif log.exists():
            text = "name another directory for --no-archive, or remove it"
            raise ConfigError(f"{log} keeps the log; {text}")

    def close(self) -> None:
        """Let go of it; everything that was kept is on the disk."""
        self.sync()
        if self._file is not None:
            self._file.close()
        self._lock.close()

    def sync(self) -> None:
        """Everything that was kept is on the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def begin(self, genesis: bytes) -> None:
        """Raises ConfigError: the log that is here is of another chain than `genesis`."""
        if self._file is None:
            return
        self._file.seek(0)
        if not self._file.read(1):
            start_archive(self._file, genesis)
            self._file.flush()
            return
        self._file.seek(0)
        kept, _ = open_archive(self._file)
        if kept != genesis:
            raise ConfigError(f"{self.path} holds the log of another chain; name another directory")

    def bookmark(self, chain_id: bytes) -> Bookmark | None:
        """Where an audit of this chain can go on; else `bookmark_file.refused` says why not."""
        try:
            found = self.bookmark_file.read(chain_id)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from None
        if found is None:
            return None
        size = found.walk.entries
        if self._file is not None and size > self.held:
            why = f"{size} entries lie behind it; {self.held} are in {ARCHIVE}"
            self.bookmark_file.refuse(why)
            return None
        if self.seen is None or size > self.seen.size:
            self.seen = Seen(chain_id, size, found.root)  # it was written where it had gone on
        return found

    def entries(self, first: int) -> Iterator[bytes]:
        """Those that are here, from `first` on."""
        if self._file is None:
            return
        self._file.seek(0)
        open_archive(self._file)
        for index in range(self.held):
            size = int.from_bytes(self._file.read(LENGTH_BYTES), "big")
            if index < first:
                self._file.seek(size, os.SEEK_CUR)
            else:
                yield self._file.read(size)

    def last_leaf(self) -> bytes | None:
        """Hash of the leaf of the last entry that is here."""
        if self._file is None or not self.held:
            return None
        self._file.seek(self._last)
        size = int.from_bytes(self._file.read(LENGTH_BYTES), "big")
        return entry_hash(leaf_of(self._file.read(size)))

    def kept(self, entries: Iterator[bytes]) -> Iterator[bytes]:
        """The same entries, each kept as it passes; they follow those that are here."""
        for entry in entries:
            if self._file is not None:
                self._file.write(frame(entry))  # opened for appending
            yield entry

    def agrees(self, auditor: Auditor) -> bool:
        """Whether the log so far goes on from the one that was seen last, if it is as long."""
        seen, newest = self.seen, auditor.roots.newest
        if seen is None or newest is None or newest.size < seen.size:
            return True
        return auditor.roots.at(seen.size) == seen.root

    def compare(self, auditor: Auditor, entries: int) -> list[Finding]:
        """What does not go on from the log that was seen last."""
        if self.seen is None:
            return []
        if entries < self.seen.size:
            return [shorter(entries, self.seen)]
        if self.agrees(auditor):
            return []
        return [rewritten(self.seen, auditor.roots.at(self.seen.size))]

    def forget(self, entry: int) -> int | None:
        """An entry does not follow: keep only what lies behind the bookmark, if that is before it.

        Returns the number of entries that are left; None where no log is kept.
        """
        if self.bookmark_file.size > entry:
            self.bookmark_file.remove()
        if self._file is None:
            return None
        self.sync()
        self._file.seek(0)
        open_archive(self._file)
        for _ in range(self.bookmark_file.size):
            size = int.from_bytes(self._file.read(LENGTH_BYTES), "big")
            self._file.seek(size, os.SEEK_CUR)
        self._file.truncate(self._file.tell())
        return self.bookmark_file.size

    def note(self, seen: Seen) -> None:
        """This log passed."""
        told = {"chain_id": seen.chain_id.hex(), "size": seen.size, "root": seen.root.hex()}
        write_whole(self.path / SEEN, json.dumps(told).encode(), 0o644)

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

    def _count(self) -> tuple[int, int]:
        """(whole frames after the genesis record, place of the last); a part of one is dropped."""
        file = self._file
        if file is None:
            return 0, 0
        file.seek(0, os.SEEK_END)
        end = file.tell()
        if not end:
            return 0, 0
        file.seek(0)
        open_archive(file)
        count, last, place = 0, 0, file.tell()
        while True:
            file.seek(place)
            head = file.read(LENGTH_BYTES)
            size = int.from_bytes(head, "big")
            if len(head) < LENGTH_BYTES or size > LOG_ENTRY_BYTES_MAX:
                break
            if place + LENGTH_BYTES + size > end:
                break
            last, place = place, place + LENGTH_BYTES + size
            count += 1
        file.truncate(place)
        return count, last
