"""One stint of a replica: from a recovery of its journal until it has to begin anew.

A replica begins anew with every start of its process, with every epoch, and when it finds out that
it has forgotten what it promised.  There is one way to do so: everything is closed, and built again
from what is durable.  A stint is that of a member, with a vote, or that of an observer without.

The API is plain HTTP on the member's `api` address: everything on it is signed or named by its
digest, and TLS towards the public is the operator's (a reverse proxy).  Links are mutual TLS.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack

from aiohttp import web

from bft.errors import ConfigError
from bft.pbft.config import Config
from chain.federation.server import make_runner
from chain.records.federation import MemberRecord
from chain.records.score_log import BlockFinal, CycleClosed
from coordinator.application import Application
from coordinator.config import TLS, Setup
from coordinator.effects import Append
from coordinator.guard.keeper import GuardedKey, Keeper
from coordinator.guard.rules import Guard
from coordinator.guard.store import SqliteGuard
from coordinator.observer import Observer
from coordinator.replica import CoordinatorReplica
from coordinator.service import tls
from coordinator.service.beacon_api import BeaconApi
from coordinator.service.blobs import BlobStore
from coordinator.service.closed_door import ClosedDoor
from coordinator.service.door import Door
from coordinator.service.finals import BlockFiller
from coordinator.service.following import Follower
from coordinator.service.index import LogIndex
from coordinator.service.journal import Journal
from coordinator.service.miner_api import MinerApi
from coordinator.service.outflow import Outflow
from coordinator.service.peers import Links
from coordinator.service.problems import errors_to_problems
from coordinator.service.public_api import PublicApi, readable_by_pages
from coordinator.service.reader import JournalReader
from coordinator.service.recovery import Recovery
from coordinator.service.retention import Retention
from coordinator.service.runtime import Runtime
from coordinator.service.standing import Standing
from coordinator.service.work import Artifacts, Pool, PoolWorker, urls_but

SHUTDOWN_S = 2.0
PROBATION_MS = 1_000  # twice what a STATUS takes to be sent, and long enough for its answer

log = logging.getLogger("gristmill.replica")


class Stint(ABC):
    """What members and observers have in common: the doors that read, artifacts, chores."""

    standing: Standing
    """Keeps this replica's copy of the state."""

    def __init__(
        self,
        setup: Setup,
        stack: AsyncExitStack,
        journal: Journal,
        recovery: Recovery,
        application: Application,
    ) -> None:
        """`stack` lets go of everything, `journal` included, in reverse order."""
        self._setup, self._stack = setup, stack
        self._journal, self._recovery, self._application = journal, recovery, application
        self._reader = JournalReader(setup.home.journal)
        self._stack.callback(self._reader.close)
        self._index = LogIndex(self._reader, application.rules.params)
        self._stack.callback(self._index.close)
        self._store = BlobStore(setup.home.blobs, setup.config.storage.blobs_bytes_max)
        others = urls_but(application.state.members, setup.identity.public_key)
        self._artifacts = Artifacts(others, self._store)
        self._stack.push_async_callback(self._artifacts.close)
        self._chores: list[asyncio.Task[None]] = []

    @property
    def own(self) -> MemberRecord:
        """This replica's record: that of the epoch, or else the one in its home."""
        state, setup = self._application.state, self._setup
        index = state.membership.index_by_key.get(setup.identity.public_key)
        return setup.member if index is None else state.members[index]

    def _furnish(self, peers_up: Callable[[], tuple[int, ...]]) -> None:
        """Doors and chores, once `standing` is there."""
        setup, rules = self._setup, self._application.rules
        self._public = PublicApi(
            rules.genesis,
            self.own.operator,
            self.standing,
            self._index,
            self._store,
            peers_up,
            setup.config.limits.listeners,
            Outflow(setup.config.limits.answers_bytes),
        )
        self._beacon = BeaconApi(rules.genesis, self.standing, self._index)
        self._filler = BlockFiller(self._index, self._artifacts, self.standing.keep_block)
        self._retention = Retention(
            rules.job.genesis_model, self._index, self._store, lambda: self.standing.replica.state
        )

    @abstractmethod
    def _taking_routes(self) -> list[web.RouteDef]:
        """Of the doors that take something in."""

    async def open(self) -> None:
        """Listen.  Raises ConfigError: an address is taken or not of this machine."""
        api = self._setup.config.listen.api or self.own.api.decode("ascii")
        try:
            await self._listen(api)
        except OSError as error:
            raise ConfigError(f"cannot listen at {api}: {error.strerror}") from None

    async def _listen(self, address: str) -> None:
        app = web.Application(middlewares=[errors_to_problems])
        app.on_response_prepare.append(readable_by_pages)
        app.add_routes([*self._public.routes(), *self._beacon.routes(), *self._taking_routes()])
        limits = self._setup.config.limits
        runner = make_runner(app, shutdown_timeout=SHUTDOWN_S, keepalive_timeout=limits.idle_s)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        self._stack.callback(self._public.closing.set)
        self._stack.callback(self.standing.growth.announce)  # wakes listeners: they see `closing`
        assert runner.server is not None
        door = Door(runner.server, limits.connections, limits.head_s)
        listener = await door.listen(address)
        self._stack.callback(listener.close)

    async def run(self) -> None:
        """Until `stop`, or until this stint is over.  Raises Halted."""
        self._chores = [
            asyncio.create_task(self._filler.run(), name="final blocks"),
            asyncio.create_task(self._retention.run(), name="retention"),
        ]
        await self._run()

    @abstractmethod
    async def _run(self) -> None:
        """The loop."""

    @abstractmethod
    def stop(self) -> None:
        """Let `run` return."""

    async def close(self) -> None:
        """Let go of everything, in reverse order.  May be called twice."""
        chores, self._chores = self._chores, []
        for task in chores:
            task.cancel()
        ended = await asyncio.gather(*chores, return_exceptions=True)
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


class MemberStint(Stint):
    """A replica with a vote."""

    def __init__(
        self,
        setup: Setup,
        stack: AsyncExitStack,
        journal: Journal,
        recovery: Recovery,
        application: Application,
        pool: Pool,
        local: SqliteGuard,
    ) -> None:
        """`local`: the guard in front of this replica's keys; its owner closes it."""
        super().__init__(setup, stack, journal, recovery, application)
        home, rules, state = setup.home, application.rules, application.state
        if tls.certificate_der(home.tls_certificate) != self.own.tls_certificate:
            raise ConfigError(
                f"{home.tls_certificate} is not the one that this replica's member record names"
            )
        guard = Guard(recovery.guarded.claims, local.inherited)
        key = GuardedKey(guard, setup.identity.sign, local)
        replica = CoordinatorReplica(
            rules,
            Config(
                membership=state.membership,
                index=state.membership.index_by_key[setup.identity.public_key],
                sign=key.sign,
                checkpoint_interval=rules.params.checkpoint_interval,
                window=rules.params.window,
                probation_ms=PROBATION_MS,
            ),
            setup.seed,
            recovery.consensus,
            recovery.saved,
            recovery.tail,
            recovery.gap,
        )
        if recovery.gap is not None and replica.log_missing != (
            recovery.gap.index,
            recovery.gap.end_index,
        ):
            raise ConfigError(f"{home.journal}: log entries before the gap are missing")
        self.runtime = Runtime(
            replica,
            journal,
            self._reader,
            PoolWorker(rules.genesis, self._artifacts, self._store, pool),
            durable_lsn=max((lsn for lsn, _ in recovery.consensus.records), default=0),
            on_append=self._on_append,
            keeper=Keeper(guard, local),
        )
        self.standing = self.runtime
        self.links = self._make_links()
        self._furnish(lambda: self.links.up)
        self._miners = MinerApi(
            self.runtime,
            self._store,
            setup.identity,
            setup.config.limits,
            lambda: asyncio.get_running_loop().time(),
        )

    def _make_links(self) -> Links:
        setup, state = self._setup, self._application.state
        files = (setup.home.tls_certificate, setup.keystore.read(TLS))
        index = self.runtime.replica.index
        clients = {
            peer: tls.client_context(state, peer, *files)
            for peer in range(len(state.members))
            if peer != index
        }
        server = tls.server_context(state, *files)
        return Links(state, index, server, clients, self.runtime.deliver)

    def _taking_routes(self) -> list[web.RouteDef]:
        return self._miners.routes()

    async def open(self) -> None:
        """Listen, dial.  Raises ConfigError, as `Stint.open`."""
        link = self._setup.config.listen.link or self.own.link.decode("ascii")
        self._stack.push_async_callback(self.links.stop)
        try:
            await self.links.start(link)
        except OSError as error:
            raise ConfigError(f"cannot listen at {link}: {error.strerror}") from None
        await super().open()
        log.info(
            "replica %d of epoch %d: links at %s, API at %s",
            self.runtime.replica.index,
            self._application.state.epoch,
            link,
            self._setup.config.listen.api or self.own.api.decode("ascii"),
        )

    async def _run(self) -> None:
        await self.runtime.run(self.links)

    def stop(self) -> None:
        """Let `run` return."""
        self.runtime.stop()


class ObserverStint(Stint):
    """A replica without a vote."""

    def __init__(
        self,
        setup: Setup,
        stack: AsyncExitStack,
        journal: Journal,
        recovery: Recovery,
        application: Application,
        reason: str,
    ) -> None:
        """`reason`: why it has none, for people."""
        super().__init__(setup, stack, journal, recovery, application)
        self._reason = reason
        observer = Observer(application, recovery.gap)
        self.follower = Follower(observer, journal, self._artifacts, reason, self._on_append)
        self.standing = self.follower
        self._furnish(lambda: ())

    def _taking_routes(self) -> list[web.RouteDef]:
        return ClosedDoor(self._reason).routes()

    async def open(self) -> None:
        """Listen.  Raises ConfigError, as `Stint.open`."""
        await super().open()
        log.warning("observer: %s", self._reason)

    async def _run(self) -> None:
        await self.follower.run()

    def stop(self) -> None:
        """Let `run` return."""
        self.follower.stop()
