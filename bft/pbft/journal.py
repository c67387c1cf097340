"""What a replica must remember over a crash, as journal records.

Merging takes maxima, never the last record, so that records may be written again in any order.
Source: docs/CONSENSUS.md, "Persistence".  Pure.
"""

from dataclasses import dataclass, field

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U8, U63, Bytes32
from bft.crypto.merkle import leaf_hash
from bft.errors import ConfigError, DecodeError
from bft.membership import Membership
from bft.ordering.proof import QuorumProof
from bft.pbft.messages import (
    Checkpoint,
    NewView,
    PreparedProof,
    PrePrepare,
    StableProof,
    Verified,
    ViewChange,
    read_own,
)


class Accepted(Record):
    """A PRE-PREPARE that this replica made or prepared, with its batch."""

    envelope: bytes
    batch: bytes


class Prepared(Record):
    """A prepared proof, before the COMMIT that it permits."""

    proof: PreparedProof


class Left(Record):
    """This replica's VIEW-CHANGE: it votes in no lower view any more."""

    envelope: bytes


class Entered(Record):
    """The NEW-VIEW that was installed (and, at its primary, made)."""

    envelope: bytes


class Reached(Record):
    """This replica's own CHECKPOINT."""

    envelope: bytes


class Stabilised(Record):
    """The low watermark."""

    proof: StableProof


class Delivered(Record):
    """A decision that was handed to the application."""

    sequence: U63
    digest: Bytes32
    chain: Bytes32  # through this sequence
    proof: tuple[QuorumProof, ...]  # empty when it came from history, which others keep


class Targeted(Record):
    """The stable state that this replica is fetching: proof, and leaf hashes of the chunks."""

    proof: StableProof
    hashes: tuple[Bytes32, ...]


class Fetched(Record):
    """One verified chunk of a state that is being fetched."""

    chunk: bytes


class Forgot(Record):
    """This replica saw what it had said and did not know it: it never votes again."""

    reason: bytes  # UTF-8


class Entry(Record):
    """One journal record: its kind and body."""

    kind: U8
    body: bytes


_KINDS: tuple[type[Record], ...] = (
    Accepted,
    Prepared,
    Left,
    Entered,
    Reached,
    Stabilised,
    Delivered,
    Targeted,
    Fetched,
    Forgot,
)


def encode_entry(record: Record) -> bytes:
    """The bytes of one `Persist`."""
    return encode(Entry(kind=_KINDS.index(type(record)), body=encode(record)))


def decode_entry(data: bytes) -> Record:
    """Raises DecodeError: not a journal record of this version."""
    entry = decode(Entry, data)
    if entry.kind >= len(_KINDS):
        raise DecodeError(f"journal record of kind {entry.kind}; below {len(_KINDS)} expected")
    return decode(_KINDS[entry.kind], entry.body)


@dataclass(slots=True)
class Memory:
    """The journal's content, merged.  Each item stands with its first lsn."""

    last_lsn: int = 0
    stable: tuple[StableProof, int] | None = None
    new_view: tuple[Verified, int] | None = None
    view_change: tuple[Verified, int] | None = None
    headers: dict[int, tuple[Verified, int]] = field(default_factory=dict)
    bodies: dict[int, list[bytes]] = field(default_factory=dict)
    prepared: dict[int, tuple[PreparedProof, int]] = field(default_factory=dict)
    checkpoints: dict[int, tuple[Verified, int]] = field(default_factory=dict)
    delivered: dict[int, tuple[Delivered, int]] = field(default_factory=dict)
    first_lsn: dict[int, int] = field(default_factory=dict)  # by sequence
    targeted: tuple[Targeted, int] | None = None
    chunks: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)  # by leaf hash


def _view(verified: Verified) -> int:
    assert isinstance(verified.message, PrePrepare | NewView | ViewChange)
    return verified.message.view


def _newer(known: tuple[Verified, int] | None, found: Verified, lsn: int) -> tuple[Verified, int]:
    """Of two, the one of the higher view; of two copies, the later, which outlives pruning."""
    return (found, lsn) if known is None or _view(found) >= _view(known[0]) else known


def recall(records: tuple[tuple[int, bytes], ...], membership: Membership) -> Memory:
    """What the journal says.

    Raises:
        ConfigError: a record is damaged or the lsns have a hole: this replica has forgotten
            promises and must not vote under its old key.
    """
    memory = Memory()
    for lsn, data in records:
        if memory.last_lsn and lsn != memory.last_lsn + 1:
            raise ConfigError(f"journal record {lsn} follows {memory.last_lsn}: some are missing")
        memory.last_lsn = lsn
        try:
            _merge(memory, lsn, decode_entry(data), membership)
        except DecodeError as error:
            raise ConfigError(f"journal record {lsn} is damaged: {error}") from None
    return memory


def _merge(memory: Memory, lsn: int, record: Record, membership: Membership) -> None:
    if isinstance(record, Accepted):
        header = read_own(record.envelope, membership)
        assert isinstance(header.message, PrePrepare)
        sequence = header.message.sequence
        memory.headers[sequence] = _newer(memory.headers.get(sequence), header, lsn)
        memory.bodies.setdefault(sequence, []).append(record.batch)
        memory.first_lsn.setdefault(sequence, lsn)
    elif isinstance(record, Prepared):
        proof = record.proof
        known = memory.prepared.get(proof.sequence)
        if known is None or known[0].view < proof.view:
            memory.prepared[proof.sequence] = (proof, lsn)
        memory.first_lsn.setdefault(proof.sequence, lsn)
    elif isinstance(record, Left):
        left = read_own(record.envelope, membership)
        memory.view_change = _newer(memory.view_change, left, lsn)
    elif isinstance(record, Entered):
        entered = read_own(record.envelope, membership)
        memory.new_view = _newer(memory.new_view, entered, lsn)
    elif isinstance(record, Reached):
        reached = read_own(record.envelope, membership)
        assert isinstance(reached.message, Checkpoint)
        memory.checkpoints[reached.message.sequence] = (reached, lsn)
    elif isinstance(record, Stabilised):
        if memory.stable is None or memory.stable[0].sequence <= record.proof.sequence:
            memory.stable = (record.proof, lsn)
    elif isinstance(record, Delivered):
        memory.delivered[record.sequence] = (record, lsn)
        memory.first_lsn.setdefault(record.sequence, lsn)
    elif isinstance(record, Targeted):
        known_target = memory.targeted
        if known_target is None or known_target[0].proof.sequence <= record.proof.sequence:
            memory.targeted = (record, lsn)
    elif isinstance(record, Fetched):
        memory.chunks[leaf_hash(record.chunk)] = (record.chunk, lsn)
    elif isinstance(record, Forgot):
        raise ConfigError(record.reason.decode("utf-8", "replace"))
