"""What clients may ask the federation to order: one table of kinds, strictly decoded.

Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, DkgReady
from bft.errors import DecodeError
from bft.ordering.request import REQUEST_BYTES_MAX
from chain.records.contribution import Register, UpdateCommitment, UpdateReveal
from chain.records.conviction import ShowEvidence
from chain.records.evaluation import EvaluationTable, SnapshotVote
from chain.records.membership import (
    ActivationShare,
    Approve,
    CeremonyElapsed,
    Propose,
    ShareProof,
    Withdraw,
)
from chain.records.votes import BlockSeen, Elapsed, SignatureShare

PUBLIC_OPERATIONS: tuple[type[Record], ...] = (ShowEvidence,)
MINER_OPERATIONS: tuple[type[Record], ...] = (Register, UpdateCommitment, UpdateReveal)
REPLICA_OPERATIONS: tuple[type[Record], ...] = (
    DkgKeys,
    DkgDealing,
    DkgComplaint,
    DkgReady,
    EvaluationTable,
    SnapshotVote,
    SignatureShare,
    Elapsed,
    BlockSeen,
)
MEMBERSHIP_OPERATIONS: tuple[type[Record], ...] = (
    Propose,
    Approve,
    Withdraw,
    CeremonyElapsed,
    ShareProof,
    ActivationShare,
)
_KINDS = {
    kind.TAG.encode(): kind
    for kind in (
        *(*PUBLIC_OPERATIONS, *MINER_OPERATIONS, *REPLICA_OPERATIONS, *MEMBERSHIP_OPERATIONS),
    )
}


class Operation(Record):
    """One operation with its tag."""

    tag: Annotated[bytes, Meta(min_length=1, max_length=64)]
    body: bytes


def encode_operation(record: Record) -> bytes:
    """The bytes that stand in a request."""
    return encode(Operation(tag=record.TAG.encode(), body=encode(record)))


def decode_operation(data: bytes) -> Record:
    """The operation in a request.  Raises DecodeError: malformed, or of no known kind."""
    operation = decode(Operation, data, bytes_max=REQUEST_BYTES_MAX)
    kind = _KINDS.get(operation.tag)
    if kind is None:
        raise DecodeError(f"unknown operation {operation.tag!r}")
    return decode(kind, operation.body, bytes_max=REQUEST_BYTES_MAX)
