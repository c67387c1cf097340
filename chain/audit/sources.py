"""Where a log comes from: a replica, a mirror of its files, a directory, an archive.

Edge: reads files and asks servers.  Nothing that comes is believed here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bft.errors import ConfigError, DecodeError, Unavailable
from bft.membership import Membership
from chain.audit.archive import open_archive
from chain.audit.fetch import FILE_BYTES_MAX, Missing, ReplicaLog
from chain.audit.mirror import Mirror, Read
from chain.records.federation import GENESIS_BYTES_MAX
from chain.tlog.checkpoint import decode_checkpoint
from chain.tlog.note import decode_note
from chain.tlog.tiles import CHECKPOINT


@dataclass(slots=True)
class Source:
    """One copy of a log."""

    name: str
    genesis: bytes
    entries: Iterator[bytes]
    checkpoint: bytes | None = None  # signed note
    read: Read | None = None  # a file of the published log
    mirror: Mirror | None = None  # where the entries come from the files
    from_entry: Callable[[int], Iterator[bytes]] | None = None  # the entries from an index on

    @property
    def checkpoint_size(self) -> int | None:
        """How many entries the checkpoint is about, if there is one that can be read."""
        if self.checkpoint is None:
            return None
        try:
            return decode_checkpoint(decode_note(self.checkpoint).text).size
        except DecodeError:
            return None

    def statements(self, memberships: Iterable[Membership]) -> dict[bytes, bytes]:
        """What members say about their log keys, by identity key; nothing is verified."""
        found: dict[bytes, bytes] = {}
        for key in {key for membership in memberships for key in membership.keys}:
            try:
                if self.read is not None:
                    found[key] = self.read(f"keys/{key.hex()}")
            except (Unavailable, DecodeError):
                continue
        return found


def open_url(url: str) -> Source:
    """A replica's copy, or that of a mirror of its files.

    Raises:
        ConfigError: no address.
        Unavailable: nobody answers there, or a mirror has no checkpoint.
        DecodeError: a mirror's checkpoint cannot be read.
    """
    log = ReplicaLog(url)
    genesis = log.genesis()
    if log.mirrors:
        return _mirror(log.url, genesis, log.file)
    try:
        checkpoint = log.file(CHECKPOINT)
    except Missing:
        checkpoint = None  # not yet
    return Source(log.url, genesis, log.entries(), checkpoint, log.file, from_entry=log.entries)


def open_directory(path: Path) -> Source:
    """The files of a log on this machine.

    Raises:
        ConfigError: there is no log in `path`.
    """

    def read(name: str) -> bytes:
        try:
            with (path / name).open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise Missing(f"{path / name}: {error.strerror}") from None
        if len(data) > FILE_BYTES_MAX:
            raise DecodeError(f"{path / name} is longer than {FILE_BYTES_MAX} bytes")
        return data

    try:
        genesis = read("genesis")[: GENESIS_BYTES_MAX + 1]
        return _mirror(str(path), genesis, read)
    except Missing as error:
        raise ConfigError(f"{path} holds no log in files: {error}") from None


def open_file(path: Path, file: BinaryIO) -> Source:
    """An archive that --save wrote.  Raises ConfigError: it is none."""
    genesis, entries = open_archive(file)
    return Source(str(path), genesis, entries)


def _mirror(name: str, genesis: bytes, read: Read) -> Source:
    checkpoint = read(CHECKPOINT)
    told = decode_checkpoint(decode_note(checkpoint).text)
    mirror = Mirror(told.size, told.root, read)
    return Source(name, genesis, mirror.entries(), checkpoint, read, mirror, mirror.entries)
