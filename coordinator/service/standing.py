"""What the doors that only read see of a replica, whether it votes or only follows."""

import asyncio
from typing import Any, Protocol

from coordinator.cycle.state import Rules, State
from coordinator.effects import BlockAccepted


class Growth:
    """Tells any number of readers that the log has grown."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next growth.  Take it before reading, wait for it after."""
        return self._event

    def announce(self) -> None:
        """It has grown."""
        self._event.set()
        self._event = asyncio.Event()


class Replicated(Protocol):
    """A copy of what the federation agreed on."""

    @property
    def state(self) -> State:
        """The cycle machine's state."""

    @property
    def rules(self) -> Rules:
        """The chain's rules."""

    @property
    def log_missing(self) -> tuple[int, int] | None:
        """Log entries that are still to come before the newest: the first, the first after."""


class Standing(Protocol):
    """Whoever keeps that copy up to date: `Runtime` at a member, `Follower` at an observer."""

    growth: Growth

    @property
    def replica(self) -> Replicated:
        """The copy."""

    @property
    def voting(self) -> bool:
        """Whether this replica takes part in decisions just now."""

    async def keep_block(self, block: BlockAccepted) -> None:
        """Store a block that was fetched because the federation finalised it, durably."""

    def standing(self) -> dict[str, Any]:
        """Its part in the federation, for the status; nothing in it is proven."""
