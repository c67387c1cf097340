"""Roots of the log that an auditor walks: of the newest beginnings, and of those it watches for.

Source: RFC 6962 section 2.1; docs/PROTOCOL.md section 15.
Pure.
"""

from collections import deque
from collections.abc import Sequence

from bft.crypto.merkle import Frontier

FRONTIERS_KEPT = 4096
"""Sizes up to the newest one at which the log's root is remembered, to compare certificates."""


class Roots:
    """The right edge of the log, and a bounded memory of what it was."""

    def __init__(self, base: Frontier | None = None, hashes: Sequence[bytes] = ()) -> None:
        """The log of `base`, then of each of `hashes` (leaf hashes, FRONTIERS_KEPT - 1 at most)."""
        start = Frontier() if base is None else base
        self._frontiers = deque([start], maxlen=FRONTIERS_KEPT)  # the newest last
        self._hashes: deque[bytes] = deque(maxlen=FRONTIERS_KEPT - 1)  # of those after the first
        self._watched: dict[int, bytes | None] = {}  # roots by size
        self._lost = False
        for hashed in hashes:
            self.push(hashed)

    @property
    def newest(self) -> Frontier | None:
        """Over all leaves; None when one was unreadable."""
        return None if self._lost else self._frontiers[-1]

    @property
    def last_leaf(self) -> bytes | None:
        """The newest leaf hash, where it is remembered."""
        return self._hashes[-1] if self._hashes else None

    def push(self, hashed: bytes) -> None:
        """One more leaf hash."""
        if self._lost:
            return
        frontier = self._frontiers[-1].push(hashed)
        self._frontiers.append(frontier)
        self._hashes.append(hashed)
        if frontier.size in self._watched:
            self._watched[frontier.size] = frontier.root()

    def lose(self) -> None:
        """A leaf cannot be read: no root is known from here on."""
        self._lost = True

    def watch(self, size: int) -> None:
        """Remember the root over the first `size` entries, however long the log becomes."""
        self._watched[size] = self.at(size)

    def at(self, size: int) -> bytes | None:
        """The root over the first `size` entries; None where it is not known (any more)."""
        if self._watched.get(size) is not None:
            return self._watched[size]
        place = size - self._frontiers[0].size
        return self._frontiers[place].root() if 0 <= place < len(self._frontiers) else None

    def kept(self) -> tuple[Frontier, tuple[bytes, ...]]:
        """What makes an equal one: the oldest size remembered, and the leaf hashes after it."""
        return self._frontiers[0], tuple(self._hashes)
