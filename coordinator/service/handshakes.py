"""The link port's listening sockets: TLS handshakes are bounded in number and in time.

asyncio's own servers let any number of strangers connect, say nothing, and hold a descriptor for a
minute each.  Here the oldest handshake of whoever has most of them gives way to a new one, so a
crowd from one address displaces itself, and members get in.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from coordinator.config import split_address

HANDSHAKES_MAX = 64  # under way at the same time
HANDSHAKE_S = 10.0
BACKLOG = 128
PAUSE_S = 0.1  # after the system refused to accept, for example without descriptors

log = logging.getLogger("gristmill.links")


class Handshakes:
    """Accepts connections, and hands those whose handshake is done to a server's protocols."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        handshakes_max: int = HANDSHAKES_MAX,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        """`make`: the protocol of a new connection."""
        self._make, self._context = make, context
        self._handshakes_max, self._handshake_s = handshakes_max, handshake_s
        self._under_way: dict[asyncio.Task[None], str] = {}  # -> address, oldest first
        self._listeners: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def under_way(self) -> int:
        """Connections whose handshake is not done."""
        return len(self._under_way)

    async def listen(self, address: str) -> None:
        """Listen at host:port, on all addresses of that host.  Raises OSError: it is taken."""
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, place in dict.fromkeys(found):
            self._listeners.append(_listener(family, place))
        self._tasks = [
            asyncio.create_task(self._accept(listener), name="accept links")
            for listener in self._listeners
        ]

    async def stop(self) -> None:
        """No more connections; those under way are given up.  May be called twice."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            # Else a connection that comes while its acceptor is being cancelled is an error.
            asyncio.get_running_loop().remove_reader(listener)
        ending = [*self._tasks, *self._under_way]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for listener in listeners:
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, place = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("no link can be accepted: %s", error)
                await asyncio.sleep(PAUSE_S)
                continue
            self._make_room()
            task = asyncio.create_task(self._shake_hands(connection), name="handshake")
            self._under_way[task] = str(place[0])
            task.add_done_callback(lambda done: self._under_way.pop(done, None))
            await asyncio.sleep(0)  # so that it starts: only then it owns the connection

    def _make_room(self) -> None:
        """The oldest handshake of the address that has most gives way when all places are taken."""
        if len(self._under_way) < self._handshakes_max:
            return
        held = Counter(self._under_way.values())
        most = max(held.values())
        oldest = next(task for task, who in self._under_way.items() if held[who] == most)
        del self._under_way[oldest]
        oldest.cancel()

    async def _shake_hands(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s,
            )
        except OSError as error:  # TLS errors and timeouts are among them
            log.debug("handshake: %s", error)


def _listener(family: int, place: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
