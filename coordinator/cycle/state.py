"""What the replicas agree on between two commands: one frozen, canonically encoded record.

Pure.  Dictionaries stand in key order (`State.set` sees to it), and so they are encoded.
"""

from typing import Annotated

from msgspec import Meta, field
from msgspec.structs import replace

from bft.codec.canonical import Record
from bft.codec.types import U8, U16, U32, U63, Bytes32, GroupSignature, IdentityKey
from bft.crypto.merkle import Frontier
from bft.dkg.transcript import Transcript, open_session
from bft.membership import Membership
from chain.params import Params
from chain.records.contribution import Profile, WorkUnit
from chain.records.evaluation import EvaluationTable, References, SnapshotVote
from chain.records.federation import FederationKey, Genesis
from chain.records.job import Job
from chain.records.phase import Phase as Phase
from chain.records.score_log import Aggregated, Drawn, Scored
from chain.rules.scoring import initial_references
from chain.validation import genesis_view


class Rules:
    """What never changes while the machine runs."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.chain_id: bytes = genesis.chain_id
        self.membership: Membership = genesis.membership
        self.params: Params = genesis.params
        self.job: Job = genesis.job


class LogState(Record):
    """The score log's size and the right edge of its Merkle tree."""

    size: U63
    peaks: tuple[Bytes32, ...]

    def push(self, hashed: bytes) -> "LogState":
        """With one more leaf hash."""
        after = Frontier(size=self.size, peaks=self.peaks).push(hashed)
        return LogState(size=after.size, peaks=after.peaks)

    @property
    def root(self) -> bytes:
        """32 bytes."""
        return Frontier(size=self.size, peaks=self.peaks).root()


class Tip(Record):
    """The newest final block."""

    height: U32
    hash: Bytes32
    time: U32  # Unix seconds


class Reveal(Record):
    """An opened commitment."""

    digest: Bytes32
    size: U32


Unit = U32
Replica = U16


class State(Record, kw_only=True):
    """The whole of it."""

    sequence: U63 = 0  # of the last executed batch
    agreed_ms: U63 = 0  # Unix time, monotone
    log: LogState

    phase: U8 = Phase.KEYGEN
    cycle: U63 = 0
    attempt: U8 = 0  # how often the phase was extended; in BLOCK: the rank
    elapsed: tuple[Replica, ...] = ()  # replicas whose clocks say that the phase had its time

    transcript: Transcript
    federation_key: FederationKey | None = None
    shares: dict[Replica, GroupSignature] = field(
        default_factory=dict
    )  # of the signature that this phase waits for
    faulty: tuple[Replica, ...] = ()  # replicas whose share in this phase was bad

    randomness: Bytes32  # of the newest beacon round
    model: Bytes32  # snapshot that the next training starts from
    references: tuple[References, ...]
    tip: Tip

    registrations: dict[IdentityKey, Profile] = field(
        default_factory=dict
    )  # for the next assignment
    veterans: tuple[IdentityKey, ...] = ()  # miners that revealed in the cycle before
    seed: Bytes32 = bytes(32)  # of the assignment in force
    units: tuple[WorkUnit, ...] = ()
    commitments: dict[Unit, Bytes32] = field(default_factory=dict)
    reveals: dict[Unit, Reveal] = field(default_factory=dict)
    challenge: Bytes32 = bytes(32)
    tables: dict[Replica, EvaluationTable] = field(default_factory=dict)
    scored: Scored | None = None
    drawn: Drawn | None = None
    votes: dict[Replica, SnapshotVote] = field(default_factory=dict)
    aggregated: Aggregated | None = None
    rank: U8 = 0
    certificate: Annotated[bytes, Meta(max_length=1024)] = b""  # body, then with its signature
    seen: dict[Replica, Annotated[bytes, Meta(min_length=80, max_length=80)]] = field(
        default_factory=dict
    )
    header: Annotated[bytes, Meta(max_length=80)] = b""  # of the block that is being finalised

    def set(self, **changes: object) -> "State":
        """With these fields changed, dictionaries in key order: one state has one encoding."""
        return replace(self, **{name: _in_key_order(changes[name]) for name in changes})


def _in_key_order(value: object) -> object:
    return {key: value[key] for key in sorted(value)} if isinstance(value, dict) else value


def opening_state(rules: Rules) -> State:
    """Before the first batch: key generation is open."""
    membership, first = rules.membership, genesis_view(rules.genesis)
    return State(
        log=LogState(size=0, peaks=()),
        transcript=open_session(
            rules.chain_id, membership.epoch, 0, membership.keys, membership.strong
        ),
        randomness=rules.chain_id,
        model=rules.job.genesis_model,
        references=initial_references(rules.params, rules.job),
        tip=Tip(height=first.height, hash=first.hash, time=first.time),
    )
