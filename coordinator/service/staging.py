"""Updates under way: their chunks, on the local disk until the artifact is whole.

One directory a cycle, below it one for each (miner, digest), so that nobody writes into another's;
in it one file a chunk, which is whole and synced or not there.  So an upload goes on after the
connection was cut, and after the process was killed.  What belongs to another cycle is deleted.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from bft.errors import Unavailable
from chain.federation import api
from coordinator.service.blobs import StorageFull

BUFFER_BYTES = 1024 * 1024  # of one upload, in memory
MINER_DIGITS = 16  # of a miner's key, in names
GIVEN_UP = "this upload was given up meanwhile; begin again"


class Upload(NamedTuple):
    """What one miner stores in one cycle."""

    cycle: int
    miner: bytes  # 33 bytes
    digest: bytes  # 32 bytes, of the whole
    size: int

    @property
    def chunks(self) -> int:
        """How many there are; all but the last have api.CHUNK_BYTES."""
        return -(-self.size // api.CHUNK_BYTES)

    def chunk_bytes(self, index: int) -> int:
        """The size of one of them."""
        return min(api.CHUNK_BYTES, self.size - index * api.CHUNK_BYTES)


class Received(NamedTuple):
    """What came for one chunk, and lies aside."""

    path: Path
    digest: bytes
    size: int


class Staging:
    """The directory.  One process uses it at a time."""

    def __init__(self, root: Path, room: Callable[[], int]) -> None:
        """`room`: how many bytes all uploads under way may have together just now."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root, self._room = root, room
        for left_over in root.glob("*/*/*.new"):
            left_over.unlink()  # written half when a process ended
        self._bytes = sum(path.stat().st_size for path in root.glob("*/*/*"))
        self._coming = 0  # bytes for which room is kept
        self._count = 0  # of names

    @property
    def bytes_staged(self) -> int:
        """Of all chunks that are here."""
        return self._bytes

    def _folder(self, upload: Upload) -> Path:
        name = f"{upload.digest.hex()}-{upload.miner.hex()[-MINER_DIGITS:]}"
        return self._root / str(upload.cycle) / name

    def _here(self, upload: Upload, index: int) -> bool:
        try:
            size = (self._folder(upload) / str(index)).stat().st_size
        except FileNotFoundError:
            return False
        return size == upload.chunk_bytes(index)

    def missing(self, upload: Upload) -> list[int]:
        """Which chunks are not here, ascending."""
        return [index for index in range(upload.chunks) if not self._here(upload, index)]

    def parts(self, upload: Upload) -> list[Path]:
        """The chunks' files, in their order."""
        return [self._folder(upload) / str(index) for index in range(upload.chunks)]

    async def receive(self, upload: Upload, index: int, body: AsyncIterator[bytes]) -> Received:
        """Write what comes for one chunk aside; `keep` or `forget` it then.

        Raises:
            StorageFull: there is no room for it.
            Unavailable: the upload was dropped while it came.
            Whatever `body` raises: nothing of it is left.
        """
        size = upload.chunk_bytes(index)
        if self._bytes + self._coming + size > self._room():
            raise StorageFull(f"{self._bytes} bytes of updates are under way already")
        self._coming += size
        self._count += 1
        path = self._folder(upload) / f"{index}.{self._count}.new"
        try:
            await asyncio.to_thread(path.parent.mkdir, 0o700, True, True)
            return Received(path, *await _write(path, body))
        except FileNotFoundError:
            raise Unavailable(GIVEN_UP) from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            self._coming -= size

    async def keep(self, upload: Upload, index: int, received: Received) -> None:
        """What was received is that chunk: durable when this returns.

        Raises:
            Unavailable: the upload was dropped while it came.
        """
        path = self._folder(upload) / str(index)
        try:
            self._bytes += await asyncio.to_thread(_move, received.path, path)
        except FileNotFoundError:
            raise Unavailable(GIVEN_UP) from None

    def forget(self, received: Received) -> None:
        """What was received is something else, or not all of it."""
        received.path.unlink(missing_ok=True)

    async def drop(self, upload: Upload) -> None:
        """Delete all chunks of one upload."""
        await self._delete(self._folder(upload))

    async def turn(self, cycle: int) -> None:
        """Delete all uploads of other cycles."""
        for folder in list(self._root.iterdir()):
            if folder.name != str(cycle):
                await self._delete(folder)

    async def _delete(self, folder: Path) -> None:
        self._bytes -= await asyncio.to_thread(_delete, folder)


async def _write(path: Path, body: AsyncIterator[bytes]) -> tuple[bytes, int]:
    """All of `body` into a new file, synced; its SHA-256 and size."""
    hashed, buffer, size = hashlib.sha256(), bytearray(), 0
    with path.open("wb") as file:

        def flush() -> None:
            hashed.update(buffer)
            file.write(buffer)

        async for part in body:
            buffer += part
            size += len(part)
            if len(buffer) >= BUFFER_BYTES:
                await asyncio.to_thread(flush)
                buffer.clear()
        await asyncio.to_thread(flush)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return hashed.digest(), size


def _move(source: Path, target: Path) -> int:
    """Rename durably; how many bytes there are more than before."""
    before = target.stat().st_size if target.exists() else 0
    source.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return target.stat().st_size - before


def _delete(folder: Path) -> int:
    """Delete a directory; how many bytes of chunks stood in it."""
    kept = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".new")
    size = sum(path.stat().st_size for path in kept)
    shutil.rmtree(folder, ignore_errors=True)
    return size
