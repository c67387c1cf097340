"""Virtual time, one seeded queue, and links that lose, repeat, delay and cut."""

import heapq
import random
from collections.abc import Callable
from typing import Any


def below(stream: random.Random, limit: int) -> int:
    """`stream.randrange(limit)`: the same numbers, without the time that its checks take."""
    bits = limit.bit_length()
    drawn = stream.getrandbits(bits)
    while drawn >= limit:
        drawn = stream.getrandbits(bits)
    return drawn


class Network:
    """Links between `size` machines.  Whoever is behind them says what arriving means."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.random = random.Random(seed)
        self.now = 0  # ms
        self.queue: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self.order = 0
        self.loss = 0  # per cent
        self.duplication = 0  # per cent
        self.delay = (1, 10)  # ms
        self.cut: set[tuple[int, int]] = set()  # links that deliver nothing

    def arrive(self, to: int, data: bytes) -> None:
        """Machine `to` gets a frame."""
        raise NotImplementedError

    def at(self, delay: int, action: Callable[..., object], *args: Any) -> None:
        """`action(*args)`, `delay` ms from now."""
        self.order += 1
        heapq.heappush(self.queue, (self.now + delay, self.order, action, args))

    def run(self, ms: int) -> None:
        """Let `ms` of virtual time pass."""
        end, queue = self.now + ms, self.queue
        while queue and queue[0][0] <= end:
            self.now, _, action, args = heapq.heappop(queue)
            action(*args)
        self.now = end

    def transmit(self, source: int, to: int, data: bytes) -> None:
        """Onto the wire, with whatever the wire does to it."""
        if (source, to) in self.cut:
            return
        stream, (soonest, latest) = self.random, self.delay
        copies = 1 + (below(stream, 100) < self.duplication)
        for _ in range(copies):
            if below(stream, 100) >= self.loss:
                delay = soonest + below(stream, latest - soonest + 1)
                self.at(delay, self.arrive, to, data)

    def split(self, *groups: set[int]) -> None:
        """Only links inside a group deliver."""
        self.cut = {
            (a, b)
            for a in range(self.size)
            for b in range(self.size)
            if not any(a in group and b in group for group in groups)
        }

    def heal(self) -> None:
        self.cut = set()
        self.loss = self.duplication = 0
