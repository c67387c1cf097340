"""One of several processes with one identity: waiting for the key in etcd, holding it, losing it.

Whoever does not hold the key neither votes nor writes to its journal: what it would execute without
consensus' records could not be voted on from (bft/pbft/recovery.py).  Who takes the key catches up
as any replica that was away, silent within what others may have signed (bft/pbft/standby.py).

The federation does not need etcd, only this operator's choice of a process does: while etcd is
down the holder goes on until its lease's deadline, and nobody takes over.

Imported only where the settings say `standby`: it brings gRPC.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from bft.errors import Busy, ConfigError, FederationError, Refused, Unavailable
from coordinator.config import Setup, split_address
from coordinator.guard.shared import SharedGuard
from coordinator.guard.store import Fenced, GuardError, SqliteGuard
from coordinator.service.standby_door import standby_door
from coordinator.settings import Standby
from deploy.etcd import EtcdClient, Tls, open_client
from deploy.lease import HOLDER_BYTES_MAX, RENEWALS, Hold, acquire, key_prefix

CALL_S = 2  # for one answer of etcd; several fit in what a lease lasts
RETRY_S = 0.5  # between two tries for the key
LOOPBACK = ("127.0.0.1", "::1", "localhost")

log = logging.getLogger("gristmill.standby")

T = TypeVar("T")


class Tenure:
    """This process holds the key.  Belongs to one event loop; `close` it."""

    def __init__(self, hold: Hold, store: SharedGuard) -> None:
        self._hold, self.store = hold, store
        self.lost: str | None = None  # why the key is not ours any more
        self.on_loss: Callable[[], None] = lambda: None
        self._thread = ThreadPoolExecutor(1, "lease")
        self._renewing = asyncio.Lock()
        self._task = asyncio.create_task(self._keep(), name="lease")

    async def confirm(self) -> None:
        """Return while the lease surely stands; beyond its deadline, only once it is renewed.

        Raises:
            Fenced: the key is lost.
        """
        if self.lost is None and not self._hold.current:
            await self._renew()
        if self.lost is not None:
            raise Fenced(self.lost)

    async def _keep(self) -> None:
        while self.lost is None:
            await asyncio.sleep(self._hold.ttl_s / RENEWALS)
            await self._renew()

    async def _renew(self) -> None:
        """Renew once.  Whoever cannot, and is past the deadline, holds the key no more."""
        async with self._renewing:
            if self.lost is not None:
                return
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._thread, self._hold.renew)
            except Refused as refused:
                self._lose(str(refused))
            except FederationError as error:
                if self._hold.current:
                    log.warning("the lease on the key is not renewed, for now it holds: %s", error)
                else:
                    self._lose(f"the lease on the key is past its deadline: {error}")

    def _lose(self, reason: str) -> None:
        self.lost = reason
        log.error("this process holds the key no more: %s", reason)
        self.on_loss()

    async def close(self) -> None:
        """Let others have the key at once, if etcd hears it."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        loop = asyncio.get_running_loop()
        with suppress(FederationError):
            await loop.run_in_executor(self._thread, self._hold.release)
        self._thread.shutdown()


class Waiting:
    """A process that tries to get the key, and says so.  `run` it, `close` it."""

    def __init__(
        self, setup: Setup, standby: Standby, client: EtcdClient, local: SqliteGuard
    ) -> None:
        self._lease_s = standby.lease_s
        self.tenure: Tenure | None = None
        self._client, self._local = client, local
        self._prefix = key_prefix(setup.genesis.chain_id, setup.identity.public_key)
        name = f"{socket.gethostname()}, {setup.home.path.name}, process {os.getpid()}"
        self._name = name.encode("utf-8", "replace")[:HOLDER_BYTES_MAX]
        self._stopping = asyncio.Event()
        self._setup = setup
        self._said, self._etcd_answers = "etcd was not asked yet", False

    async def run(self) -> None:
        """Until the key is ours: then `tenure` is there; or until `stop`.

        Raises:
            ConfigError: etcd lets us not in, it or the guard is an old copy, or `listen.metrics`
                is taken.
        """
        async with standby_door(self._setup, lambda: (self._said, self._etcd_answers)):
            await self._wait()

    async def _wait(self) -> None:
        while not self._stopping.is_set():
            try:
                self.tenure = await self._take()
            except (Busy, Refused, Unavailable, GuardError) as error:
                self._etcd_answers = not isinstance(error, Unavailable)
                if str(error) != self._said:
                    self._said = str(error)
                    log.warning("standby: %s", error)
            else:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._stopping.wait()

    async def _take(self) -> Tenure:
        take = partial(acquire, self._client, self._prefix, self._name, self._lease_s)
        hold = await _finished(take)
        try:
            store = await _finished(lambda: SharedGuard(self._local, hold))
        except BaseException:
            with suppress(FederationError):
                await _finished(hold.release)
            raise
        log.warning("this process holds the key now, fencing token %d", hold.fence)
        return Tenure(hold, store)

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()

    async def close(self) -> None:
        """Nothing stays open: guard and client are others'."""


async def _finished(call: Callable[[], T]) -> T:
    """What `call` gives, in another thread; a cancelled one ends first."""
    done = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait({done})
        raise


def open_etcd(setup: Setup, standby: Standby) -> EtcdClient:
    """The client that the settings describe.

    Raises:
        ConfigError: plain text beyond this machine, or see `open_client`.
    """
    for address in standby.etcd:
        if standby.tls is None and split_address(address)[0] not in LOOPBACK:
            raise ConfigError(f"standby.etcd {address} needs standby.tls: it is another machine's")
    tls = None
    if standby.tls is not None:
        home, given = setup.home.path, standby.tls
        tls = Tls(
            authority=home / given.authority,
            certificate=home / given.certificate,
            key=home / given.key,
            server_name=given.server_name,
        )
    return open_client(standby.etcd, tls=tls, timeout_s=CALL_S)
