"""A replica without a vote, from one epoch to the next: it follows the published log."""

import asyncio
import logging
from contextlib import AsyncExitStack

from aiohttp import web

from chain.federation.client import FederationClient
from coordinator.application import Application
from coordinator.config import Setup
from coordinator.custody import Custody
from coordinator.effects import Append
from coordinator.observer import Observer, Voice
from coordinator.service.closed_door import ClosedDoor
from coordinator.service.following import Follower
from coordinator.service.holding import Holding
from coordinator.service.joining import Joining
from coordinator.service.journal import Journal
from coordinator.service.recovery import Recovery
from coordinator.service.stint import Stint
from coordinator.service.vault import Vault

log = logging.getLogger("gristmill.replica")


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
        mute: bool,
    ) -> None:
        """Args:
        reason: why it has none, for people.
        mute: it says nothing, not even what would let it join.
        """
        super().__init__(setup, stack, journal, recovery, application, setup.member)
        self._reason = reason
        self._client: FederationClient | None = None
        observer, joining = Observer(application, recovery.gap), None
        if not mute:
            key, vault = setup.identity.public_key, Vault(setup.keystore)
            held = Custody(application.rules, key, vault.secrets)
            voice = Voice(key, setup.identity.sign, held)
            observer = Observer(application, recovery.gap, voice)
            self._client = FederationClient(setup.genesis, self._artifacts.urls)
            joining = Joining(vault, self._client, observer.kept)
            stack.push_async_callback(joining.close)
        self.follower = Follower(
            observer, journal, self._artifacts, reason, self._on_append, joining
        )
        self.standing = self.follower
        self._holding = Holding(self._artifacts, lambda: observer.state)
        self._furnish(lambda: ())

    def _on_append(self, append: Append) -> None:
        super()._on_append(append)
        for record in append.records:
            self._holding.hear(record)

    def _taking_routes(self) -> list[web.RouteDef]:
        return ClosedDoor(self._reason).routes()

    async def open(self) -> None:
        """Listen.  Raises ConfigError, as `Stint.open`."""
        await super().open()
        if self._client is not None:
            await self._stack.enter_async_context(self._client)
        log.warning("observer: %s", self._reason)

    async def _run(self) -> None:
        self._chores.append(asyncio.create_task(self._holding.run(), name="holding"))
        await self.follower.run()

    def stop(self) -> None:
        """Let `run` return."""
        self.follower.stop()
