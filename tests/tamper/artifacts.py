"""Updates and snapshots: known by their digest wherever they are read; decoders do not crash."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from chain.rules.updates import decode_snapshot, decode_update
from coordinator.service.blobs import BlobStore, blob_path
from tests.chain.rules.training_job import JOB, random_update, snapshot
from tests.tamper.subject import Missed, Subject

STORE_BYTES_MAX = 1 << 20


class Rotting:
    """One artifact on a replica's disk, whose bytes change there."""

    def __init__(self, data: bytes, decode: Callable[[bytes], object]) -> None:
        self._data, self._decode = data, decode
        self._digest = sha256(data)
        decode(data)

    def judge(self, changed: bytes) -> str:
        """The store gives it to nobody, takes it from nobody, and heals."""
        with tempfile.TemporaryDirectory() as home:
            said = asyncio.run(self._stored(Path(home), changed))
        with contextlib.suppress(DecodeError):  # whoever decodes it all the same does not crash
            self._decode(changed)
        return f"store: {said}"

    async def _stored(self, home: Path, changed: bytes) -> str:
        store = BlobStore(home, STORE_BYTES_MAX)
        await store.put(self._data)
        (home / blob_path(self._digest)).write_bytes(changed)
        if await store.get(self._digest) is not None:
            raise Missed("the store gives out other bytes")
        try:
            await store.put(changed, self._digest)
        except DecodeError:
            await store.put(self._data, self._digest)
        else:
            raise Missed("the store takes other bytes under this digest")
        if await store.get(self._digest) != self._data:
            raise Missed("the store does not take the true bytes again")
        return "other-digest"


def artifacts() -> list[Subject]:
    """One update and one snapshot of a small job."""
    update = random_update(0, 1)
    model = snapshot(7)
    return [
        Subject(
            name="update",
            data=update,
            judge=Rotting(update, lambda data: decode_update(JOB, 0, data)).judge,
        ),
        Subject(
            name="snapshot",
            data=model,
            judge=Rotting(model, lambda data: decode_snapshot(JOB, data)).judge,
        ),
    ]
