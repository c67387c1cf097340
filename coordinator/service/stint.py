"""One stint of a replica: from a recovery of its journal until it has to begin anew.

A replica begins anew with every start of its process, with every epoch, and when it finds out that
it has forgotten what it promised.  There is one way to do so: everything is closed, and built again
from what is durable.  A stint is that of a member, with a vote, or that of an observer without.

The API is plain HTTP on the member's `api` address: everything on it is signed or named by its
digest, and TLS towards the public is the operator's (a reverse proxy).  Links are mutual TLS.
"""

import asyncio
import dataclasses
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec.structs import replace

from bft.errors import ConfigError
from bft.pbft.config import Config
from chain.federation import api, openapi
from chain.federation.server import make_runner
from chain.records.federation import MemberRecord
from chain.records.score_log import BlockFinal, CycleClosed
from chain.validation import genesis_view
from coordinator.application import Application
from coordinator.config import Setup
from coordinator.dashboard.site import Dashboard
from coordinator.effects import Append, BlockAccepted
from coordinator.epochs import Place
from coordinator.guard.keeper import GuardedKey, Keeper
from coordinator.guard.moving import silence
from coordinator.guard.rules import Guard
from coordinator.guard.store import SqliteGuard
from coordinator.replica import CoordinatorReplica
from coordinator.service import tls
from coordinator.service.beacon_api import BeaconApi
from coordinator.service.blobs import BlobStore
from coordinator.service.door import Door
from coordinator.service.energy import EnergyMeter
from coordinator.service.finals import BlockFiller
from coordinator.service.index import LogIndex
from coordinator.service.journal import Journal
from coordinator.service.lag import Lag
from coordinator.service.ledger import Ledger
from coordinator.service.linking import make_links
from coordinator.service.membership_api import MembershipApi
from coordinator.service.metrics import Metrics
from coordinator.service.miner_api import MinerApi
from coordinator.service.object_store import open_object_store
from coordinator.service.outflow import Outflow
from coordinator.service.problems import errors_to_problems
from coordinator.service.public_api import PublicApi, readable_by_pages
from coordinator.service.publication import Publication
from coordinator.service.reader import JournalReader
from coordinator.service.recovery import Recovery
from coordinator.service.resources import ResourcesApi
from coordinator.service.retention import Retention
from coordinator.service.runtime import Runtime
from coordinator.service.staging import Staging
from coordinator.service.standing import Standing
from coordinator.service.throttle import ClientBudget, Throttle
from coordinator.service.upload_rights import UploadRights, longest_update
from coordinator.service.uploads_api import UploadsApi
from coordinator.service.vault import Vault
from coordinator.service.work import Artifacts, Pool, PoolWorker, urls_but

if TYPE_CHECKING:
    from coordinator.service.tenure import Tenure

SHUTDOWN_S = 2.0
LINGER_S = 10.0  # who leaves answers so long in the epoch that is over
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
        own: MemberRecord,
    ) -> None:
        """Args:
        stack: lets go of everything, `journal` included, in reverse order.
        own: this replica's record: that of its epoch, or else the one in its home.
        """
        self._setup, self._stack, self._own = setup, stack, own
        self._journal, self._recovery, self._application = journal, recovery, application
        self._reader = JournalReader(setup.home.journal)
        self._stack.callback(self._reader.close)
        self._index = LogIndex(self._reader, application.rules.params)
        self._stack.callback(self._index.close)
        storage = setup.config.storage
        remote = None if storage.artifacts is None else open_object_store(storage.artifacts)
        self._store = BlobStore(setup.home.blobs, storage.blobs_bytes_max, remote)
        others = urls_but(application.state.members, setup.identity.public_key)
        self._artifacts = Artifacts(others, self._store)
        self._stack.push_async_callback(self._artifacts.close)
        self._chores: list[asyncio.Task[None]] = []

    def _furnish(self, peers_up: Callable[[], tuple[int, ...]]) -> None:
        """Doors and chores, once `standing` is there."""
        setup, rules = self._setup, self._application.rules
        self._public = PublicApi(
            rules.genesis,
            self._own.operator,
            self.standing,
            self._index,
            self._store,
            peers_up,
            setup.config.limits.listeners,
            Outflow(setup.config.limits.answers_bytes),
        )
        own = setup.identity.public_key
        self._resources = ResourcesApi(self._index, rules.job)
        self._energy = EnergyMeter(setup.config.watts_per_core)
        self._dashboard = Dashboard(
            self._own.operator,
            self.standing,
            self._index,
            self._public.status,
            peers_up,
            used=self._resources.summary_of,
            used_here=self._energy.of,
        )
        self._metrics = Metrics(
            self.standing, own, peers_up, self._refusals, lambda: self._store.up
        )
        self._beacon = BeaconApi(rules.genesis, self.standing, self._index)
        self._filler = BlockFiller(self._index, self._artifacts, self._keep_block)
        path = setup.home.journal.with_name("coins.db")
        self._ledger = Ledger(path, genesis_view(rules.genesis))
        self._stack.callback(self._ledger.close)
        limits = setup.config.limits
        self._publication = Publication(
            setup.home.tlog, rules.genesis, self._index, limits.answers_bytes
        )
        self._retention = Retention(
            rules.job.genesis_model, self._index, self._store, lambda: self.standing.replica.state
        )

    def _refusals(self) -> int:
        """Signatures that the guard has refused; without a vote there is none."""
        return 0

    @abstractmethod
    def _taking_routes(self) -> list[web.RouteDef]:
        """Of the doors that take something in."""

    async def open(self) -> None:
        """Listen.  Raises ConfigError: an address is taken or not of this machine."""
        listen = self._setup.config.listen
        await self._listen(listen.api or self._own.api.decode("ascii"), self.public_app())
        self._stack.callback(self._public.closing.set)
        self._stack.callback(self.standing.growth.announce)  # wakes listeners: they see `closing`
        if listen.metrics is not None:
            app = web.Application(middlewares=[errors_to_problems])
            app.add_routes(self._metrics.routes())
            await self._listen(listen.metrics, app)

    def public_app(self) -> web.Application:
        """What everybody may use: described by openapi.yaml, and the pages."""
        taking, pages = self._taking_routes(), self._dashboard.routes()
        throttle = Throttle(
            self._setup.config.limits,
            frozenset((route.method, route.path) for route in taking),
            frozenset({api.CYCLE, api.RESOURCES, *(route.path for route in pages)}),
            time.monotonic,
        )
        app = web.Application(middlewares=[errors_to_problems, throttle.middleware()])
        app[openapi.PAGES] = frozenset(route.path for route in pages)
        app.add_routes(self._publication.routes())
        app.on_response_prepare.append(readable_by_pages)
        membership = MembershipApi(self.standing)
        doors = (self._public, self._beacon, membership, self._resources, self._energy)
        app.add_routes([route for door in doors for route in door.routes()])
        app.add_routes([*taking, *openapi.routes(__package__), *pages])
        return app

    async def _listen(self, address: str, app: web.Application) -> None:
        """Raises ConfigError."""
        limits = self._setup.config.limits
        runner = make_runner(app, shutdown_timeout=SHUTDOWN_S, keepalive_timeout=limits.idle_s)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        door = Door(runner.server, limits.connections, limits.head_s)
        try:
            listener = await door.listen(address)
        except OSError as error:
            raise ConfigError(f"cannot listen at {address}: {error.strerror}") from None
        self._stack.callback(listener.close)

    async def run(self) -> None:
        """Until `stop`, or until this stint is over.  Raises Halted."""
        self._chores += [
            asyncio.create_task(self._filler.run(), name="final blocks"),
            asyncio.create_task(self._ledger.run(self._index), name="coins"),
            asyncio.create_task(self._retention.run(), name="retention"),
            asyncio.create_task(self._publication.run(), name="publication"),
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

    async def _keep_block(self, block: BlockAccepted) -> None:
        await self.standing.keep_block(block)
        self._ledger.wake()

    def _on_append(self, append: Append) -> None:
        """Tell those who work beside the loop what the log brought."""
        for record in append.records:
            self._publication.hear(record)
            if isinstance(record, BlockFinal):
                self._filler.wake()
                self._ledger.wake()
            elif isinstance(record, CycleClosed):
                self._retention.wake()
                self._energy.end(record.cycle)


class MemberStint(Stint):
    """A replica with a vote."""

    def __init__(
        self,
        setup: Setup,
        stack: AsyncExitStack,
        journal: Journal,
        recovery: Recovery,
        application: Application,
        place: Place,
        pool: Pool,
        local: SqliteGuard,
        tenure: "Tenure | None" = None,
    ) -> None:
        """Args:
        place: where this replica votes.
        local: the guard in front of this replica's keys; its owner closes it.
        tenure: this process's hold on the key, where others have it as well.
        """
        super().__init__(setup, stack, journal, recovery, application, place.own)
        self._place = place
        home, rules = setup.home, application.rules
        if tls.certificate_der(home.tls_certificate) != place.own.tls_certificate:
            raise ConfigError(
                f"{home.tls_certificate} is not the one that this replica's member record names"
            )
        self._local = local
        guard = Guard(recovery.guarded.claims, local.inherited)
        key = GuardedKey(guard, setup.identity.sign, local)
        vault = Vault(setup.keystore)
        replica = CoordinatorReplica(
            rules,
            Config(
                membership=place.epoch.membership,
                index=place.index,
                past=place.epoch.past,
                sign=key.sign,
                checkpoint_interval=rules.params.checkpoint_interval,
                window=rules.params.window,
                probation_ms=PROBATION_MS,
            ),
            vault.secrets,
            dataclasses.replace(
                recovery.consensus,
                inherited=silence(local.inherited, place.epoch.membership.epoch),
            ),
            recovery.saved,
            recovery.tail,
            recovery.gap,
            key.sign_share,
            key.sign_draft,
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
            vault,
            durable_lsn=max((lsn for lsn, _ in recovery.consensus.records), default=0),
            on_append=self._on_append,
            keeper=(
                Keeper(guard, local)
                if tenure is None
                else Keeper(guard, tenure.store, tenure.confirm)
            ),
        )
        self.runtime.epoch_ended = self._epoch_ended
        self.standing = self.runtime
        self.lag = Lag(self.runtime, self._artifacts)
        self.links = make_links(setup, place, self.runtime, self.lag)
        self._furnish(lambda: self.links.up)
        self._publication.join(
            place, setup.identity, self._artifacts, self.standing, setup.config.witnesses
        )
        self.runtime.offers.coins = self._ledger.coins
        limits = setup.config.limits
        budget = ClientBudget(limits, time.monotonic)
        self._miners = MinerApi(self.runtime, setup.identity, limits, budget)
        bytes_max = setup.config.storage.blobs_bytes_max
        self._uploads = UploadsApi(
            rules.chain_id,
            UploadRights(rules.chain_id, longest_update(rules), lambda: self.runtime.replica.state),
            self._store,
            Staging(home.uploads, lambda: bytes_max - self._store.bytes_stored),
            setup.identity,
            limits,
            budget,
        )

    def _refusals(self) -> int:
        return self._local.refusals()[0]

    def _epoch_ended(self) -> None:
        """Begin anew; who leaves stays for a while, so that nobody lacks its last votes."""
        members = self.runtime.replica.state.membership
        stays = self._setup.identity.public_key in members.index_by_key
        if stays or self.lag.over:
            self.runtime.stop()
        else:
            asyncio.get_running_loop().call_later(LINGER_S, self.runtime.stop)

    def _taking_routes(self) -> list[web.RouteDef]:
        return [*self._miners.routes(), *self._uploads.routes()]

    async def open(self) -> None:
        """Listen, dial.  Raises ConfigError, as `Stint.open`."""
        link = self._setup.config.listen.link or self._own.link.decode("ascii")
        self._stack.push_async_callback(self.links.stop)
        try:
            await self.links.start(link)
        except OSError as error:
            raise ConfigError(f"cannot listen at {link}: {error.strerror}") from None
        await super().open()
        log.info(
            "replica %d of epoch %d: links at %s, API at %s",
            self._place.index,
            self._place.epoch.epoch,
            link,
            self._setup.config.listen.api or self._own.api.decode("ascii"),
        )

    async def _run(self) -> None:
        self._chores.append(asyncio.create_task(self.lag.run(), name="lag"))
        await self.runtime.run(self.links)
        if self.lag.over:
            self._journal.note_epoch(replace(self._place.epoch, over=1))

    def stop(self) -> None:
        """Let `run` return."""
        self.runtime.stop()
