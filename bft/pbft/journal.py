"""What a replica must remember over a crash, as journal records.

Merging takes maxima, never the last record, so that records may be written again in any order.
Source: docs/CONSENSUS.md, "Persistence".  Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U8, U32, U63, Bytes32
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


class Began(Record):
    """This replica's epoch: records before `opened` belong to earlier ones and count no more."""

    epoch: U32
    first: U63  # the last sequence of the epoch before
    opened: U63  # lsn of the first such record; it is written again, so that older ones can go
    proof: Annotated[tuple[StableProof, ...], Meta(max_length=1)]  # of `first`, if it was a member


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
    Began,
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
    began: tuple[Began, int] | None = None
    ended: StableProof | None = None  # of the epoch before, at its last sequence
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


Lines = Sequence[tuple[int, bytes]]
"""Journal records with their lsns, ascending."""


def recall(records: Lines, membership: Membership, first: int = 0) -> Memory:
    """What the journal says of the membership's epoch, whose first batch follows `first`.

    Raises:
        ConfigError: a record is damaged or the lsns have a hole: this replica has forgotten
            promises and must not vote under its old key.  Or it knows a later epoch.
    """
    memory = Memory()
    found = read(records)
    memory.last_lsn = found[-1][0] if found else 0
    opened = 0 if membership.epoch == 0 else memory.last_lsn + 1
    for _, record in found:
        if isinstance(record, Began):
            if record.epoch > membership.epoch:
                raise ConfigError(f"the journal is one of epoch {record.epoch}, a later one")
            if record.epoch == membership.epoch:
                opened = record.opened
    for lsn, record in found:
        if lsn >= opened:
            try:
                _merge(memory, lsn, record, membership)
            except DecodeError as error:
                raise ConfigError(f"journal record {lsn} is damaged: {error}") from None
        elif isinstance(record, Stabilised) and record.proof.sequence == first:
            memory.ended = record.proof
    return memory


def read(records: Lines) -> list[tuple[int, Record]]:
    """All records.  Raises ConfigError: one is damaged, or some are missing."""
    found: list[tuple[int, Record]] = []
    for lsn, data in records:
        if found and lsn != found[-1][0] + 1:
            raise ConfigError(f"journal record {lsn} follows {found[-1][0]}: some are missing")
        try:
            found.append((lsn, decode_entry(data)))
        except DecodeError as error:
            raise ConfigError(f"journal record {lsn} is damaged: {error}") from None
    return found


def has_ended(records: Lines, last: int) -> bool:
    """Whether the epoch that ends with `last` is over for this replica.

    Until the proof of its last state is here, this replica still belongs to it: others may need
    its vote for that state.

    Raises:
        ConfigError: see `read`.
    """
    return any(
        (isinstance(record, Stabilised) and record.proof.sequence >= last)
        or (isinstance(record, Began) and record.first >= last)
        for _, record in read(records)
    )


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
    elif isinstance(record, Began):
        memory.began, memory.ended = (record, lsn), next(iter(record.proof), None)
    elif isinstance(record, Forgot):
        raise ConfigError(record.reason.decode("utf-8", "replace"))
