"""`python -m benchmarks.artifacts --megabytes 512`: a long artifact comes and goes; memory stays.

A process with a replica's doors for artifacts takes one in chunks, then in one request, joins it,
and gives it whole and by ranges to somebody who checks every byte.  Printed beside each rate: what
writing and syncing the same bytes into a file takes, and hashing them.  The artifact is longer than
a job's updates may be today; what is measured is the way, not the cycle.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp

from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from chain.federation import api
from chain.federation.digest_fields import CONTENT_DIGEST, digest_field
from chain.records.contribution import UploadAuthorization
from tests.coordinator.service.uploading import CYCLE, MINERS, Doors

MB = 1024 * 1024
PATIENCE = aiohttp.ClientTimeout(total=3600)


def chunks(size: int) -> Iterator[bytes]:
    """An artifact that is never held whole: every chunk another one."""
    for start in range(0, size, api.CHUNK_BYTES):
        seed = hashlib.sha256(start.to_bytes(8, "big")).digest()
        yield (seed * (api.CHUNK_BYTES // len(seed)))[: size - start]


async def serve(root: Path, size: int) -> None:
    """In the other process: open doors until stdin ends."""
    doors = Doors(root, store_bytes=4 * size)
    async with doors.serve() as knocker:
        told = {"url": knocker.url, "chain_id": doors.genesis.chain_id.hex()}
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def resident(pid: int, field: str) -> float:
    """MB of physical memory: VmRSS now, VmHWM at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the process is gone")


def report(what: str, size: int, began: float, pid: int) -> None:
    """One line."""
    rate = size / MB / (time.monotonic() - began)
    most = resident(pid, "VmHWM")
    print(f"{what:30} {rate:8.0f} MB/s   the process has held {most:6.0f} MB at most", flush=True)


def floor(root: Path, size: int) -> None:
    """What the disk and the hash take by themselves."""
    began = time.monotonic()
    with (root / "floor").open("wb") as file:
        for chunk in chunks(size):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    print(f"{'a file, written and synced':30} {size / MB / (time.monotonic() - began):8.0f} MB/s")
    (root / "floor").unlink()
    began, hashed = time.monotonic(), hashlib.sha256()
    for chunk in chunks(size):
        hashed.update(chunk)
    print(f"{'SHA-256':30} {size / MB / (time.monotonic() - began):8.0f} MB/s", flush=True)


class Client:
    """Somebody with one artifact."""

    def __init__(self, session: aiohttp.ClientSession, chain_id: bytes, size: int) -> None:
        self._session, self._size = session, size
        hashed = hashlib.sha256()
        for chunk in chunks(size):
            hashed.update(chunk)
        self.digest = hashed.digest()
        asked = UploadAuthorization(chain_id=chain_id, cycle=CYCLE, digest=self.digest, size=size)
        sealed = seal(asked, MINERS[0].public_key, MINERS[0].sign)
        self._headers = {api.UPLOAD_HEADER: sealed.hex()}
        self._path = api.BLOBS.format(digest=self.digest.hex())

    async def upload_in_chunks(self) -> None:
        """As a miner does."""
        below = self._path + api.CHUNKS_BELOW
        for index, chunk in enumerate(chunks(self._size)):
            headers = {**self._headers, CONTENT_DIGEST: digest_field(sha256(chunk))}
            url = f"{below}/{index}"
            async with self._session.put(url, data=_pieces(chunk), headers=headers) as answer:
                assert answer.status == 204, await answer.text()
        async with self._session.post(below, headers=self._headers) as answer:
            assert answer.status == 201, await answer.text()

    async def upload_whole(self) -> None:
        """In one request."""

        async def body() -> AsyncIterator[bytes]:
            for chunk in chunks(self._size):
                async for piece in _pieces(chunk):
                    yield piece

        async with self._session.put(self._path, data=body(), headers=self._headers) as answer:
            assert answer.status == 201, await answer.text()

    async def download(self, readers: int) -> None:
        """Whole, by several at once."""

        async def one() -> None:
            hashed = hashlib.sha256()
            async with self._session.get(self._path) as answer:
                async for piece in answer.content.iter_any():
                    hashed.update(piece)
            assert hashed.digest() == self.digest

        await asyncio.gather(*(one() for _ in range(readers)))

    async def download_ranges(self) -> None:
        """Chunk after chunk."""
        start = 0
        for chunk in chunks(self._size):
            end = start + len(chunk)
            headers = {"Range": f"bytes={start}-{end - 1}"}
            async with self._session.get(self._path, headers=headers) as answer:
                assert answer.status == 206 and await answer.read() == chunk
            start = end


async def _pieces(chunk: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(chunk), MB):
        yield chunk[start : start + MB]


async def measure(root: Path, size: int, readers: int) -> None:
    """Against a process of its own."""
    floor(root, size)
    command = ("-m", "benchmarks.artifacts", "--serve", str(root / "replica"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--megabytes", str(size // MB)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None and process.stdin is not None
        told = json.loads(await process.stdout.readline())
        pid = process.pid
        print(f"{'before':30} {'':8}        the process holds {resident(pid, 'VmRSS'):6.0f} MB")
        async with aiohttp.ClientSession(told["url"], timeout=PATIENCE) as session:
            client = Client(session, bytes.fromhex(told["chain_id"]), size)
            for what, work, passes in (
                ("upload in chunks, and join", client.upload_in_chunks(), 1),
                ("upload in one request", client.upload_whole(), 1),
                ("download, ranges of 8 MiB", client.download_ranges(), 1),
                (f"download, {readers} at once", client.download(readers), readers),
            ):
                began = time.monotonic()
                await work
                report(what, size * passes, began, pid)
        process.stdin.close()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def main(arguments: list[str]) -> int:
    """0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.artifacts", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    size = options.megabytes * MB
    if options.serve is not None:
        asyncio.run(serve(options.serve, size))
        return 0
    with tempfile.TemporaryDirectory(prefix="gristmill-artifacts-") as root:
        asyncio.run(measure(Path(root), size, options.readers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
