"""The doors for uploads while reveals are open, with an authorization that stands: their contract.

In a cycle that is over, as the other replicas' is, every upload is late.
"""

from pathlib import Path

from bft.crypto.hashing import sha256
from chain.federation import api
from tests.api import contract
from tests.coordinator.service.uploading import Doors

UPDATE = b"an update's bytes"
PATHS = (api.BLOBS, api.BLOBS_ASKED, api.CHUNKS, api.CHUNK)


async def check(root: Path, seed: int, budget_s: float) -> bool:
    """Whether they kept what the replica's document says."""
    doors = Doors(root / "uploads")
    digest, sealed = sha256(UPDATE).hex(), doors.authorization(UPDATE).hex()
    fixed = {f"header.{api.UPLOAD_HEADER}": sealed, "path.digest": digest, "path.index": "0"}
    await doors.store.put(UPDATE)
    async with doors.serve() as knocker:
        return await contract.check(knocker.url, {}, root, seed, budget_s, (), PATHS, fixed)
