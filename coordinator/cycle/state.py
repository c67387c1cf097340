"""What the replicas agree on between two commands: one frozen, canonically encoded record.

Pure.  Dictionaries stand in key order (`State.set` and `State.settled` see to it), and so they are
encoded.
"""

from functools import lru_cache
from typing import Annotated

from msgspec import Meta, field
from msgspec.structs import replace

from bft.codec.canonical import Record
from bft.codec.types import U8, U16, U32, U63, Bytes32, GroupSignature, IdentityKey
from bft.crypto.merkle import Frontier
from bft.dkg.transcript import Transcript, open_session
from bft.membership import Membership
from chain.params import Params
from chain.records.contribution import Profile, Standing, WorkUnit
from chain.records.evaluation import EvaluationTable, References, SnapshotVote
from chain.records.federation import FederationKey, Genesis, MemberRecord
from chain.records.job import Job
from chain.records.membership import Members, Propose
from chain.records.phase import Phase as Phase
from chain.records.score_log import Aggregated, Drawn, Scored
from chain.rules.scoring import initial_references
from chain.validation import genesis_view

EPOCHS_CACHED = 8


class Rules:
    """What never changes while the machine runs.  Who the replicas are does: `State.membership`."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.chain_id: bytes = genesis.chain_id
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


class Change(Record, kw_only=True):
    """A proposed list of members, from its proposal to its activation.

    Indices are those of the epoch that runs, but while new members prove their shares: then
    `shares` and `faulty` have those of the new list.
    """

    proposal: Propose
    proposer: IdentityKey
    cycle: U63  # in which it was proposed
    approvals: tuple[Replica, ...]  # ascending
    transcript: Transcript | None = None  # the resharing, once a strong quorum approved
    elapsed: tuple[Replica, ...] = ()  # whose clocks say that the transcript's phase had its time
    proof: GroupSignature | None = None  # of enough new members, with their new key shares
    shares: dict[Replica, GroupSignature] = field(default_factory=dict)  # of what is signed next
    faulty: tuple[Replica, ...] = ()  # whose share of it was bad

    def set(self, **changes: object) -> "Change":
        """With these fields changed, dictionaries in key order."""
        return replace(self, **{name: _in_key_order(changes[name]) for name in changes})


class Successor(Record, kw_only=True):
    """The next epoch, activated; it begins after `boundary`."""

    federation_key: FederationKey
    transcript: Transcript
    boundary: U63  # the last sequence of the epoch that runs


class State(Record, kw_only=True):
    """The whole of it."""

    sequence: U63 = 0  # of the last executed batch
    agreed_ms: U63 = 0  # Unix time, monotone
    log: LogState

    phase: U8 = Phase.KEYGEN
    cycle: U63 = 0
    attempt: U8 = 0  # how often the phase was extended; in BLOCK: the rank
    elapsed: tuple[Replica, ...] = ()  # replicas whose clocks say that the phase had its time

    epoch: U32 = 0
    began: U63 = 0  # the last sequence before this epoch
    former: tuple[IdentityKey, ...] = ()  # the replicas of the epoch before, by index
    members: Members  # of this epoch
    transcript: Transcript  # that made this epoch's sharing of the federation key
    federation_key: FederationKey | None = None
    change: Change | None = None  # at most one is open
    successor: Successor | None = None
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
    standings: dict[IdentityKey, Standing] = field(default_factory=dict)  # what miners have proven
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

    @property
    def membership(self) -> Membership:
        """The replicas of the epoch that runs."""
        return membership_of(self.transcript.chain_id, self.epoch, self.members)

    @property
    def last(self) -> int | None:
        """The last sequence of the epoch that runs, once it is known."""
        return None if self.successor is None else self.successor.boundary

    def set(self, **changes: object) -> "State":
        """With these fields changed, dictionaries in key order: one state has one encoding.

        But for those that grow by thousands of entries: `settled` puts them in order.
        """
        ordered = {
            name: value if name in GROWING else _in_key_order(value)
            for name, value in changes.items()
        }
        return replace(self, **ordered)

    def settled(self, before: "State") -> "State":
        """As it stands between two batches, `before` being the last: all is in key order.

        Once a batch, because sorting for each of very many miners would take longer than all the
        rest of their cycle.
        """
        changed = {name: getattr(self, name) for name in GROWING}
        return replace(
            self,
            **{
                name: _in_key_order(value)
                for name, value in changed.items()
                if value is not getattr(before, name)
            },
        )


GROWING = ("registrations", "commitments", "reveals")
"""Fields that have an entry for each miner or unit."""


@lru_cache(maxsize=EPOCHS_CACHED)
def membership_of(chain_id: bytes, epoch: int, members: tuple[MemberRecord, ...]) -> Membership:
    """The replicas of one epoch, as consensus knows them."""
    keys = tuple(member.key for member in members)
    return Membership(chain_id=chain_id, epoch=epoch, keys=keys)


def _in_key_order(value: object) -> object:
    return {key: value[key] for key in sorted(value)} if isinstance(value, dict) else value


def opening_state(rules: Rules) -> State:
    """Before the first batch: key generation is open."""
    membership, first = rules.genesis.membership, genesis_view(rules.genesis)
    return State(
        members=rules.genesis.members,
        log=LogState(size=0, peaks=()),
        transcript=open_session(
            rules.chain_id, membership.epoch, 0, membership.keys, membership.strong
        ),
        randomness=rules.chain_id,
        model=rules.job.genesis_model,
        references=initial_references(rules.params, rules.job),
        tip=Tip(height=first.height, hash=first.hash, time=first.time),
    )
