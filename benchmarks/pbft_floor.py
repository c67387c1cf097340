"""What one decision must cost on this machine at least, measured piece by piece in the same run.

A command waits for: its own signature checked at the door; the primary's PRE-PREPARE signed,
written durably, sent and checked; the backup's PREPARE and every COMMIT likewise.  Three messages
follow one another; so do three commits to disk.
"""

import asyncio
import multiprocessing
import os
import ssl
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
from aiohttp import web

from bft import quorum
from bft.crypto.identity import PrivateKey, verify
from bft.ordering.request import seal_request
from bft.pbft.events import Persist
from chain.records.federation import Genesis
from coordinator.config import Home
from coordinator.service import tls
from coordinator.service.journal import Journal

MESSAGES = 3  # one after the other: PRE-PREPARE, PREPARE, COMMIT
COMMITS = 3  # before each of them; the answer rests on a quorum's disks (coordinator/durability.py)
MESSAGE_BYTES = 600
PINGS = 400
REPEATS = 200


@dataclass(frozen=True)
class Floor:
    """Milliseconds, medians."""

    message_ms: float  # one way, TLS 1.3 WebSocket between two processes
    commit_ms: float  # one SQLite transaction, WAL, synchronous=FULL
    sign_ms: float
    verify_ms: float
    n: int

    @property
    def signatures_ms(self) -> float:
        """Three signatures, and every check that stands in the way of one decision."""
        others = quorum.strong(self.n) - 1
        # The request at the door and at the backup, the PRE-PREPARE, the PREPAREs of others than
        # the primary and oneself, the COMMITs of others.
        checks = 3 + max(0, others - 1) + others
        return 3 * self.sign_ms + checks * self.verify_ms

    @property
    def decision_ms(self) -> float:
        """All of it."""
        return MESSAGES * self.message_ms + COMMITS * self.commit_ms + self.signatures_ms


def measure(genesis: Genesis, homes: tuple[Path, ...], directory: Path) -> Floor:
    """The floor of a federation whose homes are these.  Blocks for about two seconds."""
    sign_ms, verify_ms = signatures()
    return Floor(
        message_ms=_message_ms(genesis, homes),
        commit_ms=_commit_ms(directory / "floor.db"),
        sign_ms=sign_ms,
        verify_ms=verify_ms,
        n=len(genesis.members),
    )


def _median_ms(durations_s: list[float]) -> float:
    return 1000 * statistics.median(durations_s)


def signatures() -> tuple[float, float]:
    """Milliseconds for one signature and for one check, medians."""
    key = PrivateKey(bytes(31) + b"\x01")
    message = seal_request(bytes(32), key.public_key, 1, bytes(200), key.sign)
    signing, checking = [], []
    for _ in range(REPEATS):
        first = time.perf_counter()
        signature = key.sign(message)
        second = time.perf_counter()
        verify(key.public_key, signature, message)
        signing.append(second - first)
        checking.append(time.perf_counter() - second)
    return _median_ms(signing), _median_ms(checking)


def _commit_ms(path: Path) -> float:
    journal = Journal(path, bytes(32), bytes(33))
    durations = []
    for lsn in range(1, REPEATS + 1):
        record = os.urandom(MESSAGE_BYTES)
        started = time.perf_counter()
        journal.commit([Persist(lsn, record)])
        durations.append(time.perf_counter() - started)
    journal.close()
    return _median_ms(durations)


def _message_ms(genesis: Genesis, homes: tuple[Path, ...]) -> float:
    """Half of a ping's time between two processes, over what a link is made of."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    echo = context.Process(target=_echo, args=(genesis, homes[0], there))
    echo.start()
    there.close()  # so that `recv` fails when the other process does
    try:
        return asyncio.run(_ping(genesis, homes[1], here.recv()))
    finally:
        echo.terminate()
        echo.join()


def _echo(genesis: Genesis, home: Path, ready: Connection) -> None:
    """Sends back what comes, until it is stopped."""
    asyncio.run(_serve(genesis, home, ready))


async def _serve(genesis: Genesis, home: Path, ready: Connection) -> None:
    async def answer(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        async for message in ws:
            await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    paths = Home(home)
    context = tls.server_context(genesis, paths.tls_certificate, paths.tls_key)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    ready.send(runner.addresses[0][1])
    await asyncio.Event().wait()


async def _ping(genesis: Genesis, home: Path, port: int) -> float:
    paths = Home(home)
    context: ssl.SSLContext = tls.client_context(genesis, 0, paths.tls_certificate, paths.tls_key)
    message = os.urandom(MESSAGE_BYTES)
    durations = []
    async with aiohttp.ClientSession() as session:
        url = f"https://127.0.0.1:{port}/"
        async with session.ws_connect(url, ssl=context, compress=0) as ws:
            for _ in range(PINGS):
                started = time.perf_counter()
                await ws.send_bytes(message)
                await ws.receive_bytes()
                durations.append(time.perf_counter() - started)
    return _median_ms(durations) / 2
