"""A bookmark on disk: written whole or not at all, read strictly, of no use to another release.

Edge.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bft.errors import DecodeError
from chain.audit.bookmark import (
    BOOKMARK_BYTES_MAX,
    DATE_BYTES_MAX,
    Bookmark,
    BookmarkTooLong,
    decode_bookmark,
    encode_bookmark,
)
from chain.audit.replay import Auditor
from chain.durable import write_whole
from chain.release import release

BOOKMARK = "bookmark.grist"
BOOKMARK_CYCLES = 100
"""So many cycles of a long audit are replayed again at most after an interruption."""


class BookmarkFile:
    """The one bookmark of an auditor's directory."""

    def __init__(self, path: Path) -> None:
        self._path = path / BOOKMARK
        self.size = 0  # entries behind the one that is here, once it was read or written
        self.refused = ""  # why the one that is here does not serve

    def read(self, chain_id: bytes) -> Bookmark | None:
        """The one that is here, if it is of this chain and this release; else `refused` says why.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                data = file.read(BOOKMARK_BYTES_MAX + DATE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        try:
            bookmark = decode_bookmark(data)
        except DecodeError as error:
            self.refused = str(error)
            return None
        written = bookmark.release.decode(errors="replace")
        if bookmark.chain_id != chain_id:
            self.refused = f"it is of chain {bookmark.chain_id.hex()}"
        elif written != release():
            self.refused = f"release {written} wrote it; this is {release()}"
        if self.refused:
            return None
        self.size = bookmark.walk.entries
        return bookmark

    def refuse(self, why: str) -> None:
        """The one that was read does not serve."""
        self.size, self.refused = 0, why

    def remove(self) -> None:
        """There is none any more."""
        self._path.unlink(missing_ok=True)
        self.size = 0

    def write(self, auditor: Auditor, *, passed: bool) -> None:
        """In place of the one that is here; nothing if the state is too long to keep."""
        newest = auditor.roots.newest
        assert newest is not None
        bookmark = Bookmark(
            chain_id=auditor.chain_id,
            release=release().encode(),
            audited=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()).encode(),
            passed=int(passed),
            root=newest.root(),
            walk=auditor.walk(),
        )
        try:
            data = encode_bookmark(bookmark)
        except BookmarkTooLong:
            return
        write_whole(self._path, data, 0o644)
        self.size = bookmark.walk.entries


class Durable(Protocol):
    """What a bookmark lies in."""

    def sync(self) -> None:
        """Bring to the disk what has been kept so far."""


class Saving:
    """Writes a bookmark now and then, so that an interrupted audit is not replayed as a whole."""

    def __init__(
        self,
        file: BookmarkFile,
        auditor: Auditor,
        log: Durable,
        clean: Callable[[], bool],
        every: int,
    ) -> None:
        """Args:
        clean: whether all is well that the auditor does not see.
        every: cycles.
        """
        self._file, self._auditor, self._log = file, auditor, log
        self._clean, self._every = clean, every
        self._cycle = auditor.cycle

    def after_entry(self) -> None:
        """The auditor has taken one more entry."""
        auditor = self._auditor
        if auditor.cycle - self._cycle >= self._every and auditor.resumable and self._clean():
            self._cycle = auditor.cycle
            self._log.sync()
            self._file.write(auditor, passed=False)
