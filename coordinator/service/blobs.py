"""Artifacts by digest: model snapshots and updates.

Content-addressed through `obstore`; the local directory is the default, and an object store keeps
the same names.  Not trusted: every read is checked against its digest.
"""

import asyncio
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, FederationError

BLOB_BYTES_MAX = 256 * 1024 * 1024


class StorageFull(FederationError):
    """The operator's limit for artifacts is reached."""


def blob_path(digest: bytes) -> str:
    """Where the bytes with this digest stand, below the store's root."""
    name = digest.hex()
    return f"{name[:2]}/{name}"


class BlobStore:
    """One directory of artifacts.  One process uses it at a time."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        """`bytes_max`: all artifacts together."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._store = LocalStore(prefix=root)
        self._bytes_max = bytes_max
        self._puts: Counter[bytes] = Counter()  # under way, by digest
        for left_over in (*root.glob("*/*#*"), *root.glob("*/*.new")):
            left_over.unlink()  # written half when a process ended
        self._bytes = sum(
            int(entry["size"]) for page in obstore.list(self._store) for entry in page
        )
        self._reserved = 0  # by puts under way

    @property
    def bytes_stored(self) -> int:
        """Size of all artifacts."""
        return self._bytes

    async def put(self, data: bytes, digest: bytes | None = None) -> bytes:
        """Store `data` durably; its digest.  Storing it again changes nothing.

        Raises:
            DecodeError: `digest` is given and not that of `data`, or `data` is too long.
            StorageFull: it would not fit into the operator's limit.
        """
        if len(data) > BLOB_BYTES_MAX:
            raise DecodeError(f"{len(data)} bytes came; an artifact has at most {BLOB_BYTES_MAX}")
        found = await asyncio.to_thread(sha256, data)
        if digest is not None and found != digest:
            raise DecodeError(f"these bytes have digest {found.hex()}; {digest.hex()} expected")
        self._puts[found] += 1
        try:
            await self._put(found, data)
        finally:
            self._puts[found] -= 1
            if not self._puts[found]:
                del self._puts[found]
        return found

    async def _put(self, found: bytes, data: bytes) -> None:
        if await self.get(found) is not None:
            return
        if self._bytes + self._reserved + len(data) > self._bytes_max:
            raise StorageFull(f"{self._bytes} of {self._bytes_max} bytes of artifacts are used")
        self._reserved += len(data)
        try:
            await self._write(found, data)
        finally:
            self._reserved -= len(data)

    async def _write(self, digest: bytes, data: bytes) -> None:
        path = blob_path(digest)
        try:
            await obstore.put_async(self._store, path, data, mode="create")
        except AlreadyExistsError:
            # Two puts at once, or a damaged file: either way these are the right bytes.
            await obstore.put_async(self._store, path, data, mode="overwrite")
        else:
            self._bytes += len(data)
        await asyncio.to_thread(_sync, self._root / path)

    async def size(self, digest: bytes) -> int | None:
        """How long the artifact with this digest is; None when it is not here."""
        try:
            return int((await obstore.head_async(self._store, blob_path(digest)))["size"])
        except FileNotFoundError:
            return None

    async def digests(self) -> list[bytes]:
        """All artifacts that are here, in the order of their digests."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> list[bytes]:
        names = [entry["path"] for page in obstore.list(self._store) for entry in page]
        found = []
        for name in names:
            with suppress(ValueError):
                digest = bytes.fromhex(name.rpartition("/")[2])
                if name == blob_path(digest):
                    found.append(digest)
        return sorted(found)

    def remove(self, digest: bytes) -> bool:
        """Delete an artifact; False when it is not here, or somebody is storing it just now.

        At once, so that no `put` can find the artifact in between and lose it afterwards.

        Raises:
            OSError: the disk refused.
        """
        if digest in self._puts:
            return False
        path = self._root / blob_path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return False
        self._bytes -= size
        return True

    async def get(self, digest: bytes) -> bytes | None:
        """The bytes with this digest; None when they are not here (or damaged)."""
        try:
            answer = await obstore.get_async(self._store, blob_path(digest))
            data = bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        return data if await asyncio.to_thread(sha256, data) == digest else None


def _sync(path: Path) -> None:
    """Through to the disk: the file and the directories that name it."""
    for place in (path, path.parent, path.parent.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
