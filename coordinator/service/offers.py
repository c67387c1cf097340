"""What comes to the loop with somebody waiting for its outcome: blocks, and drafts of them."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from chain.bitcoin.ledger import Coins
from coordinator.effects import (
    BlockAccepted,
    BlockArrived,
    BlockRefused,
    DraftArrived,
    DraftSigned,
    Event,
)

Outcome = BlockAccepted | DraftSigned | BlockRefused


class Item(NamedTuple):
    """An event, and who waits for what it gave."""

    event: Event
    outcome: asyncio.Future[Outcome] | None = None


class Offers:
    """Blocks and drafts on their way into a loop.  Raises Busy: too much waits already."""

    def __init__(self, offer: Callable[[Item], None]) -> None:
        """`offer`: puts an item into the lane of clients."""
        self._offer = offer
        self.coins: Coins | None = None  # that are here; those of the tip let blocks spend

    def event(self, block: bytes) -> BlockArrived:
        """A block arrives, and nobody waits for the outcome."""
        return BlockArrived(block, self.coins)

    async def block(self, block: bytes) -> Outcome:
        """Check a block and vote for it if it is the first valid one."""
        return await self._outcome(self.event(block))

    async def draft(self, draft: bytes) -> Outcome:
        """Check a draft and sign it, if it is the first valid one; that it did is durable then."""
        return await self._outcome(DraftArrived(draft, self.coins))

    async def _outcome(self, event: BlockArrived | DraftArrived) -> Outcome:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._offer(Item(event, outcome))
        return await outcome
