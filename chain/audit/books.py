"""What an auditor remembers between two entries of the log, and how it writes down what follows.

Memory is bounded by one cycle: when a cycle closes, its books are thrown away.
Pure.  The books change in place; whoever changes them has checked everything before.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from bft.codec.canonical import Record
from bft.crypto.merkle import Frontier
from bft.dkg.transcript import Transcript, open_session
from chain.audit.findings import Finding, Severity
from chain.records.block import block_hash, genesis_header
from chain.records.contribution import Profile, Standing, WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable, References, SnapshotVote
from chain.records.federation import FederationKey, Genesis
from chain.records.membership import Propose, VoidReason
from chain.records.phase import Phase
from chain.records.score_log import (
    Aggregated,
    CloseReason,
    CycleClosed,
    Drawn,
    KeyActivated,
    ProposalVoided,
    Scored,
    hash_leaf,
)
from chain.rules.limits import PROPOSAL_CYCLES
from chain.rules.scoring import initial_references
from chain.rules.standing import is_barred

What = tuple[int, int, int]
"""Names a federation signature: purpose, subject, rank (chain/records/votes.py)."""

TIMED = frozenset(
    {
        Phase.KEYGEN,
        Phase.REGISTRATION,
        Phase.TRAINING,
        Phase.REVEAL,
        Phase.EVALUATION,
        Phase.AGGREGATION,
        Phase.BLOCK,
    }
)
"""Phases that end by time; the others wait for a federation signature."""


@dataclass(slots=True)
class CycleBooks:
    """One cycle, from its assignment on."""

    seed: bytes = b""
    challenge: bytes = b""  # randomness of the challenge round
    units: tuple[WorkUnit, ...] = ()
    commitments: dict[int, bytes] = field(default_factory=dict)  # unit -> 32 bytes
    revealed: set[int] = field(default_factory=set)  # units
    updates: dict[int, bytes] = field(default_factory=dict)  # unit -> digest that was revealed
    tables: dict[int, EvaluationTable] = field(default_factory=dict)  # replica -> table
    scored: Scored | None = None
    drawn: Drawn | None = None
    votes: dict[int, SnapshotVote] = field(default_factory=dict)  # replica -> vote
    aggregated: Aggregated | None = None
    rank: int = 0
    certificate: bytes = b""  # body; with the signature once there is one
    seen: dict[int, bytes] = field(default_factory=dict)  # replica -> header
    header: bytes = b""  # of the block that is being finalised
    told: dict[int, int] = field(default_factory=dict)  # replica -> entry of its last table or vote


@dataclass(slots=True)
class Judged:
    """What was agreed lately, so that a late message can still be held against its author."""

    cycle: int = 0
    messages: dict[What, bytes] = field(default_factory=dict)  # what the federation was to sign
    rows: tuple[EvaluationRow, ...] = ()  # medians
    tables: dict[int, EvaluationTable] = field(default_factory=dict)  # they are medians of these
    models: tuple[bytes, ...] = ()  # digests that a strong quorum voted for
    accused: set[tuple[str, int, What]] = field(default_factory=set)  # each thing once


@dataclass(slots=True)
class Change:
    """A list of members that somebody proposed, as far as it has come."""

    proposal: Propose
    proposer: bytes  # identity key
    cycle: int
    approvals: set[int]  # members
    session: Transcript | None = None  # once a strong quorum approved
    proof: bytes = b""  # of enough new members
    elapsed: set[int] = field(default_factory=set)  # members
    shares: dict[int, bytes] = field(default_factory=dict)  # good ones
    given: set[int] = field(default_factory=set)  # who gave a share, good or bad


class Books:
    """The whole memory of one audit's derivation."""

    def __init__(self, genesis: Genesis) -> None:
        self.chain_id = genesis.chain_id
        self.members = genesis.members  # of the epoch that runs
        self.membership = genesis.membership
        self.params = genesis.params
        self.job = genesis.job
        self.entry = 0  # the ordered entry at hand
        self.sequence = 0
        self.agreed_ms = 0
        self.frontier = Frontier()
        self.derived: list[Record] = []  # what must follow the ordered entry at hand
        self.accusations: list[Finding] = []

        self.phase = Phase.KEYGEN
        self.cycle = 0
        self.attempt = 0
        self.elapsed: set[int] = set()  # replicas
        self.began = 0  # the last sequence before the epoch that runs
        self.change: Change | None = None  # at most one is open
        self.successor: tuple[KeyActivated, Transcript] | None = None
        self.transcript: Transcript = open_session(
            self.chain_id,
            self.membership.epoch,
            0,
            self.membership.keys,
            self.membership.strong,
        )
        self.key: FederationKey | None = None
        self.wanted: What | None = None  # the signature that this phase waits for
        self.shares: dict[int, bytes] = {}  # good ones, by replica
        self.given: set[int] = set()  # replicas that gave a share, good or bad

        self.randomness = self.chain_id  # of the newest beacon round
        self.model = self.job.genesis_model
        self.references: tuple[References, ...] = initial_references(self.params, self.job)
        self.tip_height = 0
        self.tip_hash = block_hash(genesis_header(genesis))
        self.tip_time = genesis.created_ms // 1000
        self.registrations: dict[bytes, Profile] = {}  # for the next assignment
        self.standings: dict[bytes, Standing] = {}  # what miners have proven
        self.veterans: tuple[bytes, ...] = ()  # miners that revealed in the cycle before
        self.now = CycleBooks()
        self.judged = Judged()
        self.check_models: Callable[[Books, tuple[bytes, ...]], None] | None = None
        self.judged_before = Judged()  # the cycle before, for what came late

    def write(self, record: Record) -> None:
        """`record` follows: the next leaf of the log."""
        self.derived.append(record)
        self.frontier = self.frontier.push(hash_leaf(record))

    def enter(self, phase: Phase) -> None:
        """Another phase, with fresh clocks and no shares."""
        self.phase = phase
        self.attempt = 0
        self.elapsed = set()
        self.wanted = None
        self.shares = {}
        self.given = set()

    def tables_of(self, cycle: int) -> dict[int, EvaluationTable]:
        """The tables that were counted in `cycle`, this one or the one before; by replica."""
        return next((j.tables for j in (self.judged, self.judged_before) if j.cycle == cycle), {})

    @property
    def timed_out(self) -> bool:
        """Enough clocks say that the phase had its time: at least one of them is correct."""
        return len(self.elapsed) >= self.membership.weak

    def close(self, reason: CloseReason) -> None:
        """The cycle is over, the next one opens for registrations."""
        self.expire_proposal()
        self.write(CycleClosed(cycle=self.cycle, reason=int(reason)))
        revealed = {self.now.units[unit].miner for unit in self.now.revealed}
        self.open_cycle(self.cycle + 1)
        awaited = {miner for miner in revealed if not is_barred(self.standings, miner, self.cycle)}
        self.veterans = tuple(sorted(awaited))

    def expire_proposal(self) -> None:
        """A proposal that waits for approvals too long is void with the end of a cycle."""
        change = self.change
        if change is None or change.session is not None:
            return
        if self.cycle - change.cycle >= PROPOSAL_CYCLES:
            self.void(VoidReason.EXPIRED)

    def void(self, reason: VoidReason) -> None:
        """The open change of members came to nothing."""
        assert self.change is not None
        proposal = self.change.proposal
        self.write(
            ProposalVoided(epoch=proposal.epoch, proposal=proposal.digest, reason=int(reason))
        )
        self.change = None

    def open_cycle(self, cycle: int) -> None:
        """Nothing is known of this cycle yet."""
        self.cycle = cycle
        self.now = CycleBooks()
        self.judged_before, self.judged = self.judged, Judged(cycle=cycle)
        self.enter(Phase.REGISTRATION)

    def accuse(
        self,
        rule: str,
        replica: int,
        what: What,
        text: str,
        cycle: int,
        epoch: int | None = None,
    ) -> None:
        """Hold the entry at hand against `replica` of `epoch` (the one that runs), once a thing."""
        judged = self.judged if cycle == self.judged.cycle else self.judged_before
        if (rule, replica, what) in judged.accused:
            return
        judged.accused.add((rule, replica, what))
        self.accusations.append(
            Finding(
                severity=Severity.ACCUSATION,
                entry=self.entry,
                sequence=self.sequence,
                cycle=cycle,
                rule=rule,
                text=text,
                replicas=(replica,),
                epoch=self.membership.epoch if epoch is None else epoch,
            )
        )
