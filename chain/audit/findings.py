"""What an audit says: findings, one summary a cycle, one verdict.

Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from chain.records.score_log import CloseReason

FINDINGS_MAX = 1_000
"""Findings of each severity that a report lists; the rest is counted."""


class Severity(Enum):
    """What a finding means for the verdict."""

    BROKEN = "broken"  # something does not follow from the log: the audit fails
    ACCUSATION = "accusation"  # a replica signed something wrong, and the rules withstood it


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not follow, or one thing that a replica should not have signed."""

    severity: Severity
    entry: int  # index in the score log
    sequence: int  # batch in which it stands or to which it belongs; 0 before the first
    cycle: int  # 0 before the first
    rule: str  # short, stable word; docs/AUDITING.md lists all
    text: str  # what stands there, and what follows
    replicas: tuple[int, ...] = ()  # whose signatures stand under it; empty when nobody's do
    epoch: int = 0  # whose list of members their indices belong to

    def line(self) -> str:
        """For people."""
        names = ", ".join(f"replica {index}" for index in self.replicas)
        of = f" of epoch {self.epoch}" if self.epoch else ""
        whose = f" [signed by {names}{of}]" if names else ""
        place = f"entry {self.entry} (batch {self.sequence}, cycle {self.cycle})"
        return f"{self.severity.value}: {place}: {self.rule}: {self.text}{whose}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured quantity of one unit: what was agreed, and between which replicas it lies."""

    name: str  # field of EvaluationRow
    median: int
    lowest: int  # of the tables that were counted
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScore:
    """How one work unit was scored."""

    unit: int
    miner: bytes  # 33 bytes
    segment: int
    tickets: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throw:
    """One rank's draw: the point fell among the tickets `first` .. `first` + `tickets` - 1."""

    miner: bytes  # 33 bytes
    tickets: int
    first: int  # in the row of all tickets left, miners in the order of their keys
    point: int
    total: int  # tickets left


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleSummary:
    """What one cycle came to."""

    cycle: int
    closed: str | None = None  # the reason, or None while the cycle runs
    units: int = 0  # work units assigned
    revealed: int = 0
    tickets_total: int = 0
    winner: bytes | None = None  # 33 bytes, of the certificate's rank
    rank: int | None = None
    tickets: int | None = None  # the winner's
    loss_micronats: int | None = None  # held-out, of the model after the cycle
    correct: int | None = None
    records: int | None = None
    model: bytes | None = None  # 32 bytes, SHA-256 of the model after the cycle
    certificates: int = 0  # verified, one a rank
    certified_s: int | None = None  # Unix seconds, from when the winner may make the block
    height: int | None = None
    block: bytes | None = None  # 32 bytes, hash of the final block, internal byte order
    # Only in a detailed audit:
    evaluators: tuple[int, ...] = ()  # replicas whose tables were counted
    scores: tuple[UnitScore, ...] = ()
    randomness: bytes | None = None  # 32 bytes, of the draw
    throws: tuple[Throw, ...] = ()

    def line(self) -> str:
        """For people."""
        parts = [f"cycle {self.cycle}:"]
        if self.winner is not None:
            place = f" (rank {self.rank})" if self.rank else ""
            share = f"{self.tickets} of {self.tickets_total} tickets"
            parts.append(f"{self.winner.hex()[:12]} won{place} with {share};")
        if self.loss_micronats is not None:
            parts.append(f"loss {_millionths(self.loss_micronats)} nats,")
            parts.append(f"{self.correct} of {self.records} right;")
        if self.certificates:
            noun = "certificate holds" if self.certificates == 1 else "certificates hold"
            parts.append(f"{self.certificates} {noun};")
        if self.block is not None:
            parts.append(f"block {self.height} is {self.block[::-1].hex()[:16]};")
        parts.append(f"closed: {self.closed}" if self.closed else "not closed so far")
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSummary:
    """One list of members that decided batches."""

    epoch: int
    replicas: int
    boundary: int  # the last batch before it; 0 before the first

    def line(self) -> str:
        """For people."""
        return f"epoch {self.epoch}: {self.replicas} replicas, from batch {self.boundary + 1} on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """An earlier audit of the same log, from whose end this one went on."""

    entries: int
    cycles: int  # closed ones
    audited: str  # when
    passed: bool  # False: it was interrupted, and nothing was wrong so far

    def line(self) -> str:
        """For people."""
        how = "audited before" if self.passed else "audited before an interruption"
        many = f"cycles 1 to {self.cycles}" if self.cycles > 1 else "cycle 1"
        cycles = many if self.cycles else "the key ceremony"
        return f"{cycles}: {how}, on {self.audited}, {self.entries} entries; everything followed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The verdict with its reasons."""

    chain_id: bytes  # 32 bytes
    name: str
    replicas: int  # of the newest epoch
    federation_key: bytes | None  # 96 bytes; None before activation
    entries: int
    sequences: int  # batches
    log_root: bytes | None  # 32 bytes, RFC 6962 over all leaves; None when one was unreadable
    epochs: tuple[EpochSummary, ...]  # all that decided a batch, and epoch 0
    cycles: tuple[CycleSummary, ...]
    breaks: int  # findings that fail the audit, listed or not
    findings: tuple[Finding, ...]
    findings_left_out: int
    before: Before | None = None  # whose entries, cycles and accusations are counted in

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Findings that fail the audit."""
        return tuple(f for f in self.findings if f.severity is Severity.BROKEN)

    @property
    def accusations(self) -> tuple[Finding, ...]:
        """Findings against replicas that the protocol withstood."""
        return tuple(f for f in self.findings if f.severity is Severity.ACCUSATION)

    @property
    def passed(self) -> bool:
        """Whether everything in the log follows from the genesis record and the signed entries."""
        return not self.breaks

    def with_breaks(self, findings: Sequence[Finding]) -> "AuditReport":
        """With findings from outside the log, each of which fails the audit."""
        merged = sorted((*self.findings, *findings), key=lambda finding: finding.entry)
        return replace(self, breaks=self.breaks + len(findings), findings=tuple(merged))

    def to_json(self) -> dict[str, Any]:
        """Bytes as hex, in the order of the fields; block hashes reversed, as people see them."""
        told = {"passed": self.passed, **plain(asdict(replace(self, cycles=())))}
        return told | {"cycles": [plain_cycle(cycle) for cycle in self.cycles]}

    def to_text(self) -> str:
        """For people; ends without a newline."""
        return "\n".join(self.lines(self.cycles))

    def lines(self, cycles: Iterable[CycleSummary]) -> Iterator[str]:
        """The text, line by line, with these cycles."""
        root = self.log_root.hex() if self.log_root is not None else "unknown: an entry is damaged"
        yield f"chain {self.chain_id.hex()} ({self.name}), {self.replicas} replicas"
        if len(self.epochs) > 1:
            yield from (epoch.line() for epoch in self.epochs)
        if self.before is not None:
            yield self.before.line()
        yield from (cycle.line() for cycle in cycles)
        yield from (finding.line() for finding in self.findings)
        if self.findings_left_out:
            left = self.findings_left_out
            yield f"{left} more {'is' if left == 1 else 'are'} not listed"
        yield f"{self.entries} entries, {self.sequences} batches, log root {root}"
        yield self.verdict()

    def verdict(self) -> str:
        """One line."""
        accused = sorted({index for f in self.accusations for index in f.replicas})
        if not self.passed:
            broken = "1 finding breaks" if self.breaks == 1 else f"{self.breaks} findings break"
            return f"FAILED: {broken} the log"
        if accused:
            names = ", ".join(str(index) for index in accused)
            return f"PASSED: everything follows; accused: replica {names}"
        return "PASSED: everything follows from the genesis record and signed entries"


def plain_cycle(cycle: CycleSummary) -> dict[str, Any]:
    """For JSON."""
    told: dict[str, Any] = plain(asdict(cycle))
    told["block"] = cycle.block[::-1].hex() if cycle.block is not None else None
    return told


def reason_name(reason: int) -> str:
    """The word for why a cycle was closed."""
    return CloseReason(reason).name.lower().replace("_", "-")


def _millionths(value: int) -> str:
    return f"{value // 1_000_000}.{value % 1_000_000:06d}"


def plain(value: Any) -> Any:
    """With bytes as hex and enums as their words."""
    match value:
        case bytes():
            return value.hex()
        case Enum():
            return value.value
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
    return value
