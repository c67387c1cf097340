"""One connection to a peer: frames in, frames out, both bounded."""

import asyncio
import contextlib
from collections.abc import Callable

from chain.records.peer_message import (
    FRAME_HEADER_BYTES,
    decode_frame_header,
    encode_frame,
)

OUTBOX_BYTES_MAX = 16 * 1024 * 1024  # waiting for a slow peer; one more and it is dropped
CLOSE_S_MAX = 2  # a peer that does not close its side is cut off


class Link:
    """Reads until the peer or we close; writes what is queued, in order."""

    def __init__(
        self,
        number: int,
        host: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        magic: bytes,
    ) -> None:
        """`number` names the link towards Gossip; `host`: the peer's address; `magic`: 4 bytes."""
        self.number, self.host = number, host
        self._reader, self._writer, self._magic = reader, writer, magic
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting = 0
        self._closed, self._ended = asyncio.Event(), asyncio.Event()

    def send(self, command: str, payload: bytes) -> bool:
        """Queues one message.  False: the peer is too slow, and should be dropped."""
        frame = encode_frame(self._magic, command, payload)
        if self._waiting + len(frame) > OUTBOX_BYTES_MAX:
            return False
        self._waiting += len(frame)
        self._outbox.put_nowait(frame)
        return True

    def close(self) -> None:
        """Ends `run`."""
        self._closed.set()

    async def ended(self) -> None:
        """Waits until `run` has hung up."""
        await self._ended.wait()

    async def run(self, on_message: Callable[[int, str, bytes], None]) -> None:
        """Until either side closes.

        Raises:
            DecodeError: the peer sent no frame of this chain.
        """
        jobs = [
            asyncio.ensure_future(self._read(on_message)),
            asyncio.ensure_future(self._write()),
            asyncio.ensure_future(self._closed.wait()),
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                error = job.exception()
                if error is not None and not isinstance(error, OSError | EOFError):
                    raise error
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            await self._hang_up()
            self._ended.set()

    async def _read(self, on_message: Callable[[int, str, bytes], None]) -> None:
        while True:
            header = decode_frame_header(
                self._magic, await self._reader.readexactly(FRAME_HEADER_BYTES)
            )
            payload = header.check(await self._reader.readexactly(header.length))
            on_message(self.number, header.command, payload)

    async def _write(self) -> None:
        while True:
            frame = await self._outbox.get()
            self._writer.write(frame)
            await self._writer.drain()
            self._waiting -= len(frame)

    async def _hang_up(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), CLOSE_S_MAX)
