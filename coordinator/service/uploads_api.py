"""Updates that miners store: whole in one request, or chunk by chunk where a connection may be cut.

Chunk by chunk: GET says which chunks are missing, each is PUT with the digest of its content, and
POST joins them.  Each step may be repeated.  However an update comes, no more of it than a buffer
is held in memory, and the receipt is signed when the artifact is durable.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from aiohttp import web

from bft.codec.envelope import seal
from bft.crypto.identity import PrivateKey
from bft.errors import Busy, DecodeError, Refused, Unavailable
from chain.federation import api
from chain.federation.digest_fields import CONTENT_DIGEST, read_digest_field
from chain.federation.server import TooSlow, body_parts, read_body
from chain.records.contribution import StorageReceipt, UploadAuthorization
from coordinator.service.blobs import BlobStore
from coordinator.service.parameters import digest_of, path_number
from coordinator.service.staging import BUFFER_BYTES, GIVEN_UP, Staging, Upload
from coordinator.service.throttle import ClientBudget
from coordinator.service.upload_rights import UploadRights
from coordinator.settings import Limits

UPLOAD_BYTES_S_MIN = 64 * 1024  # a slower sender's upload is given up


class UploadsApi:
    """Handlers of the routes that take artifacts in."""

    def __init__(
        self,
        chain_id: bytes,
        rights: UploadRights,
        artifacts: BlobStore,
        staging: Staging,
        identity: PrivateKey,
        limits: Limits,
        budget: ClientBudget,
    ) -> None:
        self._chain_id, self._rights = chain_id, rights
        self._artifacts, self._staging = artifacts, staging
        self._identity, self._budget = identity, budget
        self._body_s = limits.body_s
        self._uploads_max, self._uploads = limits.uploads, 0
        self._cycle = 0  # of the uploads in the staging

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.put(api.BLOBS, self.put_blob),
            web.get(api.CHUNKS, self.get_chunks),
            web.put(api.CHUNK, self.put_chunk),
            web.post(api.CHUNKS, self.post_chunks),
        ]

    async def _admit(self, request: web.Request) -> tuple[Upload, UploadAuthorization, bool]:
        """(what is stored, what was signed, whether it takes a new place of the miner's)."""
        header = request.headers.get(api.UPLOAD_HEADER, "")
        miner, asked = self._rights.open(header, digest_of(request))
        self._budget.admit(miner)
        taken = self._rights.take(miner, asked)
        if asked.cycle != self._cycle:
            self._cycle = asked.cycle
            await self._staging.turn(asked.cycle)
        return Upload(asked.cycle, miner, asked.digest, asked.size), asked, taken

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Raises Busy: too many uploads are under way."""
        if self._uploads >= self._uploads_max:
            raise Busy(f"{self._uploads} uploads are under way; try again later")
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def put_blob(self, request: web.Request) -> web.Response:
        """Store an update durably and sign for it: 201 with the sealed receipt."""
        upload, asked, taken = await self._admit(request)
        within_s = self._body_s + asked.size / UPLOAD_BYTES_S_MIN
        try:
            with self._slot():
                if asked.size <= BUFFER_BYTES:
                    await self._store(upload, await read_body(request, asked.size, within_s))
                else:
                    await self._receive_all(request, upload, within_s)
                    await self._join(upload)
        except BaseException:
            if taken:
                self._rights.give_back(upload.miner, asked)
                await self._staging.drop(upload)
            raise
        return self._receipt(upload)

    async def _store(self, upload: Upload, data: bytes) -> None:
        """Raises Refused("wrong-digest"), StorageFull."""
        try:
            if len(data) != upload.size:
                raise DecodeError(f"{len(data)} bytes came; {upload.size} are authorized")
            await self._artifacts.put(data, upload.digest)
        except DecodeError as error:
            raise Refused("wrong-digest", str(error)) from None

    async def _receive_all(self, request: web.Request, upload: Upload, within_s: float) -> None:
        """The body, chunk by chunk, as if each had come by itself."""
        rest = Rest(body_parts(request, upload.size))
        try:
            async with asyncio.timeout(within_s):
                for index in range(upload.chunks):
                    received = await self._staging.receive(
                        upload, index, rest.next(upload.chunk_bytes(index))
                    )
                    await self._staging.keep(upload, index, received)
                await rest.end()
        except TimeoutError:
            raise TooSlow(f"the update did not come within {within_s:g} s") from None

    # Chunk by chunk.

    async def get_chunks(self, request: web.Request) -> web.Response:
        """JSON, which chunks are missing."""
        upload, _, _ = await self._admit(request)
        stored = await self._artifacts.size(upload.digest) == upload.size
        told = {
            "chunk_bytes": api.CHUNK_BYTES,
            "chunks": upload.chunks,
            "missing": [] if stored else self._staging.missing(upload),
        }
        return web.json_response(told, headers={"Cache-Control": "no-store"})

    async def put_chunk(self, request: web.Request) -> web.Response:
        """Keep one chunk durably: 204, also if it was here."""
        upload, _, _ = await self._admit(request)
        index = path_number(request, "index")
        if index >= upload.chunks:
            raise DecodeError(f"chunk {index} came; the update has {upload.chunks}")
        digest = read_digest_field(request.headers.get(CONTENT_DIGEST, ""))
        size = upload.chunk_bytes(index)
        within_s = self._body_s + size / UPLOAD_BYTES_S_MIN
        with self._slot():
            try:
                async with asyncio.timeout(within_s):
                    received = await self._staging.receive(upload, index, body_parts(request, size))
            except TimeoutError:
                raise TooSlow(f"the chunk did not come within {within_s:g} s") from None
            if (received.size, received.digest) != (size, digest):
                self._staging.forget(received)
                raise Refused(
                    "wrong-digest",
                    f"{received.size} bytes with digest {received.digest.hex()} came; {size} with "
                    f"digest {digest.hex()} expected",
                )
            await self._staging.keep(upload, index, received)
        return web.Response(status=204)

    async def post_chunks(self, request: web.Request) -> web.Response:
        """Join the chunks and sign for the artifact: 201 with the sealed receipt."""
        upload, asked, _ = await self._admit(request)
        stored = await self._artifacts.size(upload.digest) == upload.size
        missing = [] if stored else self._staging.missing(upload)
        if missing:
            raise Refused("incomplete", f"{len(missing)} of {upload.chunks} chunks are missing")
        with self._slot():
            try:
                await self._join(upload)
            except Refused:
                self._rights.give_back(upload.miner, asked)
                raise
        return self._receipt(upload)

    async def _join(self, upload: Upload) -> None:
        """Raises Refused("wrong-digest"), StorageFull, Unavailable."""
        parts = [] if self._staging.missing(upload) else self._staging.parts(upload)
        try:
            await self._artifacts.put_files(upload.digest, upload.size, parts)
        except DecodeError as error:
            if not parts:
                await self._artifacts.remove(upload.digest)  # damaged, and to be sent again
            await self._staging.drop(upload)
            raise Refused("wrong-digest", str(error)) from None
        except FileNotFoundError:
            raise Unavailable(GIVEN_UP) from None
        await self._staging.drop(upload)

    def _receipt(self, upload: Upload) -> web.Response:
        receipt = StorageReceipt(
            chain_id=self._chain_id,
            cycle=upload.cycle,
            miner=upload.miner,
            digest=upload.digest,
            size=upload.size,
        )
        sealed = seal(receipt, self._identity.public_key, self._identity.sign)
        return web.Response(status=201, body=sealed, content_type=api.OCTETS)


class Rest:
    """What is still to come of a body, taken off in portions."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts, self._over = parts, b""

    async def next(self, size: int) -> AsyncIterator[bytes]:
        """The next `size` bytes; fewer when the body ends."""
        while size:
            part = self._over or await anext(self._parts, b"")
            if not part:
                return
            self._over, part = part[size:], part[:size]
            size -= len(part)
            yield part

    async def end(self) -> None:
        """Raises what the body's end brings: it was announced longer."""
        assert not self._over
        async for _ in self._parts:
            raise AssertionError("a body longer than its limit was let through")
