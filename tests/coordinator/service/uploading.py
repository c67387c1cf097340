"""The doors for artifacts alone, on a real socket: a cycle whose reveals are open, for two miners.

Updates may be longer than those of any job today, so that they come in several chunks.
"""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
from aiohttp import web
from msgspec.structs import replace

import coordinator.service
from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from chain.federation import api, openapi
from chain.federation.digest_fields import CONTENT_DIGEST, digest_field
from chain.federation.server import make_runner
from chain.params import MINIMAL
from chain.records.contribution import StorageReceipt, UploadAuthorization, WorkUnit
from chain.records.phase import Phase
from coordinator.config import load_setup
from coordinator.cycle.state import Rules, opening_state
from coordinator.service.artifacts_api import ArtifactsApi
from coordinator.service.blobs import ARTIFACT_BYTES_MAX, BlobStore
from coordinator.service.outflow import Outflow
from coordinator.service.problems import errors_to_problems
from coordinator.service.staging import Staging
from coordinator.service.throttle import ClientBudget
from coordinator.service.upload_rights import UploadRights
from coordinator.service.uploads_api import UploadsApi
from tests.ports import federation_here
from tests.sample import JOB, SNAPSHOT

MINERS = tuple(PrivateKey(bytes([number]) * 32) for number in (7, 8))
CYCLE = 3
STORE_BYTES = 64 * 1024 * 1024
UPLOADS = 4  # at once


class Doors:
    """What stands behind the socket, and who knocks."""

    def __init__(self, root: Path, store_bytes: int = STORE_BYTES) -> None:
        """`store_bytes`: the operator's limit for artifacts."""
        self.genesis, homes = federation_here(root, 1, MINIMAL, JOB, SNAPSHOT)
        self.setup = load_setup(homes[0])
        self.rules = Rules(self.genesis)
        self.state = replace(
            opening_state(self.rules),
            phase=Phase.REVEAL,
            cycle=CYCLE,
            units=tuple(
                WorkUnit(unit=unit, miner=miner.public_key, segment=0, chunk=unit, steps=1)
                for unit, miner in enumerate(MINERS)
            ),
            commitments={unit: bytes(32) for unit in range(len(MINERS))},
        )
        self.store = BlobStore(self.setup.home.blobs, store_bytes)
        self._store_bytes = store_bytes
        self.open()

    def open(self) -> None:
        """As a process does when it starts: only the disk remembers."""
        limits = replace(self.setup.config.limits, uploads=UPLOADS, client_burst=10_000)
        room = self._store_bytes
        self.staging = Staging(self.setup.home.uploads, lambda: room - self.store.bytes_stored)
        chain_id, identity = self.genesis.chain_id, self.setup.identity
        rights = UploadRights(chain_id, ARTIFACT_BYTES_MAX, lambda: self.state)
        budget = ClientBudget(limits, monotonic)
        self.uploads = UploadsApi(
            chain_id, rights, self.store, self.staging, identity, limits, budget
        )

    def authorization(self, data: bytes, miner: PrivateKey = MINERS[0]) -> bytes:
        """Sealed, for these bytes."""
        asked = UploadAuthorization(
            chain_id=self.genesis.chain_id, cycle=CYCLE, digest=sha256(data), size=len(data)
        )
        return seal(asked, miner.public_key, miner.sign)

    def receipt(self, data: bytes, miner: PrivateKey = MINERS[0]) -> StorageReceipt:
        """What the replica has to sign."""
        return StorageReceipt(
            chain_id=self.genesis.chain_id,
            cycle=CYCLE,
            miner=miner.public_key,
            digest=sha256(data),
            size=len(data),
        )

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Knocker"]:
        """Somebody at the open doors."""
        app = web.Application(middlewares=[errors_to_problems])
        app.add_routes(self.uploads.routes())
        app.add_routes(ArtifactsApi(self.store, Outflow(1 << 28)).routes())
        app.add_routes(openapi.routes(coordinator.service.__name__))
        runner = make_runner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession(url) as session:
                yield Knocker(self, url, session)
        finally:
            await runner.cleanup()


class Knocker:
    """A client that says exactly what it is told to."""

    def __init__(self, doors: Doors, url: str, session: aiohttp.ClientSession) -> None:
        self.doors, self.url, self.session = doors, url, session

    async def ask(
        self,
        method: str,
        data: bytes,
        below: str = "",
        body: bytes | None = None,
        digest: bytes | None = None,
        miner: PrivateKey = MINERS[0],
    ) -> tuple[int, bytes]:
        """(status, body) of a request about the artifact `data`."""
        headers = {api.UPLOAD_HEADER: self.doors.authorization(data, miner).hex()}
        if body is not None:
            headers[CONTENT_DIGEST] = digest_field(sha256(body) if digest is None else digest)
        path = api.BLOBS.format(digest=sha256(data).hex()) + below
        sent = None if body is None else io.BytesIO(body)
        async with self.session.request(method, path, data=sent, headers=headers) as answer:
            return answer.status, await answer.read()

    async def put(
        self, data: bytes, index: int, miner: PrivateKey = MINERS[0]
    ) -> tuple[int, bytes]:
        """Send one chunk as it is."""
        chunk = data[index * api.CHUNK_BYTES : (index + 1) * api.CHUNK_BYTES]
        return await self.ask("PUT", data, f"{api.CHUNKS_BELOW}/{index}", chunk, miner=miner)
