"""The one door through which messages of other replicas come in, and how our own are sealed.

Every message on a link is a `Frame`: a signed envelope, and beside it an attachment that the
signature does not cover (a batch, a request, pieces of history).  What an attachment is worth
follows from digests and quorum proofs alone.
Source: Castro & Liskov (OSDI 1999) section 4, signature variant.  Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bft.codec.canonical import RECORD_BYTES_MAX, Record, decode, encode
from bft.codec.envelope import Envelope, Sign, pre_authentication_encoding
from bft.crypto.identity import verify
from bft.errors import BadSignature, DecodeError
from bft.membership import Membership
from bft.ordering.batch import BATCH_BYTES_MAX
from bft.ordering.proof import Commit as Commit
from bft.ordering.request import REQUEST_BYTES_MAX
from bft.pbft.records import CHUNK_BYTES as CHUNK_BYTES
from bft.pbft.records import CHUNKS_MAX as CHUNKS_MAX
from bft.pbft.records import FORWARDED_MAX as FORWARDED_MAX
from bft.pbft.records import HISTORY_ENTRIES_MAX as HISTORY_ENTRIES_MAX
from bft.pbft.records import REPLICAS_MAX as REPLICAS_MAX
from bft.pbft.records import STATUS_SLOTS_MAX as STATUS_SLOTS_MAX
from bft.pbft.records import WINDOW_MAX as WINDOW_MAX
from bft.pbft.records import BatchBody as BatchBody
from bft.pbft.records import Checkpoint as Checkpoint
from bft.pbft.records import Decision as Decision
from bft.pbft.records import FetchBatch as FetchBatch
from bft.pbft.records import FetchChunk as FetchChunk
from bft.pbft.records import FetchHistory as FetchHistory
from bft.pbft.records import FetchState as FetchState
from bft.pbft.records import ForwardedRequests as ForwardedRequests
from bft.pbft.records import History as History
from bft.pbft.records import HistoryEntry as HistoryEntry
from bft.pbft.records import NewView as NewView
from bft.pbft.records import Prepare as Prepare
from bft.pbft.records import PreparedProof as PreparedProof
from bft.pbft.records import PrePrepare as PrePrepare
from bft.pbft.records import Proposal as Proposal
from bft.pbft.records import RequestBundle as RequestBundle
from bft.pbft.records import SlotStatus as SlotStatus
from bft.pbft.records import Stable as Stable
from bft.pbft.records import StableProof as StableProof
from bft.pbft.records import StateChunk as StateChunk
from bft.pbft.records import StateManifest as StateManifest
from bft.pbft.records import Status as Status
from bft.pbft.records import ViewChange as ViewChange

VOTE_BYTES_MAX = 512
HISTORY_BYTES_MAX = 1024 * 1024  # a History stops growing here; one entry always fits
FORWARDED_BYTES_MAX = 1024 * 1024  # as do ForwardedRequests; one request always fits


class Frame(Record):
    """One message on a link."""

    envelope: bytes
    attachment: bytes


Message = (
    PrePrepare
    | Prepare
    | Commit
    | Checkpoint
    | ViewChange
    | NewView
    | Status
    | Decision
    | Stable
    | FetchBatch
    | BatchBody
    | FetchHistory
    | History
    | FetchState
    | StateManifest
    | FetchChunk
    | StateChunk
    | ForwardedRequests
)


@dataclass(frozen=True, slots=True)
class Verified:
    """A message whose signature stands and whose sender is the member that it names."""

    sender: int
    message: Message
    envelope: bytes
    signature: bytes  # 64 bytes, the one in the envelope
    attachment: bytes = b""

    @property
    def frame(self) -> bytes:
        """The bytes that travel; the same each time it is sent."""
        return encode(Frame(envelope=self.envelope, attachment=self.attachment))


def view_change_bytes_max(membership: Membership) -> int:
    """Size of a VIEW-CHANGE envelope with a full window of prepared proofs."""
    return 4096 + WINDOW_MAX * (128 + membership.strong * 80)


def new_view_bytes_max(membership: Membership) -> int:
    """Size of a NEW-VIEW envelope over a strong quorum of full VIEW-CHANGEs."""
    each = view_change_bytes_max(membership)
    return min(RECORD_BYTES_MAX, 4096 + WINDOW_MAX * 128 + membership.strong * each)


def _vote(_: Membership) -> int:
    return VOTE_BYTES_MAX


def _proof(membership: Membership) -> int:
    return VOTE_BYTES_MAX + membership.n * 80


def _status(_: Membership) -> int:
    return VOTE_BYTES_MAX + STATUS_SLOTS_MAX * 32


def _manifest(membership: Membership) -> int:
    return _proof(membership) + CHUNKS_MAX * 40


_HISTORY_ATTACHMENT_MAX = HISTORY_BYTES_MAX + BATCH_BYTES_MAX + REPLICAS_MAX * 80 + 1024
_REQUESTS_ATTACHMENT_MAX = FORWARDED_BYTES_MAX + REQUEST_BYTES_MAX + 1024 + FORWARDED_MAX * 8

_KINDS: dict[bytes, tuple[type[Message], Callable[[Membership], int], int]] = {
    kind.TAG.encode(): (kind, envelope_max, attachment_max)
    for kind, envelope_max, attachment_max in (
        (PrePrepare, _vote, BATCH_BYTES_MAX),
        (Prepare, _vote, 0),
        (Commit, _vote, 0),
        (Checkpoint, _vote, 0),
        (ViewChange, view_change_bytes_max, 0),
        (NewView, new_view_bytes_max, 0),
        (Status, _status, 0),
        (Decision, _proof, BATCH_BYTES_MAX),
        (Stable, _proof, 0),
        (FetchBatch, _vote, 0),
        (BatchBody, _vote, BATCH_BYTES_MAX),
        (FetchHistory, _vote, 0),
        (History, _vote, _HISTORY_ATTACHMENT_MAX),
        (FetchState, _vote, 0),
        (StateManifest, _manifest, 0),
        (FetchChunk, _vote, 0),
        (StateChunk, _vote, CHUNK_BYTES),
        (ForwardedRequests, _vote, _REQUESTS_ATTACHMENT_MAX),
    )
}
FRAME_BYTES_MAX = RECORD_BYTES_MAX
"""No frame is longer; links refuse longer ones before they read them."""


def open_message(data: bytes, membership: Membership) -> Verified:
    """The message in a frame: sizes, tag, member and signature checked, then decoded.

    Certificates inside are not yet checked; whoever uses them does so.

    Raises:
        DecodeError: malformed, too long for its type, of an unknown type, from a stranger, for
            another chain or epoch, or naming another replica than its signer.
        BadSignature: the signature does not stand.
    """
    found = open_news(data, membership, lambda message: False)
    assert found is not None
    return found


def open_news(
    data: bytes, membership: Membership, needless: Callable[[Message], bool]
) -> Verified | None:
    """As `open_message`; None for a message that is `needless`, whose signature is not checked.

    `needless` sees what nobody has proven, so from its answer nothing may follow but that the
    message is dropped.
    """
    frame = decode(Frame, data, bytes_max=FRAME_BYTES_MAX)
    envelope = decode(Envelope, frame.envelope)
    found = _decode_envelope(frame.envelope, envelope, membership)
    attachment_max = _KINDS[envelope.tag][2]
    if len(frame.attachment) > attachment_max:
        raise DecodeError(
            f"{len(frame.attachment)} bytes are attached to {found.message.TAG}; "
            f"at most {attachment_max} allowed"
        )
    if needless(found.message):
        return None
    signed = pre_authentication_encoding(envelope.tag, envelope.body)
    verify(envelope.signer, envelope.signature, signed)
    return replace(found, attachment=frame.attachment) if frame.attachment else found


def claimed_epoch(data: bytes) -> int | None:
    """The epoch that a frame says it belongs to: a hint, proven by nothing.  None: no frame."""
    try:
        envelope = decode(Envelope, decode(Frame, data, bytes_max=FRAME_BYTES_MAX).envelope)
        known = _KINDS.get(envelope.tag)
        return None if known is None else decode(known[0], envelope.body).epoch
    except DecodeError:
        return None


def open_signed(data: bytes, membership: Membership) -> Verified:
    """The message in an envelope without frame, checked as `open_message` does.

    Raises:
        DecodeError, BadSignature: see `open_message`.
    """
    envelope = decode(Envelope, data)
    verified = _decode_envelope(data, envelope, membership)
    signed = pre_authentication_encoding(envelope.tag, envelope.body)
    verify(envelope.signer, envelope.signature, signed)
    return verified


def read_own(data: bytes, membership: Membership) -> Verified:
    """As `open_signed`, without the signature check: for bytes from this replica's own journal."""
    return _decode_envelope(data, decode(Envelope, data), membership)


def _decode_envelope(data: bytes, envelope: Envelope, membership: Membership) -> Verified:
    known = _KINDS.get(envelope.tag)
    if known is None:
        raise DecodeError(f"tag {envelope.tag!r} is no message between replicas")
    kind, envelope_max, _ = known
    if len(data) > envelope_max(membership):
        raise DecodeError(
            f"{len(data)} bytes came for {kind.TAG}; at most {envelope_max(membership)} allowed"
        )
    sender = membership.index_by_key.get(envelope.signer)
    if sender is None:
        raise BadSignature(f"{envelope.signer.hex()[:16]}... is no member of this federation")
    message: Message = decode(kind, envelope.body)
    if message.chain_id != membership.chain_id or message.epoch != membership.epoch:
        raise DecodeError(f"{kind.TAG} for another chain or epoch")
    if message.replica != sender:
        raise DecodeError(f"{kind.TAG} names replica {message.replica}; {sender} signed it")
    return Verified(sender=sender, message=message, envelope=data, signature=envelope.signature)


def sign_message(
    message: Message, membership: Membership, sign: Sign, attachment: bytes = b""
) -> Verified:
    """Our own message, sealed under our member key."""
    signed = pre_authentication_encoding(message.TAG.encode(), encode(message))
    return with_signature(message, membership, sign(signed), attachment)


def with_signature(
    message: Message, membership: Membership, signature: bytes, attachment: bytes = b""
) -> Verified:
    """A message whose signature is known to stand, put back into its envelope."""
    envelope = Envelope(
        tag=message.TAG.encode(),
        body=encode(message),
        signer=membership.keys[message.replica],
        signature=signature,
    )
    return Verified(
        sender=message.replica,
        message=message,
        envelope=encode(envelope),
        signature=signature,
        attachment=attachment,
    )
