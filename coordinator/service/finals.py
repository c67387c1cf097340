"""Every final block's bytes, here as well: a replica that was away fetches what it missed.

The score log says which block is final at each height; its bytes travel outside of consensus.  They
are checked against the log's hash, so it does not matter who gives them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from bft.errors import FederationError
from coordinator.effects import BlockAccepted

CHUNK = 256  # heights looked at together
RETRY_S = 1.0  # before peers are asked again; doubles with every round that leaves a gap, up to
RETRY_S_MAX = 60.0

log = logging.getLogger("gristmill.blocks")


class Finals(Protocol):
    """What the log says; see coordinator/service/index.py."""

    async def final_blocks(self, above: int, limit: int) -> tuple[tuple[int, bytes, bool], ...]:
        """(height, hash, whether its bytes are here), ascending."""


class Source(Protocol):
    """Who may have blocks; see coordinator/service/work.py."""

    async def block(self, height: int, block_hash: bytes) -> BlockAccepted | None:
        """The block with this hash, checked."""


class BlockFiller:
    """Fetches missing final blocks, the lowest first, one at a time."""

    def __init__(
        self,
        finals: Finals,
        source: Source,
        keep: Callable[[BlockAccepted], Awaitable[None]],
    ) -> None:
        """`keep`: stores a block durably."""
        self._finals, self._source, self._keep = finals, source, keep
        self._grown = asyncio.Event()
        self.complete = 0  # all blocks up to this height are here

    def wake(self) -> None:
        """The log has another final block."""
        self._grown.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = RETRY_S
        while True:
            self._grown.clear()
            try:
                whole = await self.fill()
            except FederationError as error:
                log.error("final blocks: %s", error)
                whole = False
            if whole:
                pause = RETRY_S
                await self._grown.wait()
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_S_MAX)

    async def fill(self) -> bool:
        """Ask for everything that is missing, once; whether nothing is missing any more."""
        above, whole = self.complete, True
        while chunk := await self._finals.final_blocks(above, CHUNK):
            for height, hashed, held in chunk:
                here = held or await self._fetch(height, hashed)
                whole = whole and here
                if here and height == self.complete + 1:
                    self.complete = height
                above = height
        return whole

    async def _fetch(self, height: int, block_hash: bytes) -> bool:
        block = await self._source.block(height, block_hash)
        if block is None:
            log.info("no peer has the final block at height %d", height)
            return False
        await self._keep(block)
        return True
