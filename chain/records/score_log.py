"""The score log: everything that was ordered, and everything derived from it, leaf after leaf.

A leaf is one record with its tag.  An ordered leaf holds a decided batch; its quorum proof is
stored beside the leaf, because replicas may hold different (all valid) proofs for one batch, while
the log's root must be equal everywhere.  Derived leaves need no proof: an auditor recomputes them.
Pure.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U8, U16, U32, U63, Bytes32, GroupSignature, IdentityKey
from bft.crypto.hashing import sha256
from bft.crypto.merkle import leaf_hash
from bft.errors import DecodeError
from chain.records.certificate import CERTIFICATE_BYTES
from chain.records.contribution import WorkUnit
from chain.records.evaluation import References, ScoreRow
from chain.records.federation import FederationKey

ENTRY_BYTES_MAX = 4 * 1024 * 1024
TREE_ENTRY_BYTES_MAX = 65_535
"""What the tree holds whole; bundles of C2SP tlog-tiles count an entry's bytes in 16 bits."""


class Ordered(Record):
    """The batch decided at `sequence`, with the time that the replicas agreed on."""

    TAG = "log.ordered/1"

    sequence: U63
    agreed_ms: U63  # Unix time; the batch's own, made monotone
    batch: bytes


class KeyActivated(Record):
    """An epoch has its certificate; the federation key has a sharing among its members."""

    TAG = "log.key-activated/1"

    federation_key: FederationKey
    boundary: U63  # last sequence of the epoch before; 0 before the first


class MembersApproved(Record):
    """A strong quorum wants this list of members; resharing begins."""

    TAG = "log.members-approved/1"

    epoch: U32  # that they are to make
    proposal: Bytes32
    approvals: tuple[U16, ...]  # members of the epoch before, ascending


class ResharingFailed(Record):
    """An attempt at resharing came to nothing; another follows, or the proposal is void."""

    TAG = "log.resharing-failed/1"

    epoch: U32
    attempt: U32
    phase: U8  # bft.dkg.messages.Phase
    awaited: tuple[U16, ...]  # who had not spoken; new members, in DEALING old ones


class SharingProven(Record):
    """Enough new members signed with their new key shares; the epoch can only go on to them."""

    TAG = "log.sharing-proven/1"

    epoch: U32
    attempt: U32
    signature: GroupSignature  # over `sharing_message`


class ProposalVoided(Record):
    """A proposed list of members came to nothing; the epoch goes on."""

    TAG = "log.proposal-voided/1"

    epoch: U32
    proposal: Bytes32
    reason: U8  # chain.records.membership.VoidReason


class Assigned(Record):
    """Cycle `cycle` opened: who trains what, from which model."""

    TAG = "log.assigned/1"

    cycle: U63
    seed: Bytes32  # randomness of the beacon before
    base: Bytes32  # model snapshot that the miners start from
    units: tuple[WorkUnit, ...]


class Committed(Record):
    """Training is over; these units have a commitment."""

    TAG = "log.committed/1"

    cycle: U63
    units: tuple[U32, ...]  # ascending


class Revealed(Record):
    """Reveals are over; these units will be measured."""

    TAG = "log.revealed/1"

    cycle: U63
    units: tuple[U32, ...]  # ascending


class BeaconRound(Record):
    """The federation's signature on a beacon round."""

    TAG = "log.beacon/1"

    round: U63
    signature: GroupSignature


class Scored(Record):
    """Medians, scores and tickets of every revealed unit."""

    TAG = "log.scored/1"

    cycle: U63
    evaluators: tuple[U16, ...]  # replicas whose tables were counted, ascending
    references: tuple[References, ...]  # by segment, in force for this cycle
    rows: tuple[ScoreRow, ...]  # by unit, ascending
    tickets_total: U63
    contributions_root: Bytes32
    struck: tuple[IdentityKey, ...]  # miners whose audited unit failed, ascending


class Rank(Record):
    """One place in the draw."""

    miner: IdentityKey
    tickets: U63


class Drawn(Record):
    """The lottery's result: the winner, then the runners-up."""

    TAG = "log.drawn/1"

    cycle: U63
    randomness: Bytes32
    ranks: tuple[Rank, ...]


class Aggregated(Record):
    """The next model, by a strong quorum's votes; its measurements are medians of those votes."""

    TAG = "log.aggregated/2"

    cycle: U63
    digest: Bytes32
    halvings: U8  # of the outer step that was chosen
    loss: U63  # held-out, micro-nats
    correct: U32
    records: U32


class Certified(Record):
    """The certificate of one rank, signed by the federation."""

    TAG = "log.certified/1"

    certificate: Annotated[bytes, Meta(min_length=CERTIFICATE_BYTES, max_length=CERTIFICATE_BYTES)]


class RankVoided(Record):
    """No block of this rank was seen in its time; its certificate is void from here on."""

    TAG = "log.rank-voided/1"

    cycle: U63
    rank: U8


class EvidenceShown(Record):
    """A winner signed two blocks under one certificate: its key is barred for a while."""

    TAG = "log.evidence/1"

    cycle: U63  # of the certificate
    height: U32
    rank: U8
    miner: IdentityKey
    barred_until: U63  # the first cycle in which it may have work again


class BlockFinal(Record):
    """The federation signed the block: no reorganisation below it."""

    TAG = "log.block-final/1"

    cycle: U63
    height: U32
    header: Annotated[bytes, Meta(min_length=80, max_length=80)]
    signature: GroupSignature  # over `finality_message`


class CloseReason(IntEnum):
    """Why a cycle ended."""

    BLOCK = 0  # with a final block
    NO_MINERS = 1
    NO_REVEALS = 2
    NO_QUORUM_OF_TABLES = 3
    NO_TICKETS = 4
    NO_SNAPSHOT = 5
    NO_BLOCK = 6  # every rank was voided


class CycleClosed(Record):
    """The cycle is over; the next opens."""

    TAG = "log.cycle-closed/1"

    cycle: U63
    reason: U8


LogRecord = (
    Ordered
    | KeyActivated
    | MembersApproved
    | ResharingFailed
    | SharingProven
    | ProposalVoided
    | Assigned
    | Committed
    | Revealed
    | BeaconRound
    | Scored
    | Drawn
    | Aggregated
    | Certified
    | RankVoided
    | EvidenceShown
    | BlockFinal
    | CycleClosed
)
_KINDS: dict[bytes, type[Record]] = {kind.TAG.encode(): kind for kind in LogRecord.__args__}


class Leaf(Record):
    """One record with its tag: what the Merkle tree hashes."""

    tag: Annotated[bytes, Meta(min_length=1, max_length=64)]
    body: bytes


class ByDigest(Record):
    """Stands in the tree for a leaf that is longer than TREE_ENTRY_BYTES_MAX."""

    TAG = "log.by-digest/1"

    size: U63  # bytes of the encoded Leaf
    digest: Bytes32  # SHA-256 of it


class LogEntry(Record):
    """A leaf as it is stored and served."""

    index: U63
    leaf: bytes  # encoded Leaf
    proof: bytes  # encoded QuorumProof of an ordered leaf; empty for a derived one


def encode_leaf(record: Record) -> bytes:
    """The leaf's bytes."""
    return encode(Leaf(tag=record.TAG.encode(), body=encode(record)))


def decode_leaf(data: bytes) -> Record:
    """The record in a leaf.  Raises DecodeError: malformed, or of no known kind."""
    leaf = decode(Leaf, data, bytes_max=ENTRY_BYTES_MAX)
    kind = _KINDS.get(leaf.tag)
    if kind is None:
        tag = leaf.tag.decode("ascii", "replace")
        raise DecodeError(f"a record of the kind {tag!r} came, which this release does not know")
    return decode(kind, leaf.body, bytes_max=ENTRY_BYTES_MAX)


def tree_entry(leaf: bytes) -> bytes:
    """What the tree hashes for an encoded Leaf: itself, or its size and digest if it is too long.

    A Leaf that says `log.by-digest/1` itself is of no known kind, so nothing else comes out alike.
    """
    if len(leaf) <= TREE_ENTRY_BYTES_MAX:
        return leaf
    told = ByDigest(size=len(leaf), digest=sha256(leaf))
    return encode(Leaf(tag=ByDigest.TAG.encode(), body=encode(told)))


def entry_hash(leaf: bytes) -> bytes:
    """32 bytes, the RFC 6962 leaf hash of an encoded Leaf's entry in the tree."""
    return leaf_hash(tree_entry(leaf))


def hash_leaf(record: Record) -> bytes:
    """32 bytes, `entry_hash` of the record's leaf."""
    return entry_hash(encode_leaf(record))
