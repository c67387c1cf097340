"""After a node began from a snapshot: all blocks before it are fetched, checked and counted.

Whoever brings a block is a courier: its header is here, verified, so that only its own bytes fit.
At the snapshot's height the coins counted from block 0 must be those that were loaded.
Source: Bitcoin Core's background chainstate (doc/design/assumeutxo.md).
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bft.errors import DecodeError, Refused, Unavailable
from chain.federation.api import BLOCK, BLOCK_BYTES_MAX
from chain.federation.transport import Transport
from chain.node.store import Store
from chain.params import Params
from chain.records.block import CertifiedHeader, decode_certified_header
from chain.snapshot.counting import FALSE, Counting
from chain.validation import ParentView

BATCH = 32  # blocks that are fetched, then checked in one go
PAUSE_S = 0.05  # between batches, in which new blocks come first
RETRY_S = 5.0  # after which one who had nothing is asked again
HISTORY_NAME = "history.sqlite"
LOG = logging.getLogger("gristmill.node")


class HistoryCheck:
    """The check of one store."""

    def __init__(
        self,
        store: Store,
        home: Path,
        start: ParentView,
        params: Params,
        sources: Callable[[], tuple[str, ...]],
    ) -> None:
        """`start`: block 0; `sources`: URLs of replicas or nodes that have old blocks, as now."""
        origin = store.origin
        assert origin is not None, "the store began from a snapshot"
        self._store, self._origin, self._sources = store, origin, sources
        self._counting = Counting(home / HISTORY_NAME, start, params)
        self._turn = 0
        self.height = 0  # up to which old blocks are checked

    async def run(self) -> None:
        """Ends once the snapshot is known to be right.

        Raises:
            Refused: FALSE; the store was made from false coins, which is on disk then.
        """
        self.height = await asyncio.to_thread(self._counting.height)
        try:
            async with Transport() as transport:
                while self.height < self._origin.height:
                    came = await self._advance(transport)
                    await asyncio.sleep(PAUSE_S if came else RETRY_S)
            await self._compare()
        except Refused as error:
            if error.code == FALSE:
                self._store.judge_origin(validated=False)
            raise
        self._store.judge_origin(validated=True)
        self._counting.remove()
        LOG.info("the snapshot of block %d is right: counted from block 0", self._origin.height)

    async def _advance(self, transport: Transport) -> bool:
        """Whether somebody had the next blocks."""
        sources = self._sources()
        for _ in sources:
            source = sources[self._turn % len(sources)]
            try:
                blocks = await self._fetch(transport, source)
                if blocks:
                    self.height = await asyncio.to_thread(self._counting.take, blocks)
                    return True
            except (DecodeError, Unavailable) as error:
                LOG.info("old blocks from %s: %s", source, error)
            self._turn += 1
        return False

    async def _fetch(
        self, transport: Transport, source: str
    ) -> list[tuple[CertifiedHeader, bytes]]:
        """The next blocks that `source` has, with our headers of them."""
        fetched: list[tuple[CertifiedHeader, bytes]] = []
        last = min(self._origin.height, self.height + BATCH)
        for height in range(self.height + 1, last + 1):
            url = source.rstrip("/") + BLOCK.format(height=height)
            reply = await transport.exchange("GET", url, bytes_max=BLOCK_BYTES_MAX)
            if reply.status != 200:
                break
            header = self._store.final_header(height)
            assert header is not None, "headers of final blocks stay"
            fetched.append((decode_certified_header(header), reply.body))
        return fetched

    async def _compare(self) -> None:
        counted = await asyncio.to_thread(self._counting.digest)
        if counted != self._origin.digest:
            raise Refused(
                FALSE,
                f"the coins after block {self._origin.height}, counted from block 0, have digest "
                f"{counted[::-1].hex()}; this node began from {self._origin.digest[::-1].hex()}",
            )
