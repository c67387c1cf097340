"""A member that has missed the end of its epoch reads on in the published log.

Its peers speak in an epoch whose members it does not know yet, or speak to it no more.  The log is
served to everybody, each batch with its proof; consensus checks them like any other decision.  A
batch that the next epoch decided shows that nobody waits for this replica's vote in the old one any
more.
Source: docs/CONSENSUS.md, "Epochs".
"""

import asyncio
import logging
from contextlib import suppress

from bft.errors import DecodeError
from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
from bft.pbft.events import Learned
from chain.federation import api
from chain.records.score_log import LogEntry, Ordered, decode_leaf
from coordinator.observer import decode_page
from coordinator.service.following import PAGE_BYTES_MAX, Source
from coordinator.service.runtime import Runtime

PAUSE_S = 0.5  # between two pages
SILENT_S = 5.0  # without a batch for so long, one looks into the log

log = logging.getLogger("gristmill.lag")


class Lag:
    """Feeds the published log to a member's consensus while its peers are ahead by an epoch."""

    def __init__(self, runtime: Runtime, source: Source) -> None:
        self._runtime, self._source = runtime, source
        self._hinted = asyncio.Event()
        self._turn = 0
        self.over = False  # the next epoch has decided a batch

    def hint(self, epoch: int) -> None:
        """Somebody claims to speak in `epoch`; nothing proves it."""
        if epoch > self._runtime.replica.epoch:
            self._hinted.set()

    async def run(self) -> None:
        """Until the epoch is over."""
        while not self.over:
            sequence = self._runtime.replica.state.sequence
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENT_S):
                    await self._hinted.wait()
            if not self._hinted.is_set() and self._runtime.replica.state.sequence != sequence:
                continue
            self._hinted.clear()
            try:
                await self._read()
            except DecodeError as error:
                log.warning("the published log: %s", error)
            await asyncio.sleep(PAUSE_S)
        self._runtime.epoch_ended()

    async def _read(self) -> None:
        """One page from one source."""
        urls = self._source.urls
        if not urls:
            return
        url = urls[self._turn % len(urls)]
        self._turn += 1
        first = self._runtime.replica.state.log.size
        query = f"?from={first}&limit={api.LOG_LIMIT_MAX}"
        page = await self._source.fetch(f"{url}{api.LOG}{query}", PAGE_BYTES_MAX)
        for entry in () if page is None else decode_page(page, PAGE_BYTES_MAX):
            if entry.proof and not self.over:
                await self._take(entry)

    async def _take(self, entry: LogEntry) -> None:
        replica, ordered = self._runtime.replica, decode_leaf(entry.leaf)
        if not isinstance(ordered, Ordered) or ordered.sequence <= replica.state.sequence:
            return
        if not replica.over:
            await self._runtime.learn(Learned(ordered.sequence, ordered.batch, entry.proof))
            return
        digest = batch_digest(ordered.batch)
        verify_quorum_proof(entry.proof, replica.state.membership, ordered.sequence, digest)
        self.over = True
