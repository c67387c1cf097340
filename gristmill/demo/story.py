"""What the score log tells, cycle by cycle, for people: a fold over its records.

Pure.
"""

from dataclasses import dataclass, field

from bft.codec.canonical import Record
from chain.records.block import decode_header
from chain.records.certificate import decode_certificate
from chain.records.score_log import (
    Aggregated,
    Assigned,
    BeaconRound,
    BlockFinal,
    Certified,
    CloseReason,
    Committed,
    CycleClosed,
    Drawn,
    EvidenceShown,
    KeyActivated,
    RankVoided,
    Revealed,
    Scored,
)

COIN = 100_000_000
NATS = 1_000_000


@dataclass(slots=True)
class CycleStory:
    """One cycle so far."""

    cycle: int
    units: int = 0
    committed: int = 0
    revealed: int = 0
    tickets: dict[bytes, int] = field(default_factory=dict)  # by miner
    segments: dict[bytes, list[int]] = field(default_factory=dict)  # by miner
    winner: bytes = b""
    tickets_total: int = 0
    loss: int = 0  # held-out, micro-nats
    correct: int = 0
    records: int = 0
    model: bytes = b""
    certificates: int = 0
    height: int = 0
    block: bytes = b""
    closed: str = ""


class Story:
    """All cycles so far, and lines to print as they happen."""

    def __init__(self, names: dict[bytes, str]) -> None:
        """`names`: miner's identity key -> what people call it."""
        self._names = names
        self.cycles: dict[int, CycleStory] = {}
        self.federation_key = b""
        self.entries = 0

    def name(self, miner: bytes) -> str:
        """A miner's name, or the beginning of its key."""
        return self._names.get(miner, miner.hex()[:12])

    def closed(self) -> int:
        """Number of cycles that are over."""
        return sum(1 for story in self.cycles.values() if story.closed)

    def tell(self, record: Record) -> str:
        """Take the next record of the log; a line for people, or nothing."""
        self.entries += 1
        if isinstance(record, KeyActivated):
            self.federation_key = record.federation_key.key
            dealers = ", ".join(str(dealer) for dealer in record.federation_key.qualified)
            return f"federation key {self.federation_key.hex()[:16]}… (dealt by replicas {dealers})"
        cycle = getattr(record, "cycle", None)
        if isinstance(record, Certified):
            cycle = decode_certificate(record.certificate)[0].cycle
        if isinstance(record, BeaconRound):
            return f"beacon round {record.round}: {record.signature.hex()[:16]}…"
        if cycle is None:
            return ""
        line = self._tell_cycle(self.cycles.setdefault(cycle, CycleStory(cycle)), record)
        return f"cycle {cycle}: {line}" if line else ""

    def _tell_cycle(self, story: CycleStory, record: Record) -> str:
        match record:
            case Assigned():
                story.units = len(record.units)
                for unit in record.units:
                    story.segments.setdefault(unit.miner, []).append(unit.segment)
                return f"{story.units} work units assigned, base model {record.base.hex()[:12]}…"
            case Committed():
                story.committed = len(record.units)
                return f"{story.committed} of {story.units} units committed"
            case Revealed():
                story.revealed = len(record.units)
                return f"{story.revealed} of {story.committed} commitments revealed"
            case Scored():
                for row in record.rows:
                    story.tickets[row.miner] = story.tickets.get(row.miner, 0) + row.tickets
                story.tickets_total = record.tickets_total
                replicas = ", ".join(str(index) for index in record.evaluators)
                return f"scored by medians of replicas {replicas}: {record.tickets_total} tickets"
            case EvidenceShown():
                name = self.name(record.miner)
                return f"{name} signed two blocks {record.height}: barred to {record.barred_until}"
            case Drawn():
                story.winner = record.ranks[0].miner
                share = 100 * record.ranks[0].tickets // max(1, story.tickets_total)
                return f"the draw: {self.name(story.winner)} wins with {share} % of the tickets"
            case Aggregated():
                story.loss, story.correct, story.records = (
                    record.loss,
                    record.correct,
                    record.records,
                )
                story.model = record.digest
                return (
                    f"model {record.digest.hex()[:12]}…, held-out loss {record.loss / NATS:.4f}, "
                    f"accuracy {100 * record.correct / record.records:.1f} %"
                )
            case Certified():
                certificate, signature = decode_certificate(record.certificate)
                story.certificates += 1
                return (
                    f"certificate for {self.name(certificate.winner)} at height "
                    f"{certificate.height}, rank {certificate.rank}, signed {signature.hex()[:12]}…"
                )
            case RankVoided():
                return f"rank {record.rank} made no block in time; the next rank may"
            case BlockFinal():
                story.height = record.height
                story.block = decode_header(record.header).hash[::-1]
                return f"block {record.height} is final: {story.block.hex()[:16]}…"
            case CycleClosed():
                story.closed = CloseReason(record.reason).name
                return "" if record.reason == CloseReason.BLOCK else f"closed: {story.closed}"
        return ""
