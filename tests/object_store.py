"""Artifacts in an object store: `python -m tests.object_store [--python PATH]`.

Against a real server of the S3 protocol (moto's), in a process of its own: everything that a
replica does with artifacts, an outage (the server is killed, and comes back empty), and a change
from the local directory to the bucket and back.  Needs the extra `object-store`, here or in the
environment of PATH.  Exit status 1 at the first thing that is not as it should be.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bft.crypto.hashing import sha256
from bft.errors import Unavailable
from coordinator.service.blobs import BlobStore, StorageFull
from coordinator.service.object_store import open_object_store
from coordinator.service.work import Artifacts
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

BUCKET = "gristmill"
URL = f"s3://{BUCKET}/replica-0"
PART_BYTES = 6 * 1024 * 1024
PARTS = 4
ROOM = 64 * 1024 * 1024
DOWN_S_MAX = 60.0  # an outage is told by then


@contextmanager
def server(python: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """moto's, with an empty bucket; killed at the end."""
    command = [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _made(f"http://127.0.0.1:{port}/{BUCKET}"):
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} does not answer; is `object-store` here?")
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def _made(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def expect(holds: bool, what: str) -> None:
    """Print what was looked at; end the program if it does not hold."""
    print(f"{'good' if holds else 'BAD'}: {what}", flush=True)
    if not holds:
        raise SystemExit(1)


async def keeps(root: Path) -> bytes:
    """What every store does; the digest of an artifact that stays."""
    store = BlobStore(root / "home", ROOM, open_object_store(URL))
    digest = await store.put(b"update")
    expect(await store.get(digest) == b"update", "what was put is got")
    expect(not list((root / "home").glob("*/*")), "nothing of it is on the disk")
    again = BlobStore(root / "home", ROOM, open_object_store(URL))
    expect(await again.put(b"update") == digest, "another process stores it again")
    expect(again.bytes_stored == len(b"update"), "and it takes its place once")
    await store.put(b"update", digest)
    files = [root / str(number) for number in range(PARTS)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * PART_BYTES)
    whole = b"".join(file.read_bytes() for file in files)
    await store.put_files(sha256(whole), len(whole), files)
    expect(await store.size(sha256(whole)) == len(whole), "parts in files become one artifact")
    middle = await store.read(sha256(whole), PART_BYTES - 1, PART_BYTES + 1)
    expect(middle == b"\x00\x01", "a range is read")
    expect(await store.get(sha256(whole)) == whole, "and the whole")
    full = BlobStore(root / "full", len(whole), open_object_store(URL))
    try:
        await full.put(b"more")
        expect(False, "the operator's limit holds")
    except StorageFull:
        expect(True, "the operator's limit holds, counting what stood there before")
    expect(await store.digests() == sorted((digest, sha256(whole))), "artifacts are listed")
    racing = await asyncio.gather(store.remove(sha256(whole)), store.put(whole))
    expect(await store.get(sha256(whole)) == whole, f"a put survives a removal ({racing[0]})")
    expect(await store.remove(sha256(whole)), "what is removed was here")
    found = await store.get_many([sha256(whole), digest], ROOM)
    expect(found == [None, b"update"], "and is gone; many are read at once")
    return digest


async def moves(root: Path) -> None:
    """From the directory to the bucket: nothing is copied, nothing is missed."""
    local = BlobStore(root / "moved", ROOM)
    digest = await local.put(b"genesis model")
    store = BlobStore(root / "moved", ROOM, open_object_store(URL))
    expect(await store.get(digest) == b"genesis model", "what is in the directory is found")
    expect(await store.size(digest) == len(b"genesis model"), "and its size")
    expect(await store.read(digest, 0, 7) == b"genesis", "and a range of it")
    expect(digest in await store.digests(), "and it is listed")
    expect(await store.remove(digest), "and it is removed")
    expect(await store.get(digest) is None, "from both")


async def fails(root: Path, digest: bytes) -> None:
    """While the server is down."""
    store = BlobStore(root / "home", ROOM, open_object_store(URL))
    began = time.monotonic()
    for name, ask in (("put", store.put(b"later")), ("get", store.get(digest))):
        try:
            await ask
            expect(False, f"{name} fails while the store is down")
        except Unavailable as error:
            expect(not store.up, f"{name} fails while the store is down: {error}")
    expect(time.monotonic() - began < DOWN_S_MAX, "and soon")
    peers = BlobStore(root / "peer", ROOM)
    await peers.put(b"update", digest)
    artifacts = Artifacts(["http://127.0.0.1:9"], store)
    try:
        async with asyncio.timeout(DOWN_S_MAX):
            found = await artifacts.many({digest: len(b"update")}, DOWN_S_MAX)
        expect(not found, "a replica goes on to ask its peers, and does not fail")
    finally:
        await artifacts.close()


async def recovers(root: Path) -> None:
    """When it is back, empty."""
    store = BlobStore(root / "home", ROOM, open_object_store(URL))
    digest = await store.put(b"later")
    expect(store.up and await store.get(digest) == b"later", "it stores again when it is back")


def main() -> int:
    """All of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.object_store", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has moto")
    python = parser.parse_args().python
    (port,) = claim_ports(1)
    os.environ.update(
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_REGION="us-east-1",
        AWS_ENDPOINT=f"http://127.0.0.1:{port}",
        AWS_ALLOW_HTTP="true",
    )
    with tempfile.TemporaryDirectory(prefix="gristmill-store-") as place:
        root = Path(place)
        with server(python, port):
            digest = asyncio.run(keeps(root))
            asyncio.run(moves(root))
        asyncio.run(fails(root, digest))
        with server(python, port):
            asyncio.run(recovers(root))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
