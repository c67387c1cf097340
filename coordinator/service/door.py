"""How many may be connected to a server, and how long a connection's first head may take.

aiohttp bounds heads in bytes but not in time, and connections not at all; both would let strangers
use up this process' file descriptors.  Later heads have the server's keep-alive time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from coordinator.config import split_address

_HEAD_END = b"\r\n\r\n"
ADDRESS_SHARE = 4  # one address may hold one in so many of all connections

Name = Callable[[asyncio.BaseTransport], str]
"""Whose connection it is, where one may not hold all places."""


def address_of(transport: asyncio.BaseTransport) -> str:
    """The other side's address."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


class Door:
    """Lets connections in to a server's protocols."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        connections_max: int,
        head_s: float,
        name: Name = address_of,
        each_max: int | None = None,
    ) -> None:
        """Args:
        make: the protocol of a new connection.
        each_max: connections of one name; one in ADDRESS_SHARE of all when left out.
        """
        self._make, self.name = make, name
        self.connections_max, self.head_s = connections_max, head_s
        self._each_max = each_max or max(1, connections_max // ADDRESS_SHARE)
        self._by_name: Counter[str] = Counter()
        self._count = 0

    def guard(self) -> "Guarded":
        """The protocol of a connection that has just come."""
        return Guarded(self, self._make())

    async def listen(self, address: str) -> asyncio.Server:
        """Listen at host:port.  Raises OSError: it is taken."""
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        return await loop.create_server(self.guard, host, port, reuse_address=True)

    def enter(self, name: str) -> bool:
        """Whether one more connection of `name` may come in; it is counted."""
        loopback = name in ("127.0.0.1", "::1")  # a reverse proxy brings everybody
        if self._count >= self.connections_max or (
            self._by_name[name] >= self._each_max and not loopback
        ):
            return False
        self._count += 1
        self._by_name[name] += 1
        return True

    def leave(self, name: str) -> None:
        """A connection that had entered is gone."""
        self._count -= 1
        self._by_name[name] -= 1
        if not self._by_name[name]:
            del self._by_name[name]


class Guarded(asyncio.Protocol):
    """One connection: refused when the door is full, closed when no request comes."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door, self._inner = door, inner
        self._name: str | None = None  # once it is in
        self._seen = b""  # the head's last bytes, until it is complete
        self._before = True  # nothing but empty lines came
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, start its time; or close it."""
        name = self._door.name(transport)
        assert isinstance(transport, asyncio.Transport)
        if not self._door.enter(name):
            transport.abort()
            return
        self._name = name
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(self._door.head_s, transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Watch for the end of the first head; everything goes on to the server."""
        if self._name is None:
            return
        if self._alarm is not None:
            # Empty lines before a head are no head (RFC 9112 section 2.2 lets servers skip them).
            self._seen = (self._seen + data).lstrip(b"\r\n") if self._before else self._seen + data
            self._before = not self._seen
            if _HEAD_END in self._seen:
                self._alarm.cancel()
                self._alarm = None
            self._seen = self._seen[-len(_HEAD_END) :]
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """As the server likes."""
        return self._inner.eof_received() if self._name is not None else None

    def pause_writing(self) -> None:
        """As the server likes."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """As the server likes."""
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Count it out."""
        if self._name is None:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._door.leave(self._name)
        self._inner.connection_lost(error)
