"""Clients that outlive replicas: each command is asked for until some replica has answered it.

The load of benchmarks/failover.py.  Who loses its replica, or is told to come again,
sends the same bytes to the next one; so every command that was started is acknowledged in the end.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.pbft_load import EXPECTED, Commands, post
from bft.crypto.hashing import sha256

TRY_S = 20.0  # longer than a replica lets a request wait
PAUSE_S = 0.05  # before the next replica is tried
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One command that a replica has answered as executed and durable."""

    digest: bytes  # SHA-256 of the sealed request
    asked_s: float  # monotonic
    answered_s: float
    door: int  # index of the replica that answered

    @property
    def wait_s(self) -> float:
        """How long its client waited, failures included."""
        return self.answered_s - self.asked_s


class Clients:
    """`count` clients, one command each at a time, spread over all replicas."""

    def __init__(self, doors: Sequence[tuple[str, int]], commands: Commands, count: int) -> None:
        """`doors`: host and port of every replica."""
        self._doors, self._commands, self._count = doors, commands, count
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.acknowledged: list[Acknowledged] = []

    def start(self) -> None:
        """Begin to ask."""
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._count)]

    async def stop(self) -> None:
        """Let every client have its last answer."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        door = number % len(self._doors)
        connection = _Connection(self._doors[door])
        while not self._stopping:
            (sealed,) = self._commands.seal(1)
            asked = time.monotonic()
            while not await connection.ask(post(sealed)):
                connection.close()
                await asyncio.sleep(PAUSE_S)
                door = (door + 1) % len(self._doors)
                connection = _Connection(self._doors[door])
            found = Acknowledged(sha256(sealed), asked, time.monotonic(), door)
            self.acknowledged.append(found)
        connection.close()


class _Connection:
    """HTTP/1.1 keep-alive to one replica, connected at the first command."""

    def __init__(self, door: tuple[str, int]) -> None:
        self._door = door
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> bool:
        """Whether the replica has executed it."""
        try:
            async with asyncio.timeout(TRY_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(*self._door)
                reader, writer = self._streams
                writer.write(request)
                head = await reader.readuntil(_HEAD_END)
                length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
                return EXPECTED in await reader.readexactly(int(length))
        except (OSError, EOFError, TimeoutError, ValueError):
            return False  # it is down, or fell while it answered

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
