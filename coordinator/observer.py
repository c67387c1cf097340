"""The heart of an observer: follows what the members decided.

A decided batch comes with the signatures of a strong quorum, so it does not matter who hands it
over.  What is executed here is what the members execute; the log that follows is theirs.

An observer says nothing but what a change of members asks of those who are to join, and that only
if it has custody of secrets; one that has forgotten its promises has none.
Pure.
"""

from dataclasses import dataclass

from bft.codec.canonical import Record, decode
from bft.codec.envelope import Sign
from bft.dkg.secrets import Secrets
from bft.errors import DecodeError
from bft.membership import Membership
from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
from bft.ordering.request import seal_request
from chain.records.operations import encode_operation
from chain.records.score_log import LogEntry, Ordered, decode_leaf
from coordinator import custody
from coordinator.application import Application
from coordinator.custody import Custody
from coordinator.cycle.state import Rules, State
from coordinator.effects import Announce, Append, Effect, SaveState
from coordinator.refill import LogGap, Refill
from coordinator.replica import RESUBMIT_MS


@dataclass(frozen=True, slots=True)
class Say:
    """Have a member order this signed request."""

    request: bytes


@dataclass(slots=True)
class Voice:
    """With what an observer speaks that may join."""

    key: bytes  # its identity key, 33 bytes
    sign: Sign
    custody: Custody
    cseq: int = 0


class Observer:
    """A replica without a vote, without clock, disk or socket."""

    def __init__(
        self,
        application: Application,
        gap: LogGap | None = None,
        voice: "Voice | None" = None,
    ) -> None:
        """Go on from what was durable.

        Args:
            voice: what this observer may say; nothing without it.
            gap: what a state transfer left out of the log, while this replica was a member.

        Raises:
            DecodeError: `gap.base` is damaged.
        """
        self._application, self._voice = application, voice
        self._said: dict[custody.Duty, int] = {}  # when it was last said
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

    def kept(self, secrets: Secrets) -> None:
        """The driver has made these durable."""
        assert self._voice is not None
        self._voice.custody.kept(secrets)

    def owed(self, now_ms: int, wall_ms: int) -> list[Effect | Say]:
        """What this observer has to draw, keep or say now, if it is to join."""
        if self._voice is None or self._refill is not None:
            return []
        state, held = self.state, self._voice.custody
        wanted = held.wanted(state)
        effects: list[Effect | Say] = [] if wanted is None else [wanted]
        owed = held.duties(state)
        self._said = {duty: at for duty, at in self._said.items() if duty in owed}
        for duty in owed:
            last = self._said.get(duty)
            if last is not None and now_ms - last < RESUBMIT_MS:
                continue
            for operation in held.fulfil(duty, state):
                self._said[duty] = now_ms
                effects.append(Say(self._request(self._voice, operation, wall_ms)))
        return effects

    def _request(self, voice: "Voice", operation: Record, wall_ms: int) -> bytes:
        high = self._application.clients.high(voice.key)
        voice.cseq = max(voice.cseq, high, wall_ms) + 1
        encoded = encode_operation(operation)
        return seal_request(self.rules.chain_id, voice.key, voice.cseq, encoded, voice.sign)

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
