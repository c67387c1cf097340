"""What waits for the runtime: one bounded lane for each source, served in turn.

A source that floods fills its own lane and nobody else's.  Peers' lanes push back on their links;
clients are told to come again.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from bft.errors import Busy

T = TypeVar("T")


class Lane(Generic[T]):
    """One source's queue."""

    def __init__(self, limit: int, filled: asyncio.Event) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._filled = filled
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> None:
        """Put it in now.  Raises Busy: the lane is full."""
        if len(self._items) >= self._limit:
            raise Busy(f"{len(self._items)} messages wait already; try again later")
        self._items.append(item)
        self._filled.set()
        if len(self._items) >= self._limit:
            self._room.clear()

    async def put(self, item: T) -> None:
        """Put it in as soon as there is room."""
        while len(self._items) >= self._limit:
            await self._room.wait()
        self.offer(item)

    def take(self) -> T:
        """The oldest item; there must be one."""
        item = self._items.popleft()
        self._room.set()
        return item


class Inbox(Generic[T]):
    """All lanes of one runtime."""

    def __init__(self) -> None:
        self._lanes: list[Lane[T]] = []
        self._filled = asyncio.Event()
        self._next = 0

    def lane(self, limit: int) -> Lane[T]:
        """A new source, which may have `limit` items waiting."""
        lane: Lane[T] = Lane(limit, self._filled)
        self._lanes.append(lane)
        return lane

    def wake(self) -> None:
        """Let `wait` return although nothing came, because time has passed."""
        self._filled.set()

    async def wait(self) -> None:
        """Until something came, or `wake`."""
        await self._filled.wait()
        self._filled.clear()

    def take(self, limit: int) -> list[T]:
        """At most `limit` items, one of each lane in turn."""
        found: list[T] = []
        idle = 0
        while len(found) < limit and idle < len(self._lanes):
            lane = self._lanes[self._next % len(self._lanes)]
            self._next = (self._next + 1) % len(self._lanes)
            if len(lane):
                found.append(lane.take())
                idle = 0
            else:
                idle += 1
        if any(len(lane) for lane in self._lanes):
            self._filled.set()
        return found
