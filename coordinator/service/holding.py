"""An observer's artifacts: it fetches what the members train on and measure, as they get it.

So it can serve them, and has them when it becomes a member.
"""

import asyncio
import logging
from collections.abc import Callable

from bft.codec.canonical import Record
from chain.records.score_log import Aggregated, Revealed
from coordinator.cycle.state import State
from coordinator.service.blobs import BLOB_BYTES_MAX
from coordinator.service.work import Artifacts

FETCH_S = 120.0  # for one artifact, from whoever has it; then it is given up
WAITING_MAX = 4_096  # artifacts that wait; more are fetched when somebody needs them

log = logging.getLogger("gristmill.observer")


class Holding:
    """Fetches artifacts one after the other, the newest last."""

    def __init__(self, artifacts: Artifacts, state: Callable[[], State]) -> None:
        """`state`: the observer's present state."""
        self._artifacts, self._state = artifacts, state
        self._wanted: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)

    def hear(self, record: Record) -> None:
        """A log record that the observer has derived."""
        if isinstance(record, Aggregated):
            self._want(record.digest)
        elif isinstance(record, Revealed):
            for _, reveal in sorted(self._state().reveals.items()):
                self._want(reveal.digest)

    def _want(self, digest: bytes) -> None:
        if not self._wanted.full():
            self._wanted.put_nowait(digest)

    async def run(self) -> None:
        """Until it is cancelled; begins with what the present state names."""
        state = self._state()
        for digest in (state.model, *(one.digest for _, one in sorted(state.reveals.items()))):
            self._want(digest)
        while True:
            digest = await self._wanted.get()
            try:
                async with asyncio.timeout(FETCH_S):
                    await self._artifacts.get(digest, BLOB_BYTES_MAX)
            except TimeoutError:
                log.info("artifact %s is nowhere to be had", digest.hex()[:16])
