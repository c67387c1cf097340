"""The message log: one slot for each sequence number between the watermarks.

Source: PBFT (OSDI 1999) section 4.2.  Pure; bounded by window x members x 2 votes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bft.errors import ProtocolViolation
from bft.ordering.batch import NULL_BATCH, NULL_DIGEST
from bft.ordering.proof import QuorumProof
from bft.pbft.messages import Commit, Prepare, PreparedProof, PrePrepare, Verified


@dataclass(frozen=True, slots=True)
class Ballot:
    """One replica's PREPARE or COMMIT, as the log keeps it."""

    view: int
    digest: bytes
    vote: Verified


class Ballots:
    """Votes of one kind for one sequence number: for each replica, that of its highest view."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[int, Ballot] = {}

    def add(self, message: Prepare | Commit, vote: Verified) -> bool:
        """Whether the vote was new and is now kept.

        Raises:
            ProtocolViolation: the replica signed two digests for one (view, sequence).
        """
        known = self._of.get(vote.sender)
        if known is not None:
            if known.view > message.view:
                return False
            if known.view == message.view:
                if known.digest != message.digest:
                    raise ProtocolViolation(
                        f"replica {vote.sender} voted twice at "
                        f"({message.view}, {message.sequence}): {message.TAG}",
                        culprit=vote.sender,
                        evidence=(known.vote.envelope, vote.envelope),
                    )
                return False
        self._of[vote.sender] = Ballot(message.view, message.digest, vote)
        return True

    def matching(self, view: int, digest: bytes) -> dict[int, bytes]:
        """Replica -> signature of the votes for exactly (view, digest)."""
        return {
            replica: self._of[replica].vote.signature
            for replica in sorted(self._of)
            if self._of[replica].view == view and self._of[replica].digest == digest
        }

    def mask(self, view: int) -> int:
        """Bit i is set when the vote of replica i in `view` is here."""
        return sum(1 << replica for replica in self._of if self._of[replica].view == view)


@dataclass(slots=True)
class Slot:
    """All that is known of one sequence number above the low watermark."""

    sequence: int
    since_ms: int  # when the newest thing that matters was learnt
    proposed_ms: int | None = None  # when we proposed here, in this life
    header: Verified | None = None  # PRE-PREPARE of the highest view that proposed here
    accepted: bool = False  # the header is ours to prepare: PREPARE was sent, or it is our own
    rejected: bool = False  # the header's batch is no valid batch
    early: Verified | None = None  # PRE-PREPARE of a view that has not started here
    bodies: dict[bytes, bytes] = field(default_factory=dict)  # batches by digest
    prepares: Ballots = field(default_factory=Ballots)
    commits: Ballots = field(default_factory=Ballots)
    prepared: PreparedProof | None = None  # of the highest view in which this replica prepared
    decided: bytes | None = None  # digest
    proof: QuorumProof | None = None  # of the decision
    own_prepare: tuple[Verified, int] | None = None  # with the lsn that must be durable before it
    own_commit: tuple[Verified, int] | None = None
    header_lsn: int = 0
    first_lsn: int = 0  # of all journal records of this slot; 0 when there is none

    def proposal(self, view: int) -> PrePrepare | None:
        """The header's content if it was made in `view`."""
        if self.header is None:
            return None
        message = self.header.message
        assert isinstance(message, PrePrepare)
        return message if message.view == view else None

    def body(self, digest: bytes) -> bytes | None:
        """The batch with `digest`, if it is here."""
        return NULL_BATCH if digest == NULL_DIGEST else self.bodies.get(digest)

    def wanted(self) -> tuple[bytes, ...]:
        """Digests whose batches this slot must keep, or get."""
        found = [] if self.decided is None else [self.decided]
        if self.header is not None:
            assert isinstance(self.header.message, PrePrepare)
            found.append(self.header.message.digest)
        if self.prepared is not None:
            found.append(self.prepared.digest)
        return tuple(dict.fromkeys(found))

    def tidy(self) -> None:
        """Forget batches that nothing here refers to any more."""
        wanted = self.wanted()
        self.bodies = {d: self.bodies[d] for d in wanted if d in self.bodies}

    def journaled(self, lsn: int) -> None:
        """One more journal record belongs to this slot."""
        self.first_lsn = self.first_lsn or lsn


class Log:
    """Slots of (low, low + window]; nothing outside is kept."""

    def __init__(self, window: int, low: int = 0) -> None:
        self.window = window
        self.low = low
        self.last: int | None = None  # of this epoch, once its end is known: nothing lies beyond
        self._slots: dict[int, Slot] = {}

    @property
    def high(self) -> int:
        """The last sequence number that has a place."""
        high = self.low + self.window
        return high if self.last is None else min(high, self.last)

    def holds(self, sequence: int) -> bool:
        """Whether `sequence` lies between the watermarks."""
        return self.low < sequence <= self.high

    def slot(self, sequence: int, now_ms: int) -> Slot:
        """The slot of a sequence number between the watermarks, made when there is none."""
        assert self.holds(sequence)
        slot = self._slots.get(sequence)
        if slot is None:
            slot = self._slots[sequence] = Slot(sequence=sequence, since_ms=now_ms)
        return slot

    def find(self, sequence: int) -> Slot | None:
        """The slot, if anything was ever put there."""
        return self._slots.get(sequence)

    def __iter__(self) -> Iterator[Slot]:
        """All slots by sequence number."""
        return iter([self._slots[s] for s in sorted(self._slots)])

    def above(self, sequence: int) -> Iterator[Slot]:
        """Slots after `sequence`, in order."""
        return iter([self._slots[s] for s in sorted(self._slots) if s > sequence])

    def advance(self, low: int) -> None:
        """Forget everything through `low`."""
        assert low >= self.low
        self.low = low
        for sequence in sorted(self._slots):
            if sequence <= low:
                del self._slots[sequence]
