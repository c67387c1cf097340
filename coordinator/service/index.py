"""Answers about past cycles, found through the journal's marks and cached.

The log is the only source; what is cached stands in it at a fixed index and never changes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import Envelope
from bft.errors import Unavailable
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from chain.federation.api import LOG_ANSWER_BYTES_MAX, LOG_LIMIT_MAX
from chain.params import Params
from chain.records.certificate import decode_certificate
from chain.records.commands import readable_operations
from chain.records.evaluation import EvaluationTable
from chain.records.score_log import (
    Aggregated,
    Assigned,
    BeaconRound,
    BlockFinal,
    Certified,
    CycleClosed,
    Drawn,
    KeyActivated,
    LogEntry,
    Ordered,
    RankVoided,
    Revealed,
    Scored,
    decode_leaf,
)
from chain.rules.rounds import challenge_round
from chain.rules.scoring import agree, deviations
from coordinator.service.parts import AssignedParts, ScoredParts
from coordinator.service.plain import close_reason, plain, plain_certificate, plain_final
from coordinator.service.reader import INTEGER_MAX, JournalReader

CACHED_MAX = 128  # records; the largest has some hundred bytes for each unit of a cycle
CYCLES_MAX = 100  # in one overview
PARTS_MAX = 4  # records that are kept sorted by miner; each has some megabytes with 10 000 units

R = TypeVar("R", bound=Record)
P = TypeVar("P", AssignedParts, ScoredParts)
T = TypeVar("T")


class LogIndex:
    """Asks the journal in a thread of its own."""

    def __init__(self, reader: JournalReader, params: Params) -> None:
        self._reader, self._params = reader, params
        self._thread = ThreadPoolExecutor(1, "reader")
        self._cache: OrderedDict[int, Record] = OrderedDict()
        self._parts: OrderedDict[int, AssignedParts | ScoredParts] = OrderedDict()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, *arguments)

    async def entries(
        self, first: int, limit: int = LOG_LIMIT_MAX, derived_only: bool = False
    ) -> tuple[LogEntry, ...]:
        """Log entries from `first` on, bounded in number and bytes."""
        limit = min(limit, LOG_LIMIT_MAX)
        return await self._ask(
            self._reader.entries, first, limit, LOG_ANSWER_BYTES_MAX, derived_only
        )

    async def block(self, block_hash: bytes) -> bytes | None:
        """The block with this hash (32 bytes, internal order), if it is here."""
        return await self._ask(self._reader.block, block_hash)

    async def final_blocks(self, above: int, limit: int) -> tuple[tuple[int, bytes, bool], ...]:
        """(height, hash, whether its bytes are here) of the lowest final blocks above a height."""
        return await self._ask(self._reader.final_blocks, above, limit)

    async def latest(self, kind: type[R], mark: str, limit: int) -> tuple[R, ...]:
        """The `limit` log records with the highest numbers under a mark, newest first."""
        places = await self._ask(self._reader.latest_places, mark, limit)
        return tuple([await self._record(kind, index) for index in places])

    async def find(self, kind: type[R], mark: str, number: int) -> tuple[tuple[int, R], ...]:
        """(index, record) of all log records under a mark of the journal, ascending."""
        places = await self._ask(self._reader.places, mark, number, number)
        return tuple([(index, await self._record(kind, index)) for _, index in places])

    async def newest(self, kind: type[R], mark: str, number: int) -> R | None:
        """The last of `find`."""
        found = await self.find(kind, mark, number)
        return found[-1][1] if found else None

    async def assigned_parts(self, cycle: int) -> AssignedParts | None:
        """The newest assignment of a cycle, by miner."""
        return await self._sorted(Assigned, AssignedParts, "assigned", cycle)

    async def scored_parts(self, cycle: int) -> ScoredParts | None:
        """The newest scores of a cycle, by miner."""
        return await self._sorted(Scored, ScoredParts, "scored", cycle)

    async def _sorted(
        self, kind: type[R], sort: Callable[[R], P], mark: str, cycle: int
    ) -> P | None:
        found = await self._ask(self._reader.places, mark, cycle, cycle)
        if not found:
            return None
        index = found[-1][1]
        parts = self._parts.get(index)
        if parts is None:
            parts = sort(await self._record(kind, index))
            self._parts[index] = parts
            if len(self._parts) > PARTS_MAX:
                self._parts.popitem(last=False)
        return cast(P, parts)

    async def last(self, kind: type[R], mark: str) -> R | None:
        """The log record under the highest number of a mark."""
        index = await self._ask(self._reader.last_place, mark)
        return None if index is None else await self._record(kind, index)

    async def _record(self, kind: type[R], index: int) -> R:
        record = self._cache.get(index)
        if record is None:
            (entry,) = await self._ask(self._reader.entries, index, 1, 0)
            record = decode_leaf(entry.leaf)
            self._cache[index] = record
            if len(self._cache) > CACHED_MAX:
                self._cache.popitem(last=False)
        assert isinstance(record, kind)
        return record

    async def epochs(self, first: int, limit: int, bytes_max: int) -> tuple[KeyActivated, ...]:
        """How each epoch from `first` on was activated: at most `limit`, and as many bytes fit."""
        last = min(first + limit - 1, INTEGER_MAX)
        places = await self._ask(self._reader.places, "key", first, last)
        found: list[KeyActivated] = []
        size = 0
        for _, index in places:
            record = await self._record(KeyActivated, index)
            size += len(encode(record))
            if found and size > bytes_max:
                break
            found.append(record)
        return tuple(found)

    # Summaries.

    async def cycle(self, cycle: int) -> dict[str, Any] | None:
        """What is known of one cycle; None when the log says nothing about it."""
        assigned = await self.find(Assigned, "assigned", cycle)
        closed = await self.newest(CycleClosed, "closed", cycle)
        if not assigned and closed is None:
            return None
        scored = await self.find(Scored, "scored", cycle)
        revealed = await self.find(Revealed, "revealed", cycle)
        drawn = await self.newest(Drawn, "drawn", cycle)
        aggregated = await self.newest(Aggregated, "aggregated", cycle)
        voided = await self.find(RankVoided, "rank-voided", cycle)
        final = await self.newest(BlockFinal, "final", cycle)
        certified = await self.find(Certified, "certified", cycle)
        return {
            "cycle": cycle,
            "closed": None if closed is None else close_reason(closed.reason),
            "assigned": plain(assigned[-1][1]) if assigned else None,
            "revealed": list(revealed[-1][1].units) if revealed else None,
            "scored": plain(scored[-1][1]) if scored else None,
            "deviations": self._deviations(await self.tables(cycle)),
            "drawn": plain(drawn),
            "aggregated": plain(aggregated),
            "certificates": [
                plain_certificate(decode_certificate(entry.certificate)[0])
                for _, entry in certified
            ],
            "voided": [entry.rank for _, entry in voided],
            "block": None if final is None else plain_final(final),
        }

    async def overview(self, first: int, last: int) -> list[dict[str, Any]]:
        """One line for each closed or aggregated cycle in first..last."""
        lines = []
        for cycle in range(first, min(last, first + CYCLES_MAX - 1) + 1):
            closed = await self.newest(CycleClosed, "closed", cycle)
            aggregated = await self.newest(Aggregated, "aggregated", cycle)
            final = await self.newest(BlockFinal, "final", cycle)
            drawn = await self.newest(Drawn, "drawn", cycle)
            if closed is None and aggregated is None:
                continue
            lines.append(
                {
                    "cycle": cycle,
                    "closed": None if closed is None else close_reason(closed.reason),
                    "loss": None if aggregated is None else aggregated.loss,
                    "correct": None if aggregated is None else aggregated.correct,
                    "records": None if aggregated is None else aggregated.records,
                    "winner": None if drawn is None else drawn.ranks[0].miner.hex(),
                    "height": None if final is None else final.height,
                }
            )
        return lines

    async def contribution(self, cycle: int, miner: bytes) -> dict[str, Any] | None:
        """A miner's score rows with their inclusion proofs; None without a score."""
        parts = await self.scored_parts(cycle)
        indices = () if parts is None else parts.indices(miner)
        if parts is None or not indices:
            return None
        certified = await self.newest(Certified, "certified", cycle)
        return {
            "cycle": cycle,
            "miner": miner.hex(),
            "root": parts.root.hex(),
            "size": len(parts.leaves),
            "certificate": None if certified is None else certified.certificate.hex(),
            "rows": [
                {
                    "index": index,
                    "row": parts.leaves[index].hex(),
                    "tickets": parts.tickets(index),
                    "proof": [hashed.hex() for hashed in parts.proof(index)],
                }
                for index in indices
            ],
        }

    async def tables(self, cycle: int) -> dict[int, EvaluationTable]:
        """What each evaluator measured, by replica; empty before the cycle is scored."""
        scored = await self.find(Scored, "scored", cycle)
        challenge = await self.find(BeaconRound, "beacon", challenge_round(cycle))
        if not scored or not challenge:
            return {}
        return await self._tables(challenge[-1][0], *scored[-1])

    def _deviations(self, tables: dict[int, EvaluationTable]) -> list[dict[str, int]]:
        """Measurements farther from the median than tolerated."""
        if not tables:
            return []
        found = deviations(tables, agree(tables), self._params)
        return [
            {"replica": replica, "unit": unit, "micronats": micronats}
            for replica, unit, micronats in found
        ]

    async def _tables(
        self, challenge: int, scored: int, record: Scored
    ) -> dict[int, EvaluationTable]:
        """The evaluators' tables, from the log between two of its entries."""
        said: dict[bytes, EvaluationTable] = {}
        first, sequence = challenge, 0
        while first < scored:
            entries = await self.entries(first)
            if not entries:
                raise Unavailable("the log ends before the scores do")
            for entry in entries:
                if entry.index < scored and entry.proof:
                    sequence = _collect(said, entry, record)
            first = entries[-1].index + 1
        tables = await self._by_index(said, record, sequence)
        if sorted(tables) != list(record.evaluators):
            return {}  # a log of this replica's own always holds them
        return tables

    async def _by_index(
        self, said: dict[bytes, EvaluationTable], record: Scored, sequence: int
    ) -> dict[int, EvaluationTable]:
        """The evaluators' tables, by index in the epoch that scored in batch `sequence`.

        The last batch of an epoch may score as it ends, or right after, under the next list.
        """
        places = await self._ask(self._reader.places, "key", 0, INTEGER_MAX)
        made = [await self._record(KeyActivated, index) for _, index in places]
        before = [each for each in made if each.boundary < sequence][-1:]
        for activated in (*before, *(each for each in made if each.boundary == sequence)):
            members = activated.federation_key.members
            keys = {i: members[i].key for i in record.evaluators if i < len(members)}
            if len(keys) == len(record.evaluators) and all(key in said for key in keys.values()):
                return {i: said[key] for i, key in keys.items()}
        return {}


def _collect(said: dict[bytes, EvaluationTable], entry: LogEntry, record: Scored) -> int:
    """The tables in one ordered leaf; of each author the first that fits.  The leaf's sequence."""
    ordered = decode_leaf(entry.leaf)
    assert isinstance(ordered, Ordered)
    for sealed in decode_batch(ordered.batch).requests:
        request = decode(Request, decode(Envelope, sealed).body)
        for table in readable_operations(request.operation):
            if (
                request.client not in said
                and isinstance(table, EvaluationTable)
                and [row.unit for row in table.rows] == [row.unit for row in record.rows]
                and all(row.valid in (0, 1) for row in table.rows)
            ):
                said[request.client] = table
    return ordered.sequence
