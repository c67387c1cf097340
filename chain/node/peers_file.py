"""The address book on disk: one small file, replaced as a whole, so that kill -9 leaves the old or
the new one.

Trusted, as chain.sqlite beside it.  Its loss costs nothing but what this node knew of others.
"""

import secrets
from pathlib import Path

from bft.errors import ConfigError, DecodeError
from chain.durable import write_whole
from chain.peers.book import SECRET_BYTES, AddressBook
from chain.peers.kept import KEPT_BYTES_MAX, decode_book, encode_book
from chain.records.peer_address import PeerAddress, parse_address

PEERS_NAME = "peers.json"  # in a node's home
SAVE_EVERY_MS = 15 * 60_000
SAVE_TRIED_MS = 2_000  # after somebody new has answered


class PeersFile:
    """Reads it once, writes it again and again."""

    def __init__(self, home: Path, now_s: int) -> None:
        """Raises ConfigError: unreadable, or damaged."""
        self._path = home / PEERS_NAME
        self.book, self.anchors = self._load(now_s)
        self._saved_ms, self._changes = now_s * 1000, self.book.changes

    def _load(self, now_s: int) -> tuple[AddressBook, tuple[PeerAddress, ...]]:
        try:
            with self._path.open("rb") as file:
                data = file.read(KEPT_BYTES_MAX + 1)
        except FileNotFoundError:
            return AddressBook(secrets.token_bytes(SECRET_BYTES), now_s), ()
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from None
        try:
            if len(data) > KEPT_BYTES_MAX:
                raise DecodeError(f"more than {KEPT_BYTES_MAX} bytes")
            book, anchors = decode_book(data, now_s)
        except DecodeError as error:
            raise ConfigError(f"{self._path}: {error}; remove it") from None
        found = (parse_address(anchor) for anchor in anchors)
        return book, tuple(anchor for anchor in found if anchor is not None)

    def is_due(self, now_ms: int) -> bool:
        """Whether there is something that should not be lost."""
        passed = now_ms - self._saved_ms
        return passed >= SAVE_EVERY_MS or (
            self.book.changes != self._changes and passed >= SAVE_TRIED_MS
        )

    def bytes_now(self, now_ms: int, anchors: list[PeerAddress]) -> bytes:
        """What `write` is to put on disk."""
        self._saved_ms, self._changes = now_ms, self.book.changes
        return encode_book(self.book, [str(anchor) for anchor in anchors])

    def write(self, data: bytes) -> None:
        """On disk when this returns.  Raises OSError."""
        write_whole(self._path, data)
