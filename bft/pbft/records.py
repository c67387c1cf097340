"""The records that replicas sign and send: PBFT's own, and those that help whoever fell behind.

Source: Castro & Liskov (OSDI 1999) sections 4.2 to 4.4, signature variant.  Pure: data only.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U8, U16, U32, U63, Bytes32, IdentitySignature
from bft.membership import REPLICAS_MAX as REPLICAS_MAX
from bft.ordering.proof import CommitSignature, QuorumProof

WINDOW_MAX = 1024  # prepared proofs in one VIEW-CHANGE
STATUS_SLOTS_MAX = 64
HISTORY_ENTRIES_MAX = 128  # their proofs are checked in one step
FORWARDED_MAX = 256  # requests in one ForwardedRequests
CHUNK_BYTES = 256 * 1024  # of an application's state; the last chunk may be shorter
CHUNKS_MAX = 64


class PrePrepare(Record):
    """The primary of `view` assigns `sequence` to the batch with `digest`.  Attached: the batch."""

    TAG = "pbft.pre-prepare/1"

    chain_id: Bytes32
    epoch: U32
    view: U63
    sequence: U63
    digest: Bytes32
    replica: U16


class Prepare(Record):
    """`replica` has accepted the primary's PRE-PREPARE for (view, sequence, digest)."""

    TAG = "pbft.prepare/1"

    chain_id: Bytes32
    epoch: U32
    view: U63
    sequence: U63
    digest: Bytes32
    replica: U16


class Checkpoint(Record):
    """`replica` has executed through `sequence` and came to this state.  PBFT section 4.3."""

    TAG = "pbft.checkpoint/1"

    chain_id: Bytes32
    epoch: U32
    sequence: U63
    chain: Bytes32  # hash chain over all batch digests through `sequence`
    state_root: Bytes32  # of the application
    last: U63  # the epoch's last sequence, from the batch on that ended it; 0 before
    replica: U16


class PreparedProof(Record):
    """The primary's PRE-PREPARE and strong - 1 PREPAREs of others: no other digest can have both.

    The signed bodies are rebuilt from (view, sequence, digest); only signatures travel.
    """

    TAG = "pbft.prepared-proof/1"

    view: U63
    sequence: U63
    digest: Bytes32
    proposal: IdentitySignature
    prepares: Annotated[tuple[CommitSignature, ...], Meta(max_length=REPLICAS_MAX)]  # ascending


class StableProof(Record):
    """A strong quorum of CHECKPOINTs for one (sequence, chain, state root, last)."""

    TAG = "pbft.stable-proof/1"

    sequence: U63
    chain: Bytes32
    state_root: Bytes32
    last: U63  # as in the CHECKPOINTs
    signatures: Annotated[tuple[CommitSignature, ...], Meta(max_length=REPLICAS_MAX)]  # ascending


class ViewChange(Record):
    """`replica` has left all views below `view`; what it holds must survive.  PBFT section 4.4."""

    TAG = "pbft.view-change/1"

    chain_id: Bytes32
    epoch: U32
    view: U63
    low: U63  # last stable checkpoint, or the end of the epoch before; 0 is genesis
    stable: Annotated[tuple[StableProof, ...], Meta(max_length=1)]  # empty iff none in this epoch
    prepared: Annotated[tuple[PreparedProof, ...], Meta(max_length=WINDOW_MAX)]  # by sequence
    replica: U16


class Proposal(Record):
    """A PRE-PREPARE of the new view, without what the NEW-VIEW already says."""

    sequence: U63
    digest: Bytes32
    signature: IdentitySignature  # of the new primary under the PrePrepare


class NewView(Record):
    """The primary of `view` starts it from a strong quorum of VIEW-CHANGEs."""

    TAG = "pbft.new-view/1"

    chain_id: Bytes32
    epoch: U32
    view: U63
    view_changes: Annotated[tuple[bytes, ...], Meta(max_length=REPLICAS_MAX)]  # envelopes
    proposals: Annotated[tuple[Proposal, ...], Meta(max_length=WINDOW_MAX)]
    replica: U16


class SlotStatus(Record):
    """What a replica holds for one undecided sequence number, in its current view."""

    sequence: U63
    body: U8  # 1: it holds the proposed batch
    prepares: U63  # bit i: holds the vote of replica i
    commits: U63


class Status(Record):
    """Sign of life, and a request for what is missing.  Not relevant for safety."""

    TAG = "pbft.status/1"

    chain_id: Bytes32
    epoch: U32
    view: U63
    pending_view: U63
    wished_view: U63  # where it would rather be; binds it to nothing
    low: U63
    decided: U63  # all through here are decided
    helper: U16  # the one replica that is asked for large answers
    slots: Annotated[tuple[SlotStatus, ...], Meta(max_length=STATUS_SLOTS_MAX)]
    replica: U16


class Decision(Record):
    """A decided batch that convinces by itself.  Attached: the batch, or nothing."""

    TAG = "pbft.decision/1"

    chain_id: Bytes32
    epoch: U32
    sequence: U63
    digest: Bytes32
    proof: QuorumProof
    replica: U16


class Stable(Record):
    """A stable checkpoint that convinces by itself."""

    TAG = "pbft.stable/1"

    chain_id: Bytes32
    epoch: U32
    proof: StableProof
    replica: U16


class FetchBatch(Record):
    """`replica` lacks the batch that was proposed at `sequence`."""

    TAG = "pbft.fetch-batch/1"

    chain_id: Bytes32
    epoch: U32
    sequence: U63
    digest: Bytes32
    replica: U16


class BatchBody(Record):
    """Answer to FetchBatch.  Attached: the batch."""

    TAG = "pbft.batch-body/1"

    chain_id: Bytes32
    epoch: U32
    sequence: U63
    digest: Bytes32
    replica: U16


class FetchHistory(Record):
    """`replica` asks for decided batches from `first` through `last`."""

    TAG = "pbft.fetch-history/1"

    chain_id: Bytes32
    epoch: U32
    first: U63
    last: U63
    replica: U16


class History(Record):
    """Answer to FetchHistory.  Attached: consecutive `HistoryEntry`s, encoded as one tuple."""

    TAG = "pbft.history/1"

    chain_id: Bytes32
    epoch: U32
    first: U63
    replica: U16


class HistoryEntry(Record):
    """One decided batch with its encoded quorum proof."""

    sequence: U63
    batch: bytes
    proof: bytes


class FetchState(Record):
    """`replica` asks for the manifest of a stable state after `sequence`, or a later one."""

    TAG = "pbft.fetch-state/1"

    chain_id: Bytes32
    epoch: U32
    sequence: U63
    replica: U16


class StateManifest(Record):
    """A stable state in pieces.  The Merkle root over `hashes` is the proof's state root."""

    TAG = "pbft.state-manifest/1"

    chain_id: Bytes32
    epoch: U32
    proof: StableProof
    hashes: Annotated[tuple[Bytes32, ...], Meta(max_length=CHUNKS_MAX)]  # leaf hashes, in order
    replica: U16


class FetchChunk(Record):
    """`replica` asks for one chunk of the state after `sequence`.

    Who has not got that state any more answers with the manifest of the one it has.
    """

    TAG = "pbft.fetch-chunk/1"

    chain_id: Bytes32
    epoch: U32
    sequence: U63
    index: U16
    replica: U16


class StateChunk(Record):
    """Answer to FetchChunk.  Attached: the chunk."""

    TAG = "pbft.state-chunk/1"

    chain_id: Bytes32
    epoch: U32
    sequence: U63
    index: U16
    replica: U16


class ForwardedRequests(Record):
    """`replica` passes on clients' signed requests.  Attached: a `RequestBundle`."""

    TAG = "pbft.forwarded-requests/1"

    chain_id: Bytes32
    epoch: U32
    digest: Bytes32  # SHA-256 of the attachment
    replica: U16


class RequestBundle(Record):
    """Clients' signed requests, in the order in which they came."""

    requests: Annotated[tuple[bytes, ...], Meta(max_length=FORWARDED_MAX)]
