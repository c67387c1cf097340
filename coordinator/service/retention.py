"""Which artifacts stay on a replica's disk, and the task that deletes the others.

The rule.  These stay:
- the genesis model, and the SNAPSHOTS_KEPT newest models that the federation agreed on;
- the updates revealed in the CYCLES_KEPT newest cycles that had any;
- whatever the present state names: its model, its reveals, the models that were voted for.
Everything else goes when a cycle has closed: older models and updates, updates that were uploaded
and never revealed, models that nobody agreed on.  It is deleted before the next cycle's reveals
open, so no upload of a running cycle is ever among it.  The score log is never pruned: what was
measured, and which bytes it was measured on, stays known when the bytes are gone.

So an auditor who wants to measure again has CYCLES_KEPT cycles of time to fetch the updates.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from bft.codec.canonical import decode
from bft.codec.envelope import Envelope
from bft.errors import FederationError
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from chain.records.commands import readable_operations
from chain.records.contribution import UpdateReveal
from chain.records.phase import Phase
from chain.records.score_log import Aggregated, Assigned, LogEntry, Ordered, Revealed, decode_leaf
from coordinator.cycle.state import State
from coordinator.service.blobs import BlobStore
from coordinator.service.index import LogIndex

CYCLES_KEPT = 3
SNAPSHOTS_KEPT = 8

log = logging.getLogger("gristmill.retention")


class Retention:
    """Deletes by the rule, one sweep at a time."""

    def __init__(
        self,
        genesis_model: bytes,
        index: LogIndex,
        store: BlobStore,
        state: Callable[[], State],
    ) -> None:
        """`state`: the replica's present state."""
        self._genesis_model = genesis_model
        self._index, self._store, self._state = index, store, state
        self._closed = asyncio.Event()
        self._revealed: OrderedDict[int, frozenset[bytes]] = OrderedDict()  # by cycle

    def wake(self) -> None:
        """A cycle has closed."""
        self._closed.set()

    async def run(self) -> None:
        """Until it is cancelled; begins with a sweep."""
        while True:
            self._closed.clear()
            try:
                removed = await self.sweep()
                if removed:
                    log.info("%d artifacts are no longer needed and were deleted", removed)
            except (FederationError, OSError) as error:
                log.error("artifacts cannot be deleted: %s", error)
            await self._closed.wait()

    async def sweep(self) -> int:
        """Delete what the rule does not keep; how many artifacts that were.

        Does nothing while uploads are open or being measured; the next closed cycle comes soon.
        """
        cycle = self._state().cycle
        kept = await self.kept()
        removed = 0
        for digest in await self._store.digests():
            # Looked at again for each: no reveal may open between this look and the deletion.
            state = self._state()
            if state.cycle != cycle or state.phase >= Phase.REVEAL:
                break
            if digest not in kept and await self._store.remove(digest):
                removed += 1
            await asyncio.sleep(0)
        return removed

    async def kept(self) -> frozenset[bytes]:
        """Digests of all that stays."""
        state = self._state()
        models = await self._index.latest(Aggregated, "aggregated", SNAPSHOTS_KEPT)
        found = {
            self._genesis_model,
            state.model,
            *(reveal.digest for _, reveal in sorted(state.reveals.items())),
            *(model.digest for _, vote in sorted(state.votes.items()) for model in vote.models),
            *(model.digest for model in models),
        }
        for revealed in await self._index.latest(Revealed, "revealed", CYCLES_KEPT):
            found |= await self._updates(revealed)
        return frozenset(found)

    async def _updates(self, revealed: Revealed) -> frozenset[bytes]:
        """Digests revealed in one cycle, from the log."""
        known = self._revealed.get(revealed.cycle)
        if known is not None:
            return known
        opened = await self._index.find(Assigned, "assigned", revealed.cycle)
        ended = await self._index.find(Revealed, "revealed", revealed.cycle)
        found: set[bytes] = set()
        following = opened[-1][0] if opened else ended[-1][0]
        while following < ended[-1][0]:
            entries = await self._index.entries(following)
            if not entries:
                break
            found |= await asyncio.to_thread(_reveals, entries, revealed)
            following = entries[-1].index + 1
        self._revealed[revealed.cycle] = frozenset(found)
        while len(self._revealed) > CYCLES_KEPT:
            self._revealed.popitem(last=False)
        return frozenset(found)


def _reveals(entries: tuple[LogEntry, ...], revealed: Revealed) -> set[bytes]:
    """Digests that reveals of the cycle name, in ordered leaves."""
    units = frozenset(revealed.units)
    found = set()
    for entry in entries:
        if not entry.proof:
            continue
        ordered = decode_leaf(entry.leaf)
        assert isinstance(ordered, Ordered)
        for sealed in decode_batch(ordered.batch).requests:
            request = decode(Request, decode(Envelope, sealed).body)
            for reveal in readable_operations(request.operation):
                if (
                    isinstance(reveal, UpdateReveal)
                    and reveal.cycle == revealed.cycle
                    and reveal.unit in units
                ):
                    found.add(reveal.digest)
    return found
