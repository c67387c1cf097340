"""An observer's loop: pages of the score log from any member, checked, executed, kept.

The routes are those that auditors use.  A member that gives something else than the log, or is
silent, is overtaken by the next one; nobody can give a false entry, because each decided batch
stands under a strong quorum's signatures.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bft.errors import DecodeError, Unavailable
from chain.federation import api
from chain.records.score_log import ENTRY_BYTES_MAX, LogEntry
from coordinator.effects import Announce, Append, BlockAccepted, Effect, Restored
from coordinator.observer import Observer, Say, decode_page
from coordinator.refill import Diverged
from coordinator.service.journal import Journal, JournalError, durable
from coordinator.service.runtime import Halted
from coordinator.service.standing import Growth

POLL_S = 0.25  # between two questions when there is nothing new
POLL_S_MAX = 2.0  # and when nobody answers; doubles up to it
ENTRIES_A_TRANSACTION = 64  # and between two looks at what else waits in this process
PAGE_BYTES_MAX = api.LOG_ANSWER_BYTES_MAX + 2 * ENTRY_BYTES_MAX

log = logging.getLogger("gristmill.observer")


class Source(Protocol):
    """Who has the log; see coordinator/service/work.py."""

    @property
    def urls(self) -> Sequence[str]:
        """Where to ask."""

    async def fetch(self, url: str, bytes_max: int) -> bytes | None:
        """The body at `url`, or None: not there, too long, or too slow."""


class Mouth(Protocol):
    """Carries out what an observer owes; see coordinator/service/joining.py."""

    def obey(self, effects: Sequence[Effect | Say]) -> None:
        """Draw, keep, and have said; never waits."""


class Follower:
    """Drives one Observer."""

    voting = False

    def __init__(
        self,
        observer: Observer,
        journal: Journal,
        source: Source,
        reason: str,
        on_append: Callable[[Append], None] = lambda append: None,
        mouth: Mouth | None = None,
    ) -> None:
        """Args:
        reason: why this replica has no vote, for people.
        on_append: hears of every batch that is executed and durable.
        mouth: carries out what `observer` owes, where it is to join.
        """
        self.replica = observer
        self._epoch = observer.state.epoch
        self._mouth = mouth
        self.growth = Growth()
        self._journal, self._source, self._reason = journal, source, reason
        self._on_append = on_append
        self._committing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._turn = 0

    def standing(self) -> dict[str, Any]:
        """An observer says why it is one."""
        state = self.replica.state
        return {"role": "observer", "reason": self._reason, "epoch": state.epoch}

    def stop(self) -> None:
        """Let `run` return after the present page."""
        self._stopping.set()

    async def keep_block(self, block: BlockAccepted) -> None:
        """Store a block that was fetched because the federation finalised it.

        Raises:
            Unavailable: the replica stops.
            JournalError: the disk refused.
        """
        if self._stopping.is_set():
            raise Unavailable("this replica stops")
        await self._commit([block])

    async def run(self) -> None:
        """Until `stop`, or until the epoch is over: what comes then is another stint's.

        Raises:
            Halted: the disk refused, or the log leads elsewhere than a quorum signed.
        """
        pause = POLL_S
        try:
            while not self._stopping.is_set() and self.replica.state.epoch == self._epoch:
                found = await self.follow()
                if self._mouth is not None:
                    self._mouth.obey(self._owed())
                if found:
                    pause = POLL_S
                    continue
                try:
                    async with asyncio.timeout(pause):
                        await self._stopping.wait()
                except TimeoutError:
                    pause = POLL_S if found == 0 else min(2 * pause, POLL_S_MAX)
        except (JournalError, Diverged) as error:
            raise Halted(str(error)) from error

    def _owed(self) -> list[Effect | Say]:
        now_ms, wall_ms = time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000
        return self.replica.owed(now_ms, wall_ms)

    async def follow(self) -> int | None:
        """Ask one member for what comes next; how many batches that gave, None if it failed."""
        urls = self._source.urls
        if not urls:
            return None
        url = urls[self._turn % len(urls)]
        first = self.replica.wanted
        query = f"?from={first}&limit={api.LOG_LIMIT_MAX}"
        page = await self._source.fetch(f"{url}{api.LOG}{query}", PAGE_BYTES_MAX)
        try:
            if page is None:
                raise Unavailable(f"{url} gives no log from entry {first} on")
            taken = await self._take(decode_page(page, PAGE_BYTES_MAX))
        except DecodeError as error:
            log.warning("%s: entry %d: %s", url, self.replica.wanted, error)
            taken = None
        except Unavailable as error:
            log.debug("%s", error)
            taken = None
        if not taken:
            self._turn += 1
        return taken

    async def _take(self, entries: Sequence[LogEntry]) -> int:
        """Execute entries of one page, no further than the epoch; those before a bad one stay."""
        taken = 0
        for start in range(0, len(entries), ENTRIES_A_TRANSACTION):
            effects: list[Effect] = []
            try:
                for entry in entries[start : start + ENTRIES_A_TRANSACTION]:
                    if self.replica.state.epoch != self._epoch:
                        break
                    effects += self.replica.take(entry)
            finally:
                taken += await self._carry_out(effects)
        return taken

    async def _carry_out(self, effects: list[Effect]) -> int:
        """Keep, then tell; how many batches that were."""
        kept = durable(effects)
        if not kept:
            return 0
        await self._commit(kept)
        batches = 0
        for effect in effects:
            match effect:
                case Append():
                    self._on_append(effect)
                    batches += 1
                case Restored():
                    self._on_append(effect.append)
                    batches += 1
                case Announce(record=record):
                    cycle = getattr(record, "cycle", self.replica.state.cycle)
                    log.info("cycle %d: %s", cycle, type(record).__name__)
        self.growth.announce()
        return batches

    async def _commit(self, kept: list[Any]) -> None:
        """One durable transaction, in another thread; a cancelled one ends first."""
        async with self._committing:
            written = asyncio.ensure_future(asyncio.to_thread(self._journal.commit, kept))
            try:
                await asyncio.shield(written)
            except asyncio.CancelledError:
                await asyncio.wait({written})
                raise
