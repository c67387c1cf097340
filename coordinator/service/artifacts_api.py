"""Artifacts on their way out: whole, in parts, or many at once; none of them held in memory.

An artifact leaves in pieces.  A whole one is hashed on its way, and its last piece stays here until
the digest is known to be right: a damaged artifact breaks off, it never arrives complete.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from bft.codec.canonical import encode
from bft.errors import DecodeError, Refused
from chain.federation import api
from chain.federation.digest_fields import CONTENT_DIGEST, REPR_DIGEST, digest_field
from chain.federation.server import read_body
from coordinator.service.blobs import BlobStore
from coordinator.service.outflow import Outflow
from coordinator.service.parameters import digest_of
from coordinator.service.ranges import Part, asked_part, entity_tag, is_known

BODY_S = 10.0  # for a question with a body
DIGEST_BYTES = 32
IMMUTABLE = "public, max-age=31536000, immutable"
PIECE_BYTES = 1024 * 1024
PIECES_HELD = 2  # of one answer: the one that is written, and the one behind it


class ArtifactsApi:
    """Handlers of the routes that give artifacts."""

    def __init__(self, store: BlobStore, outflow: Outflow) -> None:
        self._store, self._outflow = store, outflow

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [web.get(api.BLOBS, self.get_blob), web.post(api.BLOBS_ASKED, self.get_blobs)]

    async def get_blob(self, request: web.Request) -> web.StreamResponse:
        """An artifact or a range of it.  Its name is its digest: it may be cached for ever."""
        digest = digest_of(request)
        tag = entity_tag(digest)
        headers: dict[str, str] = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: IMMUTABLE}
        if is_known(request.headers, tag):
            return web.Response(status=304, headers=headers)
        size = await self._store.size(digest)
        if size is None:
            raise Refused("not-found", f"blob {digest.hex()} is not on this replica")
        part = asked_part(request.headers, size, tag)
        response = web.StreamResponse(headers={**headers, REPR_DIGEST: digest_field(digest)})
        response.headers[hdrs.ACCEPT_RANGES] = "bytes"
        response.content_type = api.OCTETS
        if part is None:
            part = Part(0, size, size)
            response.headers[CONTENT_DIGEST] = digest_field(digest)
        else:
            response.set_status(206)
            response.headers[hdrs.CONTENT_RANGE] = f"bytes {part.start}-{part.end - 1}/{size}"
        response.content_length = part.end - part.start
        if request.method == hdrs.METH_HEAD:
            return response
        return await self._send(request, response, digest, part)

    async def _send(
        self, request: web.Request, response: web.StreamResponse, digest: bytes, part: Part
    ) -> web.StreamResponse:
        """Raises Busy, Refused: nothing has left yet."""
        length = part.end - part.start
        held = min(length, PIECES_HELD * PIECE_BYTES)
        self._outflow.reserve(held)
        try:
            pieces = self._checked(digest, part) if part.is_whole else self._pieces(digest, part)
            first = await anext(pieces, None)
            if first is None:
                raise Refused("not-found", f"blob {digest.hex()} is damaged on this replica")
            await self._outflow.stream(request, response, first, pieces, length)
        finally:
            self._outflow.release(held)
        return response

    async def _pieces(self, digest: bytes, part: Part) -> AsyncIterator[bytes]:
        """As they are stored; fewer than asked for when the artifact is gone or shorter now."""
        for start in range(part.start, part.end, PIECE_BYTES):
            end = min(part.end, start + PIECE_BYTES)
            piece = await self._store.read(digest, start, end)
            if piece is None or len(piece) != end - start:
                return
            yield piece

    async def _checked(self, digest: bytes, part: Part) -> AsyncIterator[bytes]:
        """The whole artifact; all but its last piece when its digest is another."""
        hashed, held = hashlib.sha256(), b""
        async for piece in self._pieces(digest, part):
            if held:
                yield held
            held = piece
            await asyncio.to_thread(hashed.update, piece)
        if hashed.digest() == digest:
            yield held

    async def get_blobs(self, request: web.Request) -> web.Response:
        """Artifacts, in the order in which they are asked for, as far as one answer goes."""
        asked = await read_body(request, api.BLOBS_LIMIT_MAX * DIGEST_BYTES, BODY_S)
        if not asked or len(asked) % DIGEST_BYTES:
            raise DecodeError(f"{len(asked)} bytes came; digests have {DIGEST_BYTES} each")
        digests = [asked[at : at + DIGEST_BYTES] for at in range(0, len(asked), DIGEST_BYTES)]
        size = api.BLOBS_ANSWER_BYTES_MAX
        self._outflow.reserve(size)
        try:
            found = await self._store.get_many(digests, size)
            data = encode(tuple(data or b"" for data in found))
            response = web.Response(body=data, content_type=api.OCTETS)
            await self._outflow.write(request, response, size)
            return response
        finally:
            self._outflow.release(size)
