"""How an artifact gets to one replica: whole, or chunk by chunk over a connection that may be cut.

The replica says what is missing, so nothing is sent twice but the chunk in which a connection
broke.  A replica that is busy or cannot be reached is tried again a few times.
"""

import asyncio

import msgspec

from bft.crypto.hashing import sha256
from bft.errors import Busy, DecodeError, Unavailable
from chain.federation import api
from chain.federation.answers import read_json
from chain.federation.digest_fields import CONTENT_DIGEST, digest_field
from chain.federation.transport import JSON_BYTES_MAX, Later, Reply, Transport, refusal
from chain.rules.limits import RECEIPT_BYTES_MAX

CHUNK_S = 120.0  # for one of them
BLOB_S = 120.0  # for an artifact in one request
TRIES_MAX = 8  # in a row without a chunk that arrived
RETRY_S = 0.5  # before the second try, and longer before each further one


class _Chunks(msgspec.Struct):
    """What a replica says about an artifact that is under way."""

    chunk_bytes: int
    chunks: int
    missing: tuple[int, ...]


async def send_whole(transport: Transport, url: str, data: bytes, headers: dict[str, str]) -> bytes:
    """PUT `data` at `url`; the replica's receipt, unverified.

    Raises:
        Unavailable, Busy, Refused, DecodeError: there is none.
    """
    reply = await transport.exchange(
        "PUT", url, body=data, headers=headers, bytes_max=RECEIPT_BYTES_MAX, timeout_s=BLOB_S
    )
    return _good(reply).body


async def send_in_chunks(
    transport: Transport, url: str, data: bytes, headers: dict[str, str]
) -> bytes:
    """As `send_whole`, but going on after what a network or a busy replica may do for a while."""
    sending = _Sending(transport, url, data, headers)
    while True:
        try:
            return await sending.go_on()
        except (Unavailable, Busy) as error:
            sending.tries += 1
            if sending.tries >= TRIES_MAX:
                raise
            wanted_s = error.retry_s if isinstance(error, Later) else 0
        await asyncio.sleep(max(wanted_s, RETRY_S * sending.tries))


class _Sending:
    """One artifact on its way to one replica."""

    def __init__(
        self, transport: Transport, url: str, data: bytes, headers: dict[str, str]
    ) -> None:
        self._transport, self._url = transport, url
        self._data, self._headers = memoryview(data), headers
        self.tries = 0  # since a chunk arrived

    async def go_on(self) -> bytes:
        """Send what is missing; the receipt."""
        for index in await self._missing():
            await self._send(index)
            self.tries = 0
        return _good(await self._ask("POST", api.CHUNKS_BELOW, RECEIPT_BYTES_MAX)).body

    async def _missing(self) -> tuple[int, ...]:
        """Raises DecodeError: the replica cuts artifacts in another way."""
        reply = _good(await self._ask("GET", api.CHUNKS_BELOW, JSON_BYTES_MAX))
        told = read_json(_Chunks, self._url, reply.body)
        count = -(-len(self._data) // api.CHUNK_BYTES)
        if (told.chunk_bytes, told.chunks) != (api.CHUNK_BYTES, count):
            raise DecodeError(
                f"{self._url}: {told.chunks} chunks of {told.chunk_bytes} bytes asked for; {count} "
                f"of {api.CHUNK_BYTES} expected"
            )
        if not all(0 <= index < count for index in told.missing) or len(told.missing) > count:
            raise DecodeError(f"{self._url}: chunks that there are not are said to be missing")
        return told.missing

    async def _send(self, index: int) -> None:
        start = index * api.CHUNK_BYTES
        chunk = bytes(self._data[start : start + api.CHUNK_BYTES])
        field = {CONTENT_DIGEST: digest_field(sha256(chunk))}
        path = f"{api.CHUNKS_BELOW}/{index}"
        _good(await self._ask("PUT", path, JSON_BYTES_MAX, chunk, field))

    async def _ask(
        self,
        method: str,
        path: str,
        bytes_max: int,
        body: bytes | None = None,
        more: dict[str, str] | None = None,
    ) -> Reply:
        return await self._transport.exchange(
            method,
            self._url + path,
            body=body,
            headers={**self._headers, **(more or {})},
            bytes_max=bytes_max,
            timeout_s=CHUNK_S,
        )


def _good(reply: Reply) -> Reply:
    if reply.status >= 300:
        raise refusal(reply)
    return reply
