"""The agreed models, made once more from the updates: what an audit with the artifacts can add.

Where it is used, numpy must be installed; torch never.
Pure: callers fetch the bytes.
"""

from collections.abc import Callable
from functools import partial

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Unavailable
from chain.audit.books import Books
from chain.audit.certify import Underivable
from chain.rules.aggregation import Scored, next_snapshots

Read = Callable[[bytes], bytes]
"""The artifact with a digest; raises Unavailable."""


class ModelCheck:
    """Makes the outer step of every cycle whose artifacts are to be had."""

    def __init__(self, read: Read) -> None:
        """`read` is asked for each cycle's base and counted updates; nothing is believed."""
        self._read = read
        self.checked: list[int] = []  # cycles
        self.missing: list[int] = []  # cycles whose artifacts nobody had

    def __call__(self, books: Books, digests: tuple[bytes, ...]) -> None:
        """The models that a strong quorum agreed on in the running cycle.

        Raises:
            Underivable: base, updates and draw lead to other models.
        """
        now = books.now
        assert now.scored is not None and now.drawn is not None
        updates = [
            Scored(row, partial(self._get, now.updates[row.unit]))
            for row in now.scored.rows
            if row.merit
        ]
        try:
            base = self._get(books.model)
            made = next_snapshots(books.job, base, updates, now.drawn.randomness)
        except Unavailable:
            self.missing.append(books.cycle)
            return
        except DecodeError as error:
            raise Underivable(f"cycle {books.cycle}: a counted update is none: {error}") from None
        found = tuple(sha256(snapshot) for snapshot in made)
        if found != digests:
            raise Underivable(
                f"cycle {books.cycle}: the updates make the models {_told(found)}; a strong quorum "
                f"agreed on {_told(digests)}"
            )
        self.checked.append(books.cycle)

    def line(self) -> str:
        """What was done, for people."""
        text = f"models: {len(self.checked)} made once more from their updates, all as agreed"
        if self.missing:
            text += f"; of {len(self.missing)} cycles the artifacts are not to be had"
        return text

    def _get(self, digest: bytes) -> bytes:
        """Raises Unavailable: not to be had, or other bytes came."""
        data = self._read(digest)
        if sha256(data) != digest:
            raise Unavailable(f"other bytes came for {digest.hex()}")
        return data


def _told(digests: tuple[bytes, ...]) -> str:
    return ", ".join(digest.hex()[:16] for digest in digests)
