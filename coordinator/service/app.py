"""One replica, assembled: journal, core, links, HTTP, workers; started and stopped in order.

The API is plain HTTP on the member's `api` address: everything on it is signed or named by its
digest, and TLS towards the public is the operator's (a reverse proxy).  Links are mutual TLS.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from bft.errors import ConfigError
from bft.pbft.config import Config
from chain.federation.server import make_runner
from chain.records.score_log import BlockFinal, CycleClosed
from coordinator.config import TLS, Setup
from coordinator.cycle.state import Rules
from coordinator.effects import Append
from coordinator.replica import CoordinatorReplica
from coordinator.service import tls
from coordinator.service.beacon_api import BeaconApi
from coordinator.service.blobs import BlobStore
from coordinator.service.door import Door
from coordinator.service.finals import BlockFiller
from coordinator.service.index import LogIndex
from coordinator.service.journal import Journal
from coordinator.service.miner_api import MinerApi
from coordinator.service.outflow import Outflow
from coordinator.service.peers import Links
from coordinator.service.problems import errors_to_problems
from coordinator.service.public_api import PublicApi, readable_by_pages
from coordinator.service.reader import JournalReader
from coordinator.service.retention import Retention
from coordinator.service.runtime import Runtime
from coordinator.service.work import Artifacts, Pool, PoolWorker

SHUTDOWN_S = 2.0
PROBATION_MS = 1_000  # twice what a STATUS takes to be sent, and long enough for its answer

log = logging.getLogger("gristmill.replica")

PoolFactory = Callable[[int], Pool]
"""(workers) -> pool."""


def lock_home(path: Path) -> int:
    """Hold `path` until the descriptor is closed.

    Raises:
        ConfigError: another process holds it: two live processes of one replica would contradict
            each other.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            f"{path} is held: this replica runs already, and two of it would contradict each other"
        ) from None
    return descriptor


class ReplicaService:
    """One replica in one event loop.  `open`, then `run` until `stop`, then `close`."""

    @classmethod
    async def open(cls, setup: Setup, pool: Pool) -> "ReplicaService":
        """Recover from the journal, listen, dial.  The service closes `pool`.

        Raises:
            ConfigError: the home is locked, its files are damaged or do not fit together, or an
                address is taken or not of this machine.
        """
        stack = AsyncExitStack()
        try:
            service = cls(setup, pool, stack)
            await service._start()
        except BaseException:
            await stack.aclose()
            raise
        return service

    def __init__(self, setup: Setup, pool: Pool, stack: AsyncExitStack) -> None:
        """See `open`."""
        self._setup, self._stack = setup, stack
        home, genesis = setup.home, setup.genesis
        self._stack.push_async_callback(pool.close)
        descriptor = lock_home(home.lock)
        self._stack.callback(os.close, descriptor)
        if tls.certificate_der(home.tls_certificate) != setup.member.tls_certificate:
            raise ConfigError(f"{home.tls_certificate} is not the one in the genesis record")
        journal = Journal(home.journal, genesis.chain_id, setup.identity.public_key)
        self._stack.callback(journal.close)
        recovery = journal.recover()
        replica = CoordinatorReplica(
            Rules(genesis),
            Config(
                membership=genesis.membership,
                index=setup.index,
                sign=setup.identity.sign,
                checkpoint_interval=genesis.params.checkpoint_interval,
                window=genesis.params.window,
                probation_ms=PROBATION_MS,
            ),
            setup.seed,
            recovery.consensus,
            recovery.saved,
            recovery.tail,
            recovery.gap,
        )
        if replica.state.log.size != recovery.log_size:
            raise ConfigError(
                f"{home.journal}: {recovery.log_size} log entries stand there, "
                f"{replica.state.log.size} follow from its batches"
            )
        if recovery.gap is not None and replica.log_missing != (
            recovery.gap.index,
            recovery.gap.end_index,
        ):
            raise ConfigError(f"{home.journal}: log entries before the gap are missing")
        reader = JournalReader(home.journal)
        self._stack.callback(reader.close)
        self._index = LogIndex(reader, genesis.membership, genesis.params)
        self._stack.callback(self._index.close)
        store = BlobStore(home.blobs, setup.config.storage.blobs_bytes_max)
        self._artifacts = Artifacts(genesis, setup.index, store)
        self._stack.push_async_callback(self._artifacts.close)
        self.runtime = Runtime(
            replica,
            journal,
            reader,
            PoolWorker(genesis, self._artifacts, store, pool),
            durable_lsn=max((lsn for lsn, _ in recovery.consensus.records), default=0),
            on_append=self._on_append,
        )
        self.links = self._make_links()
        self._public = PublicApi(
            genesis,
            self.runtime,
            self._index,
            store,
            lambda: self.links.up,
            setup.config.limits.listeners,
            Outflow(setup.config.limits.answers_bytes),
        )
        self._beacon = BeaconApi(genesis, self.runtime, self._index)
        self._miners = MinerApi(
            self.runtime,
            store,
            setup.identity,
            setup.config.limits,
            lambda: asyncio.get_running_loop().time(),
        )
        self._filler = BlockFiller(self._index, self._artifacts, self.runtime.keep_block)
        self._retention = Retention(
            genesis.job.genesis_model, self._index, store, lambda: self.runtime.replica.state
        )
        self._chores: list[asyncio.Task[None]] = []

    def _make_links(self) -> Links:
        setup, home = self._setup, self._setup.home
        files = (home.tls_certificate, setup.keystore.read(TLS))
        clients = {
            peer: tls.client_context(setup.genesis, peer, *files)
            for peer in range(len(setup.genesis.members))
            if peer != setup.index
        }
        server = tls.server_context(setup.genesis, *files)
        return Links(setup.genesis, setup.index, server, clients, self.runtime.deliver)

    async def _start(self) -> None:
        listen, member = self._setup.config.listen, self._setup.member
        link = listen.link or member.link.decode("ascii")
        api = listen.api or member.api.decode("ascii")
        self._stack.push_async_callback(self.links.stop)
        try:
            await self.links.start(link)
            await self._listen(api)
        except OSError as error:
            raise ConfigError(f"cannot listen at {link} and {api}: {error.strerror}") from None
        log.info("replica %d: links at %s, API at %s", self._setup.index, link, api)

    async def _listen(self, address: str) -> None:
        app = web.Application(middlewares=[errors_to_problems])
        app.on_response_prepare.append(readable_by_pages)
        doors = (self._public, self._beacon, self._miners)
        app.add_routes([route for door in doors for route in door.routes()])
        limits = self._setup.config.limits
        runner = make_runner(app, shutdown_timeout=SHUTDOWN_S, keepalive_timeout=limits.idle_s)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        self._stack.callback(self._public.closing.set)
        self._stack.callback(self.runtime.growth.announce)  # wakes listeners: they see `closing`
        assert runner.server is not None
        door = Door(runner.server, limits.connections, limits.head_s)
        listener = await door.listen(address)
        self._stack.callback(listener.close)

    async def run(self) -> None:
        """Until `stop`.  Raises Halted, see Runtime.run."""
        self._chores = [
            asyncio.create_task(self._filler.run(), name="final blocks"),
            asyncio.create_task(self._retention.run(), name="retention"),
        ]
        await self.runtime.run(self.links)

    def stop(self) -> None:
        """Let `run` return."""
        self.runtime.stop()

    async def close(self) -> None:
        """Let go of everything, in reverse order."""
        for task in self._chores:
            task.cancel()
        ended = await asyncio.gather(*self._chores, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                log.error("a background task had ended: %r", error)
        await self._stack.aclose()

    def _on_append(self, append: Append) -> None:
        """Tell those who work beside the loop what the log brought."""
        for record in append.records:
            if isinstance(record, BlockFinal):
                self._filler.wake()
            elif isinstance(record, CycleClosed):
                self._retention.wake()
