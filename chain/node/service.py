"""A chain node's process: sockets and signals around `chain.node.core`."""

import asyncio
import ipaddress
import logging
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from aiohttp import web

from bft.errors import ConfigError, DecodeError, Unavailable
from chain.federation.server import make_runner
from chain.gossip_events import (
    CheckScripts,
    Dial,
    DialFailed,
    Drop,
    Effect,
    Event,
    MessageCame,
    PeerConnected,
    PeerLost,
    SaveBlock,
    SaveEvidence,
    SaveFinal,
    SaveFinality,
    ScriptsChecked,
    Send,
    ServeBlocks,
    ServeCoreHeaders,
    ServeHeaders,
    Tick,
)
from chain.node.anchor import anchored
from chain.node.config import NodeConfig, keep_genesis, split_endpoint
from chain.node.core import NodeCore, unix_ms
from chain.node.doors import make_app
from chain.node.history import answer_core
from chain.node.links import Link
from chain.node.replicas import poll_replica
from chain.peers.connection import Connection
from chain.records.federation import FederationKey
from chain.records.peer_address import PeerAddress, Scope, parse_address
from chain.records.peer_message import (
    CERTIFIED_HEADERS_MAX,
    encode_certheaders,
    encode_inventory,
)
from chain.scripts import run_jobs
from chain.service_manager import at_work
from chain.tree import TipChanged

TICK_S = 1
DIAL_S_MAX = 10  # a connection must stand by then
CLOSING_MAX = 64  # connections beyond all places, which are about to be closed
DISCOURAGE_S = 24 * 60 * 60
IDLE_S = 30  # a connection without a whole request head so long after the last answer is closed
SHUTDOWN_S = 3  # what is being answered over HTTP at the end may take so long
LOG = logging.getLogger("gristmill.node")


class NodeService:
    """One running node."""

    def __init__(self, config: NodeConfig, *, now_ms: Callable[[], int] = unix_ms) -> None:
        """Raises ConfigError, as NodeCore."""
        self.config = config
        self.core = NodeCore(config, now_ms)
        self.p2p_endpoint = self.http_endpoint = ""  # where it listens, once started
        self._links: dict[int, Link] = {}
        self._numbers = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._worker: ProcessPoolExecutor | None = None  # runs the scripts of heavy blocks
        self._runner: web.AppRunner | None = None
        self._started = False
        self._keeping = asyncio.Lock()  # one writer of the address book at a time

    # Life

    async def start(self) -> None:
        """Listens, dials, polls.  Raises ConfigError: an address cannot be listened on."""
        host, port = split_endpoint(self.config.p2p)
        announced = self.config.announced
        try:
            self._server = await asyncio.start_server(self._on_inbound, host, port)
            self.p2p_endpoint = _joined(self._server.sockets[0].getsockname())
            app = make_app(self.core, self.step)
            self._runner = make_runner(app, shutdown_timeout=SHUTDOWN_S, keepalive_timeout=IDLE_S)
            await self._runner.setup()
            site = web.TCPSite(self._runner, *split_endpoint(self.config.http))
            await site.start()
        except OSError as error:
            await self.stop()
            raise ConfigError(f"cannot listen: {error.strerror}") from None
        self.http_endpoint = _joined(self._runner.addresses[0])
        own = announced or parse_address(self.p2p_endpoint)
        if own is not None and own.scope is not Scope.NOBODY:
            self.core.gossip.neighbours.exchange.own = own
        await self._keep_book([])  # anchors serve once, whatever happens next
        self._started = True
        self.step(Tick())
        self._spawn(self._tick())
        self._spawn(self._ask_replicas())
        if self.core.history is not None:
            self._spawn(self.core.history.run())
        LOG.info("peers at %s, http at %s", self.p2p_endpoint, self.http_endpoint)

    async def stop(self) -> None:
        """Closes everything; may be called twice."""
        if self._server is not None:
            self._server.close()
        if self._started and not self.core.failed:
            self._started = False
            await self._keep_book(self.core.gossip.neighbours.anchors)
        links = list(self._links.values())
        for link in links:
            link.close()
        await asyncio.gather(*(link.ended() for link in links))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._worker is not None:
            self._worker.shutdown(wait=False, cancel_futures=True)
        self._server = self._runner = self._worker = None
        self.core.close()

    def _spawn(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Unavailable):
            self.core.fail(error)

    async def _ask_replicas(self) -> None:
        """One poller for each replica that is to be asked, also when the members change."""
        asked: dict[str, asyncio.Task[Any]] = {}
        while True:
            for url in self.core.replicas:
                if url not in asked or asked[url].done():
                    asked[url] = self._spawn(poll_replica(url, self.core, self.step))
            await self.core.until(partial(self._have_changed, self.core.epochs))

    def _have_changed(self, epochs: tuple[FederationKey, ...]) -> bool:
        return self.core.epochs != epochs

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.step(Tick())
            if self._started and self.core.peers_file.is_due(self.core.now_ms()):
                await self._keep_book([])

    async def _keep_book(self, anchors: list[PeerAddress]) -> None:
        """Writes the address book, beside everything else."""
        file = self.core.peers_file
        async with self._keeping:
            data = file.bytes_now(self.core.now_ms(), anchors)
            try:
                await asyncio.to_thread(file.write, data)
            except OSError as error:
                LOG.error("the address book cannot be written: %s", error.strerror)

    # Steps

    def step(self, event: Event) -> None:
        """One step, saved and carried out.  Raises as `NodeCore.step`."""
        self.core.step(event, self._carry_out)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(peer=peer, command=command, payload=payload):
                self._send(peer, command, payload)
            case Dial(endpoint=endpoint, kind=kind):
                self._spawn(self._dial(endpoint, kind))
            case Drop(peer=peer, reason=reason, discourage=discourage):
                self._drop(peer, reason, discourage)
            case ServeBlocks(peer=peer, hashes=hashes):
                self._serve_blocks(peer, hashes)
            case ServeHeaders(peer=peer, height=height, block=block):
                self._serve_headers(peer, height, block)
            case ServeCoreHeaders(peer=peer):
                self._send(peer, *answer_core(self.core.store, effect))
            case CheckScripts():
                self._spawn(self._check_scripts(effect))
            case TipChanged(view=view):
                LOG.info("tip %d %s", view.height, view.hash[::-1].hex())
            case SaveEvidence(fault=True):
                LOG.critical("the federation contradicted itself; this node takes no more blocks")
            case SaveEvidence():
                LOG.warning("a winner signed two blocks; the evidence is kept")
            case SaveBlock() | SaveFinal() | SaveFinality():
                pass  # on disk already

    async def _check_scripts(self, asked: CheckScripts) -> None:
        """In a process of its own, made when it is needed first."""
        if self._worker is None:
            self._worker = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        loop = asyncio.get_running_loop()
        verdict = await loop.run_in_executor(self._worker, run_jobs, asked.jobs)
        self.step(ScriptsChecked(block=asked.block, verdict=verdict))

    def _send(self, peer: int, command: str, payload: bytes) -> bool:
        """False: it did not go out, and further messages will not either."""
        link = self._links.get(peer)
        if link is None:
            return False
        if not link.send(command, payload):
            LOG.info("peer %d (%s) reads too slowly", peer, link.host)
            link.close()
            return False
        return True

    def _serve_blocks(self, peer: int, hashes: tuple[bytes, ...]) -> None:
        missing = []
        for wanted in hashes:
            data = self.core.store.block_data(wanted)
            if data is None:
                missing.append(wanted)
            elif not self._send(peer, "block", data):
                return
        if missing:
            self._send(peer, "notfound", encode_inventory(missing))

    def _serve_headers(self, peer: int, height: int, block: bytes) -> None:
        headers: list[bytes] = []
        if self.core.store.final_hash(height) == block:
            while len(headers) < CERTIFIED_HEADERS_MAX:
                found = self.core.store.final_header(height + len(headers) + 1)
                if found is None:
                    break
                headers.append(found)
            best = self.core.tree.best
            if best is not None and len(headers) < CERTIFIED_HEADERS_MAX:
                headers.append(best.encode())
        self._send(peer, "certheaders", encode_certheaders(headers))

    # Links

    def _drop(self, peer: int, reason: str, discourage: bool) -> None:
        link = self._links.get(peer)
        if link is None:
            return
        LOG.info("peer %d (%s) dropped: %s", peer, link.host, reason)
        # Many honest nodes may share the loopback address; as in Bitcoin Core they only lose
        # the connection.
        if discourage and not _is_loopback(link.host):
            now_s = self.core.now_ms() // 1000
            self.core.store.discourage(link.host, now_s, now_s + DISCOURAGE_S)
        link.close()

    async def _on_inbound(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = _endpoint(writer).rpartition(":")[0].strip("[]")
        if not host:  # it has hung up again
            writer.close()
            return
        if len(self._links) >= self.config.inbound_max + CLOSING_MAX or self._shuns(host):
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(host, reader, writer, Connection.INBOUND)
        except asyncio.CancelledError:
            pass  # the node stops; nobody waits for this task but `stop`
        finally:
            self._tasks.discard(task)

    def _shuns(self, host: str) -> bool:
        return self.core.store.is_discouraged(host, self.core.now_ms() // 1000)

    async def _dial(self, endpoint: str, kind: Connection) -> None:
        host, port = split_endpoint(endpoint)
        try:
            stream = asyncio.open_connection(host, port)
            reader, writer = await asyncio.wait_for(stream, DIAL_S_MAX)
        except (OSError, TimeoutError, UnicodeError):  # or no name that DNS can have
            self.step(DialFailed(endpoint=endpoint))
            return
        if not _endpoint(writer):
            writer.close()
            self.step(DialFailed(endpoint=endpoint))
            return
        await self._converse(host, reader, writer, kind, endpoint)

    async def _converse(
        self,
        host: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kind: Connection,
        endpoint: str = "",
    ) -> None:
        """Until the connection ends."""
        self._numbers += 1
        number = self._numbers
        address = _endpoint(writer)
        self.core.addresses[number] = address
        link = self._links[number] = Link(number, host, reader, writer, self.core.magic)
        came = PeerConnected(
            peer=number,
            outbound=kind.outbound,
            kind=kind,
            endpoint=endpoint,
            address=parse_address(address),
        )
        try:
            self.step(came)
            await link.run(self._on_message)
        except DecodeError as error:
            self._drop(number, str(error), discourage=True)
        except Unavailable:
            pass  # this node stops, and has said why
        except Exception as error:  # a bug of ours: stop rather than go on with a wrong state
            self.core.fail(error)
        finally:
            del self._links[number], self.core.addresses[number]
            if not self.core.failed:
                self.step(PeerLost(peer=number))

    def _on_message(self, number: int, command: str, payload: bytes) -> None:
        self.step(MessageCame(peer=number, command=command, payload=payload))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _endpoint(writer: asyncio.StreamWriter) -> str:
    """The other side's; empty if it has hung up before we could see it."""
    address = writer.get_extra_info("peername")
    return "" if address is None else _joined(address)


def _joined(address: Any) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _serve(config: NodeConfig) -> None:
    service = NodeService(config)
    keep_genesis(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # else our parent takes care of it
            loop.add_signal_handler(number, stop.set)
    await service.start()
    ended = asyncio.create_task(stop.wait())
    broken = asyncio.create_task(service.core.until(lambda: False))
    try:
        async with at_work():
            await asyncio.wait((ended, broken), return_when=asyncio.FIRST_COMPLETED)
        if broken.done():
            await broken
    finally:
        ended.cancel()
        broken.cancel()
        await asyncio.gather(ended, broken, return_exceptions=True)
        await service.stop()


def run_node(config: NodeConfig) -> None:
    """Runs one node until SIGTERM or SIGINT; must be called in a process's main thread.

    Raises:
        ConfigError: settings, genesis, key or store do not fit, or an address is taken.
    """
    asyncio.run(_serve(anchored(config)))
