"""A whole score log in one file: the genesis record, then the entries, each behind its length.

Nothing in the file is trusted: it is what an auditor keeps or sends on, and audits again.
Layout: MAGIC, then frames of 4 big-endian bytes of length and so many bytes; the first frame holds
the encoded genesis record, each later one an encoded LogEntry.
Pure: callers open the files.
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from bft.errors import ConfigError
from chain.audit.replay import LOG_ENTRY_BYTES_MAX
from chain.records.federation import GENESIS_BYTES_MAX

MAGIC = b"gristmill-log/1\n"
"""Name and version of the layout."""
LENGTH_BYTES = 4


def frame(data: bytes) -> bytes:
    """One frame of the file."""
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def start_archive(file: BinaryIO, genesis: bytes) -> None:
    """Write what stands before the entries."""
    file.write(MAGIC + frame(genesis))


def saved(file: BinaryIO, entries: Iterable[bytes]) -> Iterator[bytes]:
    """The same entries, each written to the archive as it passes."""
    for entry in entries:
        file.write(frame(entry))
        yield entry


def open_archive(file: BinaryIO) -> tuple[bytes, Iterator[bytes]]:
    """(encoded genesis record, encoded entries); the entries are read as they are asked for.

    Raises:
        ConfigError: no archive, or one that ends within the genesis record.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise ConfigError(f"not an archive of a score log: it does not begin with {MAGIC!r}")
    genesis = _read_frame(file, GENESIS_BYTES_MAX)
    if not genesis:
        raise ConfigError("the archive ends within its genesis record, or that is too long")
    return genesis, _entries(file)


def _entries(file: BinaryIO) -> Iterator[bytes]:
    """A frame that is cut off or too long comes out empty, so that the audit names its entry."""
    while True:
        entry = _read_frame(file, LOG_ENTRY_BYTES_MAX)
        if entry is None:
            return
        yield entry
        if not entry:
            return


def _read_frame(file: BinaryIO, bytes_max: int) -> bytes | None:
    """The next frame; empty if it is cut off or too long; None at the end of the file."""
    length = file.read(LENGTH_BYTES)
    if not length:
        return None
    size = int.from_bytes(length, "big")
    if len(length) < LENGTH_BYTES or size > bytes_max:
        return b""
    data = file.read(size)
    return data if len(data) == size else b""
