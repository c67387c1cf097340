"""What the draw would have been without one replica's tables: computed again from the archive.

The median is meant to make a lie worthless; this says whether it did.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bft.codec.canonical import decode
from bft.ordering.batch import decode_batch
from bft.ordering.request import open_request
from chain.records.commands import readable_operations
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationTable
from chain.records.federation import Genesis
from chain.records.score_log import Assigned, Drawn, LogEntry, Ordered, Scored, decode_leaf
from chain.rules.lottery import draw
from chain.rules.scoring import agree, score, tickets_by_miner


@dataclass(slots=True)
class _Cycle:
    units: dict[int, WorkUnit] = field(default_factory=dict)
    tables: dict[int, EvaluationTable] = field(default_factory=dict)
    scored: Scored | None = None


def winners_without(
    genesis: Genesis, entries: Iterable[bytes], replica: int
) -> dict[int, tuple[bytes, bytes]]:
    """Cycle -> (winner as drawn, winner had `replica` kept silent).

    For federations without trials, as the demonstration's is.

    Args:
        entries: encoded LogEntry, a log that the auditor has passed.
    """
    cycles: dict[int, _Cycle] = {}
    found: dict[int, tuple[bytes, bytes]] = {}
    for data in entries:
        record = decode_leaf(decode(LogEntry, data).leaf)
        match record:
            case Ordered():
                for author, table in _tables(genesis, record):
                    cycles[table.cycle].tables.setdefault(author, table)
            case Assigned():
                units = {unit.unit: unit for unit in record.units}
                cycles[record.cycle] = _Cycle(units=units)
            case Scored():
                cycles[record.cycle].scored = record
            case Drawn():
                other = _redraw(genesis, cycles[record.cycle], record, replica)
                found[record.cycle] = (record.ranks[0].miner, other)
    return found


def _tables(genesis: Genesis, ordered: Ordered) -> list[tuple[int, EvaluationTable]]:
    found = []
    for sealed in decode_batch(ordered.batch).requests:
        request = open_request(sealed, genesis.chain_id)
        author = genesis.membership.index_by_key.get(request.client)
        if author is not None:
            for operation in readable_operations(request.operation):
                if isinstance(operation, EvaluationTable):
                    found.append((author, operation))
    return found


def _redraw(genesis: Genesis, cycle: _Cycle, drawn: Drawn, replica: int) -> bytes:
    scored = cycle.scored
    assert scored is not None
    tables = {author: cycle.tables[author] for author in scored.evaluators if author != replica}
    params, job = genesis.params, genesis.job
    audited = {row.unit for row in scored.rows if row.audited}
    rows = score(drawn.cycle, cycle.units, agree(tables), scored.references, params, job, audited)
    ranks = draw(drawn.randomness, tickets_by_miner(rows), params.ranks_max)
    return ranks[0].miner if ranks else b""
