"""Links between replicas: WebSockets over mutual TLS 1.3, one in each direction.

Each replica dials every peer and sends on its own connection only; what it accepts it only reads.
A link is a datagram service with good manners: what cannot be sent is dropped, and STATUS heals it.
Bounds: frame size, bytes waiting for a peer, bytes and frames a second from a peer, one incoming
link a member; handshakes (coordinator/service/handshakes.py), connections of a member.
"""

import asyncio
import logging
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from bft.pbft.messages import FRAME_BYTES_MAX, Verified, claimed_epoch, open_message
from chain.federation.rates import Bucket
from chain.federation.server import make_runner
from coordinator.service.door import Door
from coordinator.service.handshakes import Handshakes
from coordinator.service.roster import Roster

PATH = "/link"
QUEUE_BYTES_MAX = 48 * 1024 * 1024  # a full pipeline of full batches and a NEW-VIEW fit
INCOMING_BYTES_S = 32 * 1024 * 1024
INCOMING_FRAMES_S = 4_000
BURST_S = 4  # budgets may be used up this far ahead
RECONNECT_S = 0.2  # doubles with every failure, up to
RECONNECT_S_MAX = 5.0  # so long after a cut is healed a peer may still be missed
CONNECT_S = 5.0
HEARTBEAT_S = 5.0  # silence of one and a half ends a link: TCP alone would wait for minutes
HEAD_S = 10.0  # from a handshake to the request for a link
MEMBER_CONNECTIONS_MAX = 4  # the link, the one that replaces it, and those that are closing
CLOSE_S = 1.0  # a link that is closed here ends so soon, whether or not the peer answers
PENALTY_S = 5.0  # a member that sent garbage may come again after this time

log = logging.getLogger("gristmill.links")

Deliver = Callable[[int, Verified], Awaitable[None]]
"""Hands on a verified message from the link of member `int`; waits when there is no room."""

Open = Callable[[bytes], Verified | None]
"""The message in a frame; None: it says nothing new.  Raises DecodeError, BadSignature."""


class Outgoing:
    """What waits for one peer, and the connection to it."""

    def __init__(self, peer: int) -> None:
        self.peer = peer
        self.up = False
        self.dropped = 0  # messages, since the start
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()

    def offer(self, message: bytes) -> None:
        """Queue a message.  Without a connection, or on overflow, everything is dropped."""
        if not self.up or self._bytes + len(message) > QUEUE_BYTES_MAX:
            self.dropped += len(self._queue) + 1
            self.clear()
            return
        self._queue.append(message)
        self._bytes += len(message)
        self._filled.set()

    def clear(self) -> None:
        """Forget what waits."""
        self._queue.clear()
        self._bytes = 0

    async def take(self) -> bytes:
        """The oldest waiting message."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        message = self._queue.popleft()
        self._bytes -= len(message)
        return message


class Links:
    """All links of one replica."""

    def __init__(
        self,
        roster: Roster,
        index: int,
        server: ssl.SSLContext,
        clients: dict[int, ssl.SSLContext],
        deliver: Deliver,
        opened: Open | None = None,
        on_other_epoch: Callable[[int], None] = lambda epoch: None,
    ) -> None:
        """Args:
        clients: the context for each peer, see coordinator/service/tls.py.
        opened: verifies a frame; by default, one of the roster's epoch.
        on_other_epoch: hears of the epochs that frames claim which cannot be verified here.
        """
        self._roster, self._index = roster, index
        self._membership = roster.membership
        self._server, self._clients, self._deliver = server, clients, deliver
        self._opened = opened or (lambda data: open_message(data, self._membership))
        self._on_other_epoch = on_other_epoch
        self._member_by_certificate = {
            member.tls_certificate: position for position, member in enumerate(roster.members)
        }
        self._outgoing = {
            peer: Outgoing(peer) for peer in range(len(roster.members)) if peer != index
        }
        self._incoming: dict[int, web.WebSocketResponse] = {}
        self._refused_until: dict[int, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._handshakes: Handshakes | None = None

    @property
    def up(self) -> tuple[int, ...]:
        """Peers to which this replica can send, ascending."""
        return tuple(peer for peer, link in sorted(self._outgoing.items()) if link.up)

    @property
    def dropped(self) -> int:
        """Messages that could not be sent, since the start."""
        return sum(link.dropped for link in self._outgoing.values())

    def send(self, to: int | None, message: bytes) -> None:
        """Queue a frame for one peer, or for all."""
        for peer in self._outgoing if to is None else (to,):
            if peer in self._outgoing:
                self._outgoing[peer].offer(message)

    async def start(self, address: str) -> None:
        """Listen at `address` (host:port) and dial all peers.  Raises OSError: it is taken."""
        app = web.Application()
        app.router.add_get(PATH, self._accept)
        self._runner = make_runner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        assert self._runner.server is not None
        each = MEMBER_CONNECTIONS_MAX
        everybody = each * len(self._roster.members)
        door = Door(self._runner.server, everybody, HEAD_S, _holder, each)
        self._handshakes = Handshakes(door.guard, self._server)
        await self._handshakes.listen(address)
        self._tasks = [
            asyncio.create_task(self._keep_dialling(link), name=f"link to {peer}")
            for peer, link in sorted(self._outgoing.items())
        ]

    async def stop(self) -> None:
        """Close all links."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._handshakes is not None:
            await self._handshakes.stop()
        for ws in list(self._incoming.values()):
            await ws.close(code=WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()

    # Outgoing.

    async def _keep_dialling(self, link: Outgoing) -> None:
        pause = RECONNECT_S
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    await self._run_outgoing(session, link)
                    pause = RECONNECT_S
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    log.debug("link to replica %d: %s", link.peer, error)
                finally:
                    link.up = False
                    link.clear()
                # Jitter, so that replicas that lost one peer do not come back to it together.
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2 * pause, RECONNECT_S_MAX)

    async def _run_outgoing(self, session: aiohttp.ClientSession, link: Outgoing) -> None:
        """Connect and send until the link breaks."""
        member = self._roster.members[link.peer]
        async with asyncio.timeout(CONNECT_S):
            ws = await session.ws_connect(
                f"https://{member.link.decode('ascii')}{PATH}",
                ssl=self._clients[link.peer],
                heartbeat=HEARTBEAT_S,
                max_msg_size=1024,
                compress=0,
            )
        try:
            if _peer_certificate(ws.get_extra_info("ssl_object")) != member.tls_certificate:
                raise aiohttp.ClientError(f"replica {link.peer} showed another certificate")
            link.up = True
            log.info("link to replica %d is up", link.peer)
            reader = asyncio.create_task(_wait_for_end(ws))
            sender = asyncio.create_task(_send_all(ws, link))
            try:
                await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (reader, sender):
                    task.cancel()
                await asyncio.gather(reader, sender, return_exceptions=True)
            log.info("link to replica %d is down", link.peer)
        finally:
            link.up = False
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await ws.close()

    # Incoming.

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        """One peer's connection: read frames until it ends or misbehaves."""
        certificate = _peer_certificate(request.get_extra_info("ssl_object"))
        peer = self._member_by_certificate.get(certificate)
        now = asyncio.get_running_loop().time()
        if peer is None or peer == self._index:
            raise web.HTTPForbidden(text="not a peer's certificate")
        if now < self._refused_until.get(peer, now):
            raise web.HTTPTooManyRequests(text="the last link sent garbage; come again later")
        ws = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=FRAME_BYTES_MAX, compress=False, timeout=CLOSE_S
        )
        await ws.prepare(request)
        before = self._incoming.pop(peer, None)
        self._incoming[peer] = ws
        if before is not None:
            await before.close(code=WSCloseCode.GOING_AWAY, message=b"replaced by a newer link")
        try:
            await self._read(ws, peer)
        finally:
            if self._incoming.get(peer) is ws:
                del self._incoming[peer]
        return ws

    async def _read(self, ws: web.WebSocketResponse, peer: int) -> None:
        clock = asyncio.get_running_loop().time
        by_bytes = Bucket(INCOMING_BYTES_S, BURST_S * INCOMING_BYTES_S, clock())
        by_frames = Bucket(INCOMING_FRAMES_S, BURST_S * INCOMING_FRAMES_S, clock())
        async for message in ws:
            if _is_loss(message):
                log.info("link from replica %d is lost: %r", peer, message.data)
                return
            if message.type is not WSMsgType.BINARY:
                broken = message.type is WSMsgType.ERROR
                frame = str(message.data) if broken else f"a {message.type.name} frame"
                await self._throw_out(ws, peer, f"{frame}; binary expected")
                return
            data: bytes = message.data
            pause = max(by_bytes.wait_s(len(data), clock()), by_frames.wait_s(1, clock()))
            if pause:
                await asyncio.sleep(pause)
            try:
                verified = self._opened(data)
            except DecodeError as error:
                claimed = claimed_epoch(data)
                if claimed is not None and claimed != self._membership.epoch:
                    # Who is ahead or behind by epochs speaks of what cannot be checked here.
                    self._on_other_epoch(claimed)
                    continue
                await self._throw_out(ws, peer, str(error))
                return
            if verified is not None:
                await self._deliver(peer, verified)
        if ws.close_code == WSCloseCode.MESSAGE_TOO_BIG:
            await self._throw_out(ws, peer, f"a frame above {FRAME_BYTES_MAX} bytes")

    async def _throw_out(self, ws: web.WebSocketResponse, peer: int, reason: str) -> None:
        """Close the link; say why, there and here."""
        log.warning("link from replica %d closed: %s", peer, reason)
        self._refused_until[peer] = asyncio.get_running_loop().time() + PENALTY_S
        # A close frame's reason has at most 123 bytes (RFC 6455 section 5.5).
        told = reason.encode("ascii", "replace")[:120]
        await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=told)


def _is_loss(message: WSMessage) -> bool:
    """Whether the connection broke or fell silent, which is nobody's misbehaviour."""
    is_error = message.type is WSMsgType.ERROR
    return is_error and not isinstance(message.data, aiohttp.WebSocketError)


def _peer_certificate(tls: ssl.SSLObject | None) -> bytes:
    """DER of what the other side showed; empty without TLS."""
    return (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""


def _holder(transport: asyncio.BaseTransport) -> str:
    """Who shook hands, by certificate."""
    return sha256(_peer_certificate(transport.get_extra_info("ssl_object"))).hex()


async def _send_all(ws: aiohttp.ClientWebSocketResponse, link: Outgoing) -> None:
    while True:
        await ws.send_bytes(await link.take())


async def _wait_for_end(ws: aiohttp.ClientWebSocketResponse) -> None:
    """Nothing but control frames may come on a connection that we dialled."""
    async for message in ws:
        if not _is_loss(message):
            log.warning("a %s frame came on an outgoing link", message.type.name)
        return
