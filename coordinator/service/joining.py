"""What an observer does that is to join: it keeps secrets, and speaks at the members' doors."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bft.dkg.secrets import Secrets
from bft.errors import FederationError
from chain.federation.answers import ACCEPTED
from chain.federation.client import FederationClient
from coordinator.effects import DrawSeed, Effect, KeepSecrets
from coordinator.observer import Say
from coordinator.service.vault import Vault

WAIT_MS = 4_000  # then it is said anew
TASKS_MAX = 64

log = logging.getLogger("gristmill.observer")


class Joining:
    """Carries out what the observer owes, beside its loop."""

    def __init__(
        self, vault: Vault, client: FederationClient, kept: Callable[[Secrets], None]
    ) -> None:
        """Args:
        client: of the members; opened and closed by whoever made it.
        kept: hears of secrets that are durable.
        """
        self._vault, self._client, self._kept = vault, client, kept
        self._tasks: set[asyncio.Task[None]] = set()

    def obey(self, effects: Sequence[Effect | Say]) -> None:
        """Draw, keep, and have said; never waits."""
        for effect in effects:
            match effect:
                case DrawSeed() | KeepSecrets():
                    self._start(self._keep(effect))
                case Say(request=request):
                    if len(self._tasks) < TASKS_MAX:
                        self._start(self._say(request))

    async def close(self) -> None:
        """End everything that is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, effect: DrawSeed | KeepSecrets) -> None:
        self._kept((await self._vault.obey(effect)).secrets)

    async def _say(self, request: bytes) -> None:
        try:
            verdict = await self._client.submit(request, WAIT_MS)
        except FederationError as error:
            log.info("joining: %s", error)
            return
        if verdict.code != ACCEPTED:
            log.info("joining: %s: %s", verdict.code, verdict.text)
