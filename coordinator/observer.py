"""The heart of an observer: follows what the members decided, and says nothing.

A decided batch comes with the signatures of a strong quorum, so it does not matter who hands it
over.  What is executed here is what the members execute; the log that follows is theirs.
Pure.
"""

from bft.codec.canonical import decode
from bft.errors import DecodeError
from bft.membership import Membership
from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
from chain.records.score_log import LogEntry, Ordered, decode_leaf
from coordinator.application import Application
from coordinator.cycle.state import Rules, State
from coordinator.effects import Announce, Append, Effect, SaveState
from coordinator.refill import LogGap, Refill


class Observer:
    """A replica without a vote, without clock, disk or socket."""

    def __init__(
        self,
        application: Application,
        gap: LogGap | None = None,
    ) -> None:
        """Go on from what was durable.

        Args:
            gap: what a state transfer left out of the log, while this replica was a member.

        Raises:
            DecodeError: `gap.base` is damaged.
        """
        self._application = application
        self._refill = None if gap is None else Refill(application.rules, gap)

    @property
    def state(self) -> State:
        """The cycle machine's state."""
        return self._application.state

    @property
    def rules(self) -> Rules:
        """The chain's rules."""
        return self._application.rules

    @property
    def log_missing(self) -> tuple[int, int] | None:
        """Log entries before the newest that are still to come: the first, and the first after."""
        return None if self._refill is None else self._refill.missing

    @property
    def wanted(self) -> int:
        """Index of the log entry that is to come next."""
        return self.state.log.size if self._refill is None else self._refill.missing[0]

    def take(self, entry: LogEntry) -> list[Effect]:
        """One entry of a member's log, in order; what is known already changes nothing.

        Derived entries are not looked at: they follow from the batches.

        Returns:
            What is to be kept in one durable transaction, and what to announce after it.

        Raises:
            DecodeError: malformed, not the next batch, or without a quorum's proof.
            BadSignature: a signature in the proof does not stand.
            Diverged: the end of a gap does not lead to the state that was installed.
        """
        if not entry.proof:
            return []
        ordered = decode_leaf(entry.leaf)
        if not isinstance(ordered, Ordered):
            raise DecodeError(f"entry {entry.index} has a proof and is no ordered batch")
        following = self._following
        if ordered.sequence < following:
            return []
        if ordered.sequence > following:
            raise DecodeError(f"batch {ordered.sequence} came; {following} is next")
        digest = batch_digest(ordered.batch)
        verify_quorum_proof(entry.proof, self._deciding, ordered.sequence, digest)
        if self._refill is not None:
            return self._restore(self._refill, ordered, entry.proof)
        return self._execute(ordered, entry.proof)

    @property
    def _following(self) -> int:
        """Sequence of the batch that is to come next."""
        return self.state.sequence + 1 if self._refill is None else self._refill.sequences[0]

    @property
    def _deciding(self) -> Membership:
        """Who decided that batch: the members of the epoch that runs before it."""
        return (self.state if self._refill is None else self._refill.state).membership

    def _execute(self, ordered: Ordered, proof: bytes) -> list[Effect]:
        applied = self._application.execute(ordered.sequence, ordered.batch)
        effects: list[Effect] = [
            Append(
                sequence=ordered.sequence,
                batch=ordered.batch,
                proof=proof,
                first_index=applied.first_index,
                records=applied.records,
            )
        ]
        if ordered.sequence % self.rules.params.checkpoint_interval == 0:
            effects.append(SaveState(ordered.sequence, self._application.save()))
        derived = [record for record in applied.records if not isinstance(record, Ordered)]
        return effects + [Announce(self.state.agreed_ms, record) for record in derived]

    def _restore(self, refill: Refill, ordered: Ordered, proof: bytes) -> list[Effect]:
        restored = refill.execute(ordered.sequence, ordered.batch, proof)
        if restored.closed:
            self._refill = None
        return [restored]


def decode_page(data: bytes, bytes_max: int) -> tuple[LogEntry, ...]:
    """One page of a log, as it is served.  Raises DecodeError."""
    return decode(tuple[LogEntry, ...], data, bytes_max=bytes_max)
