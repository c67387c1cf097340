"""One replica, through all its stints, from the start of its process to its end.

What lasts: the lock on its home, and the workers that measure.  All else belongs to a stint
(coordinator/service/stint.py) and is built again from what is durable when the next one begins.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bft.errors import ConfigError, DecodeError, FederationError
from bft.pbft import amnesia
from chain.federation.client import FederationClient
from coordinator.application import Application, resume
from coordinator.config import Setup
from coordinator.cycle.state import Rules
from coordinator.epochs import note, place
from coordinator.guard.keeper import mismatch
from coordinator.guard.store import GuardError, SqliteGuard
from coordinator.service.journal import Journal
from coordinator.service.observing import ObserverStint
from coordinator.service.peers import Links
from coordinator.service.recovery import FORGOTTEN, Recovery
from coordinator.service.runtime import Halted, Runtime
from coordinator.service.stint import MemberStint, Stint
from coordinator.service.work import Pool, urls_but

if TYPE_CHECKING:
    from coordinator.service.tenure import Tenure, Waiting
    from deploy.etcd import EtcdClient

ASK_S = 5.0  # how long a replica that begins asks whether the others began without it

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
            await service._begin()
        except BaseException:
            await stack.aclose()
            raise
        return service

    def __init__(self, setup: Setup, pool: Pool, stack: AsyncExitStack) -> None:
        """See `open`."""
        self._setup, self._pool, self._stack = setup, pool, stack
        self._rules = Rules(setup.genesis)
        self._stint: Stint | None = None
        self._waiting_for_key: Waiting | None = None
        self._etcd: EtcdClient | None = None
        self._tenure: Tenure | None = None
        self._local: SqliteGuard | None = None
        self._stopping = self._mute = False
        self._stack.push_async_callback(pool.close)
        descriptor = lock_home(setup.home.lock)
        self._stack.callback(os.close, descriptor)
        self._stack.callback(self._close_etcd)
        self._stack.push_async_callback(self._resign)
        self._stack.push_async_callback(self._end)

    @property
    def stint(self) -> Stint:
        """The present one."""
        assert self._stint is not None
        return self._stint

    @property
    def runtime(self) -> Runtime:
        """The loop of a member."""
        assert isinstance(self._stint, MemberStint)
        return self._stint.runtime

    @property
    def links(self) -> Links:
        """The links of a member."""
        assert isinstance(self._stint, MemberStint)
        return self._stint.links

    async def run(self) -> None:
        """Until `stop`.  Raises Halted, see Runtime.run; ConfigError, when it cannot begin anew."""
        while not self._stopping:
            try:
                await self._run_stint()
            except Halted as error:
                await self._end()
                if self._tenure is not None and isinstance(error.__cause__, GuardError):
                    await self._resign()
                    log.error("this process signs no more for now: %s", error)
                elif self._has_forgotten():
                    log.critical("this replica votes no more: %s", error)
                else:
                    raise
            if not self._stopping:
                waiting = self._waiting()
                await self._end()
                await self._begin()
                if isinstance(self._stint, MemberStint):
                    self._stint.runtime.resubmit(waiting)

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping = True
        self._end_run()

    def _end_run(self) -> None:
        for present in (self._stint, self._waiting_for_key):
            if present is not None:
                present.stop()

    async def close(self) -> None:
        """Let go of everything, in reverse order."""
        await self._stack.aclose()

    # Stints.

    async def _begin(self) -> None:
        """From what is durable: as a member, or as an observer; or wait for the key."""
        if self._setup.config.standby is not None and not self._mute:
            if self._tenure is not None and self._tenure.lost is not None:
                await self._resign()
            if self._tenure is None:
                self._wait_for_key()
                return
        stack = AsyncExitStack()
        try:
            stint = await self._make_stint(stack)
            await stint.open()
        except BaseException:
            await stack.aclose()
            raise
        self._stint = stint
        if self._tenure is not None and self._mute:
            await self._resign()  # the key is of no use here
        if self._tenure is not None and self._tenure.lost is not None:
            self._end_run()

    async def _run_stint(self) -> None:
        if self._waiting_for_key is None:
            await self.stint.run()
            return
        await self._waiting_for_key.run()
        self._tenure = self._waiting_for_key.tenure
        if self._tenure is not None:
            self._tenure.on_loss = self._end_run
            self._waiting_for_key = None

    def _wait_for_key(self) -> None:
        """Be one of those that try to take the key."""
        from coordinator.service.tenure import Waiting, open_etcd

        standby = self._setup.config.standby
        assert standby is not None
        if self._etcd is None:
            self._etcd = open_etcd(self._setup, standby)
        self._stint = None
        self._waiting_for_key = Waiting(self._setup, standby, self._etcd, self._guard())

    def _close_etcd(self) -> None:
        if self._etcd is not None:
            self._etcd.close()

    async def _resign(self) -> None:
        """Let other processes have the key."""
        tenure, self._tenure = self._tenure, None
        if tenure is not None:
            await tenure.close()

    def _waiting(self) -> tuple[bytes, ...]:
        """Requests that the epoch did not get to."""
        stint = self._stint
        return stint.runtime.replica.waiting if isinstance(stint, MemberStint) else ()

    async def _end(self) -> None:
        if self._stint is not None:
            await self._stint.close()

    async def _make_stint(self, stack: AsyncExitStack) -> Stint:
        setup = self._setup
        journal = self._open_journal()
        stack.callback(journal.close)
        recovery = journal.recover()
        application = self._resume(recovery)
        state = application.state
        if state.epoch not in recovery.noted:
            recovery.noted[state.epoch] = note(state)
            journal.note_epoch(note(state))
        records = recovery.consensus.records
        found = place(state, setup.identity.public_key, records, recovery.noted)
        reason = why_forgotten(recovery)
        if reason is not None and recovery.forgotten is None:
            journal.forget(reason)  # consensus' record goes when an epoch does
        began_late = found and is_blank(recovery) and not self._guard().since
        if reason is None and began_late and await others_began(setup):
            reason = f"the federation has a key, and this journal is empty.  {FORGOTTEN}"
            journal.forget(reason)
        if reason is None and found:
            local = self._guard()
            told = mismatch(local.reservation.number, recovery.guarded.number, local.since)
            if told is not None:
                reason = f"{told}.  {FORGOTTEN}"
                journal.forget(reason)
        mute = self._mute = reason is not None
        if found is None and reason is None:
            reason = f"this replica's key is not among the members of epoch {state.epoch}"
        if reason is not None or found is None:
            common = (setup, stack, journal, recovery, application)
            return ObserverStint(*common, str(reason), mute=mute)
        return MemberStint(
            setup,
            stack,
            journal,
            recovery,
            application,
            found,
            self._pool,
            self._guard(),
            self._tenure,
        )

    def _guard(self) -> SqliteGuard:
        """In front of this replica's keys; held from its first stint as a member to the end.

        Raises:
            ConfigError: see SqliteGuard; or it was closed, because the key has moved.
        """
        if self._local is None:
            self._local = SqliteGuard(self._setup.guard, self._setup.identity.public_key)
            self._stack.callback(self._local.close)
            if self._local.closed is not None:
                raise ConfigError(f"this replica's key signs no more here: {self._local.closed}")
            if self._local.second and self._setup.config.standby is None:
                raise ConfigError(
                    f"{self._setup.guard} is a standby's, and the settings name no etcd (`standby`)"
                )
        return self._local

    def _open_journal(self) -> Journal:
        setup = self._setup
        return Journal(setup.home.journal, setup.genesis.chain_id, setup.identity.public_key)

    def _resume(self, recovery: Recovery) -> Application:
        """The application that the journal leads to.  Raises ConfigError: it does not."""
        path = self._setup.home.journal
        try:
            application = resume(self._rules, recovery.saved, recovery.tail)
        except DecodeError as error:
            raise ConfigError(f"{path}: {error}.  {FORGOTTEN}") from None
        if application.state.log.size != recovery.log_size:
            raise ConfigError(
                f"{path}: {recovery.log_size} log entries stand there, "
                f"{application.state.log.size} follow from its batches"
            )
        return application

    def _has_forgotten(self) -> bool:
        """Whether the journal says that this replica must not vote again."""
        journal = self._open_journal()
        try:
            return why_forgotten(journal.recover()) is not None
        finally:
            journal.close()


def why_forgotten(recovery: Recovery) -> str | None:
    """Why this replica must not vote under its key, if the journal or consensus wrote that down."""
    return recovery.forgotten or amnesia.forgotten(recovery.consensus.records)


def is_blank(recovery: Recovery) -> bool:
    """Whether a journal knows of nothing yet."""
    return not recovery.consensus.records and not recovery.consensus.executed


async def others_began(setup: Setup) -> bool:
    """Whether f + 1 others say that the federation has its key.

    The ceremony that makes the key waits for all members: a member without any memory of it has
    lost that memory.  If nobody answers, it will hear of what it has forgotten before it votes
    (bft/pbft/amnesia.py).
    """
    urls = urls_but(setup.genesis.members, setup.identity.public_key)
    if len(urls) < setup.genesis.membership.weak:
        return False
    try:
        async with asyncio.timeout(ASK_S), FederationClient(setup.genesis, urls) as client:
            await client.federation_key()
    except (FederationError, TimeoutError):
        return False
    return True
