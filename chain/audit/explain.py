"""How one miner's score in one cycle came about: from its assignment to the draw, entry by entry.

Reads the same entries as the auditor, beside it; says nothing that the auditor has not checked.
Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bft.codec.canonical import Record, decode
from bft.codec.envelope import Envelope
from bft.errors import ConfigError, DecodeError
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from chain.audit.findings import CycleSummary, plain
from chain.records.commands import readable_operations
from chain.records.contribution import UpdateCommitment, UpdateReveal, WorkUnit
from chain.records.evaluation import EvaluationTable, References, ScoreRow
from chain.records.score_log import Assigned, LogEntry, Ordered, Scored, decode_leaf

WORDS = {
    "parameters": "parameters that the unit trains",
    "samples": "samples that were assigned",
    "valid": "valid: the update's bytes decode to one of this segment",
    "gain": "gain on data nobody knew, micro-nats: the median of the replicas' tables",
    "advantage": "advantage on the unit's own data: the median of the replicas' tables",
    "norm": "norm of the update: the median of the replicas' tables",
    "cap": "norm to which the update is scaled down; 0: it is not",
    "replay": "likeness to what replicas got by training the unit again; 0 unless audited",
    "volume": "volume V: what was assigned, from parameters and samples",
    "coverage": "coverage c, where 65536 is 1: that the unit's own data was trained on",
    "quality": "quality q, where 65536 is 1: that the update helps on data nobody knew",
    "merit": 'merit, from V, c and q (PROTOCOL.md, "Scores")',
    "tickets": "tickets in the draw: the merit; 0 while the miner is on trial or barred",
}
KEY_SHOWN = 12  # hex digits of a key
KEYS_SHOWN_MAX = 20  # miners of a cycle that a refusal lists
_SKIPPED = frozenset({"cycle", "unit", "miner", "segment"})


@dataclass(slots=True)
class UnitStory:
    """One work unit of the miner."""

    unit: WorkUnit
    committed: int | None = None  # entry
    revealed: int | None = None  # entry
    digest: bytes = b""  # of the update
    size: int = 0
    row: ScoreRow | None = None
    references: References | None = None


@dataclass(slots=True)
class Story:
    """All that the log says about one miner in one cycle."""

    miner: bytes
    cycle: CycleSummary
    units: list[UnitStory]
    measured: dict[int, dict[int, dict[str, int]]]  # unit -> replica -> figures
    tables: dict[int, int]  # replica -> entry of its table

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"miner {self.miner.hex()} in cycle {self.cycle.cycle}"
        if not self.units:
            yield "  was assigned no unit"
        for story in self.units:
            yield from self._unit(story)
        yield from self._draw()

    def _unit(self, story: UnitStory) -> Iterator[str]:
        unit = story.unit
        yield f"unit {unit.unit}: segment {unit.segment}, chunk {unit.chunk}, {unit.steps} steps"
        if story.committed is None:
            yield "  no commitment: it scores nothing"
            return
        yield f"  committed in entry {story.committed}"
        if story.revealed is None:
            yield "  not revealed: it scores nothing"
            return
        yield f"  revealed in entry {story.revealed}: {story.size} bytes, {story.digest.hex()}"
        if story.row is None:
            yield "  not scored"
            return
        for replica, figures in sorted(self.measured.get(unit.unit, {}).items()):
            told = ", ".join(f"{name} {value}" for name, value in figures.items())
            where = f" (entry {self.tables[replica]})" if replica in self.tables else ""
            yield f"  replica {replica} measured: {told}{where}"
        if story.references is not None:
            told = ", ".join(f"{n} {v}" for n, v in _fields(story.references).items())
            yield f"  counts as full in this cycle: {told}"
        for name, value in _fields(story.row).items():
            if name not in _SKIPPED:
                yield f"  {value:>20}  {WORDS.get(name, name)}"

    def _draw(self) -> Iterator[str]:
        tickets = sum(story.row.tickets for story in self.units if story.row is not None)
        total = self.cycle.tickets_total
        yield f"together {tickets} of {total} tickets"
        for rank, throw in enumerate(self.cycle.throws):
            last = throw.first + throw.tickets - 1
            own = throw.miner == self.miner
            who = "this miner" if own else throw.miner.hex()[:12]
            yield (
                f"draw of rank {rank}: point {throw.point} of {throw.total} lies in "
                f"{throw.first} to {last}: {who}"
            )
        yield self.cycle.line()

    def to_json(self) -> dict[str, Any]:
        """Bytes as hex."""
        units = []
        for story in self.units:
            told = {
                "unit": _fields(story.unit),
                "committed_entry": story.committed,
                "revealed_entry": story.revealed,
                "update": story.digest,
                "size": story.size,
                "measured": self.measured.get(story.unit.unit, {}),
                "references": _fields(story.references) if story.references else None,
                "score": _fields(story.row) if story.row else None,
            }
            units.append(told)
        whole = {
            "miner": self.miner,
            "units": units,
            "tables": self.tables,
            "cycle": asdict(self.cycle),
        }
        found: dict[str, Any] = plain(whole)
        return found


@dataclass(slots=True)
class Explainer:
    """Collects what one cycle's entries say about all miners."""

    cycle: int
    assigned: Assigned | None = None
    scored: Scored | None = None
    commitments: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    reveals: dict[int, tuple[bytes, int, UpdateReveal]] = field(default_factory=dict)
    tables: dict[bytes, tuple[int, EvaluationTable]] = field(default_factory=dict)

    def take(self, data: bytes, bytes_max: int) -> None:
        """The next encoded entry; one that cannot be read is the auditor's business."""
        try:
            entry = decode(LogEntry, data, bytes_max=bytes_max)
            record = decode_leaf(entry.leaf)
            if isinstance(record, Ordered):
                self._hear(entry.index, record)
        except DecodeError:
            return
        if isinstance(record, Assigned) and record.cycle == self.cycle:
            self.assigned = record
        elif isinstance(record, Scored) and record.cycle == self.cycle:
            self.scored = record

    def _hear(self, index: int, ordered: Ordered) -> None:
        """The first word of each author; it counted if the log goes on with it."""
        for sealed in decode_batch(ordered.batch).requests:
            request = decode(Request, decode(Envelope, sealed).body)
            for operation in readable_operations(request.operation):
                if getattr(operation, "cycle", None) != self.cycle:
                    continue
                match operation:
                    case UpdateCommitment(unit=unit):
                        self.commitments.setdefault(unit, (request.client, index))
                    case UpdateReveal(unit=unit):
                        self.reveals.setdefault(unit, (request.client, index, operation))
                    case EvaluationTable():
                        self.tables.setdefault(request.client, (index, operation))

    def story(self, prefix: str, summary: CycleSummary, replicas: Mapping[bytes, int]) -> Story:
        """What happened to the miner whose key begins so.

        Args:
            summary: of the same cycle, detailed.
            replicas: index by identity key.

        Raises:
            ConfigError: no such miner in this cycle, or more than one.
        """
        units = self.assigned.units if self.assigned is not None else ()
        keys = sorted({unit.miner for unit in units if unit.miner.hex().startswith(prefix.lower())})
        if len(keys) != 1:
            named = keys or sorted({unit.miner for unit in units})
            some = ", ".join(each.hex()[:KEY_SHOWN] for each in named[:KEYS_SHOWN_MAX])
            raise ConfigError(
                f"{len(keys)} miners of cycle {self.cycle} have keys that begin with "
                f"{prefix[:66]!r}; "
                + (f"{'those' if keys else 'work had'}: {some}" if named else "nobody had work")
                + (", ..." if len(named) > KEYS_SHOWN_MAX else "")
            )
        miner = keys[0]
        rows = {row.unit: row for row in self.scored.rows} if self.scored is not None else {}
        stories = []
        for unit in units:
            if unit.miner == miner:
                stories.append(self._unit(unit, miner, rows.get(unit.unit)))
        told = {replicas[key]: index for key, (index, _) in self.tables.items() if key in replicas}
        counted = {replica: told[replica] for replica in summary.evaluators if replica in told}
        return Story(miner, summary, stories, self._measured(summary, replicas), counted)

    def _unit(self, unit: WorkUnit, miner: bytes, row: ScoreRow | None) -> UnitStory:
        story = UnitStory(unit)
        author, index = self.commitments.get(unit.unit, (b"", 0))
        if author == miner:
            story.committed = index
        found = self.reveals.get(unit.unit)
        if found is not None and found[0] == miner:
            story.revealed, reveal = found[1], found[2]
            story.digest, story.size = reveal.digest, reveal.size
        if row is not None and self.scored is not None:
            story.row = row
            if unit.segment < len(self.scored.references):
                story.references = self.scored.references[unit.segment]
        return story

    def _measured(
        self, summary: CycleSummary, replicas: Mapping[bytes, int]
    ) -> dict[int, dict[int, dict[str, int]]]:
        found: dict[int, dict[int, dict[str, int]]] = {}
        for key, (_, table) in self.tables.items():
            replica = replicas.get(key)
            if replica is None or replica not in summary.evaluators:
                continue
            for row in table.rows:
                figures = {n: v for n, v in _fields(row).items() if n not in _SKIPPED}
                found.setdefault(row.unit, {})[replica] = figures
        return found


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}
