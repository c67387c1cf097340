"""How many bytes of large answers may be held in memory at once, on their way out.

Whoever asks for many and reads none would otherwise fill it with as many copies as it likes.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from bft.errors import Busy

BYTES_S_MIN = 64 * 1024  # a reader that is slower is cut off
PATIENCE_S = 30.0  # beside what its size allows


class Outflow:
    """A budget of bytes, shared by all answers under way."""

    def __init__(self, bytes_max: int, patience_s: float = PATIENCE_S) -> None:
        self._bytes_max, self._patience_s = bytes_max, patience_s
        self._bytes = 0

    @property
    def under_way(self) -> int:
        """Bytes of answers that are not yet written."""
        return self._bytes

    def reserve(self, size: int) -> None:
        """Take `size` bytes; one answer is let through whatever its size.

        Raises:
            Busy: too much is on its way out already.
        """
        if self._bytes and self._bytes + size > self._bytes_max:
            raise Busy(f"answers of {self._bytes} bytes are on their way out; try again later")
        self._bytes += size

    def release(self, size: int) -> None:
        """Give `size` bytes back."""
        self._bytes -= size

    async def write(self, request: web.Request, response: web.Response, size: int) -> None:
        """Write a whole answer; who does not read it is cut off."""
        try:
            async with asyncio.timeout(self._patience_s + size / BYTES_S_MIN):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()

    async def stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        first: bytes,
        rest: AsyncIterator[bytes],
        size: int,
    ) -> None:
        """Write an answer of `size` bytes piece by piece.

        Who does not read it is cut off, and so is who reads what ends before its size.
        """
        written = 0
        try:
            async with asyncio.timeout(self._patience_s + size / BYTES_S_MIN):
                await response.prepare(request)
                piece: bytes | None = first
                while piece is not None:
                    await response.write(piece)
                    written += len(piece)
                    piece = await anext(rest, None)
                if written == size:
                    await response.write_eof()
        except TimeoutError:
            pass
        if written != size and request.transport is not None:
            request.transport.abort()


async def push(
    request: web.Request,
    response: web.StreamResponse,
    data: bytes,
    patience_s: float = PATIENCE_S,
) -> None:
    """Write one part of a stream without an end; who does not take it in time is cut off.

    Raises:
        ConnectionError: the reader has gone, or was cut off.
    """
    try:
        async with asyncio.timeout(patience_s + len(data) / BYTES_S_MIN):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError("a listener does not read") from None
