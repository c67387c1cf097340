"""Artifacts by digest: model snapshots and updates.

Content-addressed through `obstore`; the local directory is the default, and an object store (S3)
keeps the same names.  Not trusted: every read is checked against its digest.  What is not in the
object store is looked for in the directory, so a replica may change from one to the other.
See docs/adr/0017-artifacts-in-object-stores.md.
"""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, FederationError, Unavailable

BLOB_BYTES_MAX = 256 * 1024 * 1024  # of what is held whole in memory
ARTIFACT_BYTES_MAX = 2 * 1024**3  # of what comes in files and leaves in pieces
PIECE_BYTES = 8 * 1024 * 1024
PIECES_AT_ONCE = 2  # of one artifact, on their way to the store
QUICK_BYTES = 64 * 1024  # hashed faster than another thread could be asked to
TOLD_CHARS_MAX = 300  # of what a store says about a failure

T = TypeVar("T")


class StorageFull(FederationError):
    """The operator's limit for artifacts is reached."""


def blob_path(digest: bytes) -> str:
    """Where the bytes with this digest stand, below the store's root."""
    name = digest.hex()
    return f"{name[:2]}/{name}"


class BlobStore:
    """One directory of artifacts, or one prefix of an object store.  One process at a time.

    Whatever visits the store raises Unavailable when an object store (or the disk) does not do what
    it is asked: nothing was stored then, or nobody was told that it was.
    """

    def __init__(self, root: Path, bytes_max: int, remote: ObjectStore | None = None) -> None:
        """Args:
        root: the local directory.
        bytes_max: all artifacts together.
        remote: where artifacts are kept instead; it need not answer yet.
        """
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for first in range(256):
            (root / f"{first:02x}").mkdir(mode=0o700, exist_ok=True)
        _sync(root)  # once, and not with every artifact
        self._root = root
        self._local = LocalStore(prefix=root)
        self._store: ObjectStore = self._local if remote is None else remote
        self._stores = (self._local,) if remote is None else (remote, self._local)
        self._bytes_max = bytes_max
        self._removed: dict[bytes, asyncio.Event] = {}  # set when the deletion has ended
        self._puts: Counter[bytes] = Counter()  # under way, by digest
        for left_over in (*root.glob("*/*#*"), *root.glob("*/*.new")):
            left_over.unlink()  # written half when a process ended
        self._bytes = self._count() if remote is None else 0
        self._counted = remote is None
        self._reserved = 0  # by puts under way
        self.up = True  # whether the store did what it was asked last

    @property
    def bytes_stored(self) -> int:
        """Size of all artifacts, as far as they were counted: see `count`."""
        return self._bytes

    async def count(self) -> None:
        """Learn how much stands in an object store, once.  Raises Unavailable."""
        if not self._counted:
            found = await self._visit(self._count)
            if not self._counted:  # else another put has counted, and perhaps stored
                self._counted, self._bytes = True, found

    def _count(self) -> int:
        return sum(int(entry["size"]) for page in obstore.list(self._store) for entry in page)

    async def _visit(self, ask: Callable[..., T], *arguments: Any) -> T:
        """`ask` in a thread.  Raises Unavailable, and what `ask` raises itself."""
        try:
            found = await asyncio.to_thread(ask, *arguments)
        except BaseError as error:
            self.up = False
            told = " ".join(str(error).partition("Debug source")[0].split())[:TOLD_CHARS_MAX]
            raise Unavailable(f"the artifact store does not do what it is asked: {told}") from None
        self.up = True
        return found

    async def put(self, data: bytes, digest: bytes | None = None) -> bytes:
        """Store `data` durably; its digest.  Storing it again changes nothing.

        Raises:
            DecodeError: `digest` is given and not that of `data`, or `data` is too long.
            StorageFull: it would not fit into the operator's limit.
        """
        if len(data) > BLOB_BYTES_MAX:
            raise DecodeError(f"{len(data)} bytes came; an artifact has at most {BLOB_BYTES_MAX}")
        found = sha256(data) if len(data) <= QUICK_BYTES else await asyncio.to_thread(sha256, data)
        if digest is not None and found != digest:
            raise DecodeError(f"these bytes have digest {found.hex()}; {digest.hex()} expected")
        await self._put({found: data}, durable=True)
        return found

    async def keep(self, found: Mapping[bytes, bytes]) -> None:
        """Store what peers gave, by digests that are known to be right, without waiting for a disk.

        Nobody has a promise of ours for these bytes, and peers have them: what a power cut takes is
        fetched again.

        Raises:
            StorageFull: they would not fit into the operator's limit; none of them is stored.
        """
        await self._put(found, durable=False)

    async def _put(self, blobs: Mapping[bytes, bytes], durable: bool) -> None:
        """All work with the disk is one visit to another thread."""
        if not blobs:
            return
        await self.count()
        await self._spared(blobs)
        with self._under_way(blobs, sum(map(len, blobs.values()))) as left:
            self._bytes += await self._visit(self._write, blobs, left, durable)

    async def _spared(self, digests: Collection[bytes]) -> None:
        """Wait until none of these is being deleted: what is put now must stay."""
        while ends := [self._removed[digest] for digest in digests if digest in self._removed]:
            await ends[0].wait()

    @contextmanager
    def _under_way(self, digests: Collection[bytes], size: int) -> Iterator[int]:
        """While these are being stored: how many bytes they may have at most."""
        self._puts.update(list(digests))
        self._reserved += size
        try:
            yield self._bytes_max - self._bytes - self._reserved + size
        finally:
            self._reserved -= size
            for digest in digests:
                self._puts[digest] -= 1
                if not self._puts[digest]:
                    del self._puts[digest]

    async def put_files(self, digest: bytes, size: int, parts: Sequence[Path]) -> None:
        """Store what stands in these files, one after the other, durably and without holding it.

        Raises:
            DecodeError: it is not `size` bytes with this digest, or an artifact may not be so long.
            StorageFull: it would not fit into the operator's limit.
        """
        if size > ARTIFACT_BYTES_MAX:
            raise DecodeError(f"{size} bytes; an artifact has at most {ARTIFACT_BYTES_MAX}")
        await self.count()
        await self._spared((digest,))
        with self._under_way((digest,), size) as left:
            self._bytes += await self._visit(self._write_files, digest, size, parts, left)

    def _write_files(self, digest: bytes, size: int, parts: Sequence[Path], left: int) -> int:
        """In a thread: how many bytes have come to the store."""
        path = blob_path(digest)
        before = _size(self._store, path) or 0
        if before != size or _sum(self._pieces(path)) != (digest, size):
            found, came = _sum(_pieces(parts))
            if (found, came) != (digest, size):
                raise DecodeError(
                    f"{came} bytes with digest {found.hex()} came; {size} bytes with digest "
                    f"{digest.hex()} expected"
                )
            if size > left:
                raise self._full(left)
            chunks = _pieces(parts)
            obstore.put(
                self._store,
                path,
                chunks,
                use_multipart=True,
                chunk_size=PIECE_BYTES,
                max_concurrency=PIECES_AT_ONCE,
            )
        else:
            before = size
        self._sync(digest)
        return size - before

    def _pieces(self, path: str) -> Iterator[bytes]:
        """In a thread: an artifact as it is stored."""
        yield from map(bytes, obstore.get(self._store, path).stream(min_chunk_size=PIECE_BYTES))

    async def read(self, digest: bytes, start: int, end: int) -> bytes | None:
        """Bytes start..end-1 of an artifact, unchecked; None when it is not here.

        `end` is at most its size.
        """
        return await self._visit(self._read_range, digest, start, end)

    def _read_range(self, digest: bytes, start: int, end: int) -> bytes | None:
        for store in self._stores:
            with suppress(FileNotFoundError):
                return bytes(obstore.get_range(store, blob_path(digest), start=start, end=end))
        return None

    def _write(self, blobs: Mapping[bytes, bytes], left: int, durable: bool) -> int:
        """In a thread: write what is not here yet; how many bytes have come to the store.

        Raises:
            StorageFull: there are more than `left`.
        """
        here = self._store
        missing = {d: data for d, data in blobs.items() if _read(here, d, len(data)) != data}
        if sum(map(len, missing.values())) > left:
            raise self._full(left)
        size = sum(self._write_one(digest, data) for digest, data in missing.items())
        if durable:
            for digest in blobs:  # also what was here: it may have come by `keep`
                self._sync(digest)
        return size

    def _full(self, left: int) -> StorageFull:
        used = self._bytes_max - left
        return StorageFull(f"{used} of {self._bytes_max} bytes of artifacts are used")

    def _sync(self, digest: bytes) -> None:
        """An object store says "stored" when it is durable; a file has to be synced."""
        if self._store is not self._local:
            return
        file = self._root / blob_path(digest)
        _sync(file)
        _sync(file.parent)

    def _write_one(self, digest: bytes, data: bytes) -> int:
        path = blob_path(digest)
        try:
            obstore.put(self._store, path, data, mode="create")
        except AlreadyExistsError:
            # Two puts at once, or a damaged file: either way these are the right bytes.
            obstore.put(self._store, path, data, mode="overwrite")
            return 0
        return len(data)

    async def size(self, digest: bytes) -> int | None:
        """How long the artifact with this digest is; None when it is not here."""
        return await self._visit(self._size, digest)

    def _size(self, digest: bytes) -> int | None:
        sizes = (_size(store, blob_path(digest)) for store in self._stores)
        return next((size for size in sizes if size is not None), None)

    def path(self, digest: bytes) -> Path | None:
        """The file with this artifact, unchecked, for who reads it in another process.

        None when it is not here, or in an object store only.
        """
        path = self._root / blob_path(digest)
        return path if path.is_file() else None

    async def digests(self) -> list[bytes]:
        """All artifacts that are here, in the order of their digests."""
        return await self._visit(self._list)

    def _list(self) -> list[bytes]:
        found = set()
        for store in self._stores:
            for name in (entry["path"] for page in obstore.list(store) for entry in page):
                with suppress(ValueError):
                    digest = bytes.fromhex(name.rpartition("/")[2])
                    if name == blob_path(digest):
                        found.add(digest)
        return sorted(found)

    async def remove(self, digest: bytes) -> bool:
        """Delete an artifact; False when it is not here, or somebody is storing it just now.

        A `put` of it waits meanwhile: it could find the artifact in between and lose it afterwards.
        """
        if digest in self._puts or digest in self._removed:
            return False
        ended = self._removed[digest] = asyncio.Event()
        try:
            sizes = await self._visit(self._delete, digest)
        finally:
            del self._removed[digest]
            ended.set()
        if self._counted:
            self._bytes -= sizes[0] or 0
        return any(size is not None for size in sizes)

    def _delete(self, digest: bytes) -> list[int | None]:
        """In a thread: its size in each of the stores before it was deleted there."""
        sizes = []
        for store in self._stores:
            size = _size(store, blob_path(digest))
            if size is not None:
                with suppress(FileNotFoundError):
                    obstore.delete(store, blob_path(digest))
            sizes.append(size)
        return sizes

    async def get(self, digest: bytes) -> bytes | None:
        """The bytes with this digest; None when they are not here (or damaged)."""
        return await self._visit(self._read, digest, BLOB_BYTES_MAX)

    async def get_many(self, digests: Sequence[bytes], bytes_max: int) -> list[bytes | None]:
        """The bytes with these digests, in one visit to the disk; None for those not here.

        Ends before the answer would pass `bytes_max`: what is not in it was not looked for.
        """
        return await self._visit(self._read_many, digests, bytes_max)

    def _read_many(self, digests: Sequence[bytes], bytes_max: int) -> list[bytes | None]:
        found: list[bytes | None] = []
        left = bytes_max
        for digest in digests:
            size = self._size(digest) or 0
            if size > left:
                break
            found.append(self._read(digest, size) if size else None)
            left -= size
        return found

    def _read(self, digest: bytes, bytes_max: int) -> bytes | None:
        """In a thread: the bytes, if they are here, right, and not more than these."""
        found = (_read(store, digest, bytes_max) for store in self._stores)
        return next((data for data in found if data is not None), None)


def _read(store: ObjectStore, digest: bytes, bytes_max: int) -> bytes | None:
    """In a thread: the bytes from one store, if they are there, right, and not more than these."""
    try:
        answer = obstore.get(store, blob_path(digest))
        if answer.meta["size"] > bytes_max:
            return None
        data = bytes(answer.bytes())
    except FileNotFoundError:
        return None
    return data if sha256(data) == digest else None


def _size(store: ObjectStore, path: str) -> int | None:
    """In a thread: how long it is, or None."""
    try:
        return int(obstore.head(store, path)["size"])
    except FileNotFoundError:
        return None


def _pieces(parts: Sequence[Path]) -> Iterator[bytes]:
    """What stands in these files, one after the other."""
    for part in parts:
        with part.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece


def _sum(pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """(SHA-256, number) of all these bytes."""
    hashed, size = hashlib.sha256(), 0
    for piece in pieces:
        hashed.update(piece)
        size += len(piece)
    return hashed.digest(), size


def _sync(path: Path) -> None:
    """Through to the disk: a file, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
