"""Virtual time: what happens next, in an order that the seed alone decides.

No clock of the machine is read.  Things planned for the same millisecond happen in the order in
which they were planned.
"""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Agenda:
    """All that is still to happen in one world."""

    def __init__(self) -> None:
        self.now = 0  # milliseconds since the world began
        self._planned: list[tuple[int, int, Action]] = []
        self._count = 0

    def after(self, delay_ms: int, action: Action) -> None:
        """Plan `action` for `delay_ms` from now."""
        self._count += 1
        heapq.heappush(self._planned, (self.now + max(0, delay_ms), self._count, action))

    def advance(self) -> bool:
        """Let the next thing happen; False when nothing is planned."""
        if not self._planned:
            return False
        self.now, _, action = heapq.heappop(self._planned)
        action()
        return True
