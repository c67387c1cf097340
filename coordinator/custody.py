"""A replica's secrets of key generation: what they let it say, and when they come and go.

A session's seed is drawn when the session opens, before anything is said in it; the epoch's key
share takes its place once the session's sharing is in force; the key shares of an epoch that is
over go a while after its end.  Everything follows from the replicated state and from what is kept,
so a replica that was restarted knows what to do.

What is said here is said with the replica's identity key: as receiver (a member of the epoch to
come, who may be none yet), as dealer, or as member of the epoch that runs.
Pure: the driver draws and keeps (coordinator/effects.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from bft.codec.canonical import Record
from bft.crypto import bls
from bft.crypto.threshold import KeyShare, sign_share
from bft.dkg import participant
from bft.dkg.messages import Phase as Session
from bft.dkg.messages import Role
from bft.dkg.secrets import Secrets
from bft.dkg.transcript import Transcript
from bft.errors import Refused
from chain.records.membership import ActivationShare, ShareProof
from chain.records.votes import SignatureShare
from coordinator.cycle.phases.membership import Stage, stage
from coordinator.cycle.phases.resharing import signed_message, under_way
from coordinator.cycle.phases.signing import Asked
from coordinator.cycle.state import Phase, Rules, State
from coordinator.effects import DrawSeed, KeepSecrets

SHARES_KEPT_CHECKPOINTS = 2
"""The key shares of an epoch that is over are kept for so many checkpoints of the next one."""


@dataclass(frozen=True, slots=True)
class Speak:
    """Say what a resharing waits for: one-time keys, a dealing, complaints, "ready"."""

    session: bytes
    phase: int
    complaints: int  # ordered so far


@dataclass(frozen=True, slots=True)
class Prove:
    """Sign with the key share of the epoch to come."""

    session: bytes


@dataclass(frozen=True, slots=True)
class Certify:
    """Sign the next epoch's certificate with the key share in force."""

    session: bytes


Duty = Speak | Prove | Certify


SignShare = Callable[[KeyShare, int, int, int, bytes], bytes | None]
"""(key share, purpose, subject, rank, message) -> signature share; None: not by this process."""


def unguarded(
    share: KeyShare, purpose: int, subject: int, rank: int, message: bytes
) -> bytes | None:
    """Signs whatever it is asked for: where no other process can have the key."""
    return sign_share(share, message)


class Custody:
    """The secrets of one replica, and what follows from them."""

    def __init__(
        self, rules: Rules, key: bytes, secrets: Secrets, sign_share: SignShare = unguarded
    ) -> None:
        """Args:
        key: the replica's identity key, 33 bytes.
        secrets: what is kept.
        sign_share: what the signing guard lets it sign for the cycles.
        """
        self._rules, self._key, self._sign_share = rules, key, sign_share
        self._secrets = secrets
        self._asked: DrawSeed | KeepSecrets | None = None
        self._looked: tuple[int, ...] = ()
        self._state: State | None = None
        self._computed: dict[bytes, KeyShare | None] = {}  # by session: the newest two

    # What comes and goes.

    def kept(self, secrets: Secrets) -> None:
        """The driver has made these durable."""
        self._secrets, self._asked, self._looked = secrets, None, ()
        self._computed.clear()

    def wanted(self, state: State) -> DrawSeed | KeepSecrets | None:
        """What the driver has to do next, told once."""
        if self._asked is not None:
            return None
        interval = self._rules.params.checkpoint_interval
        looked = (
            id(state.transcript),
            id(state.change),
            id(state.successor),
            id(state.federation_key),
            state.epoch,
            state.sequence // interval,
        )
        if looked == self._looked:
            return None
        self._looked, self._state = looked, state  # which holds the objects whose ids these are
        self._asked = self._next(state)
        return self._asked

    def _next(self, state: State) -> DrawSeed | KeepSecrets | None:
        transcript = open_session(state)
        if transcript is not None:
            roles = self._roles(transcript)
            if participant.wants_seed(transcript, *roles, self._secrets):
                return DrawSeed(transcript.session)
        changed = self._settled(state)
        return None if changed == self._secrets else KeepSecrets(changed)

    def _settled(self, state: State) -> Secrets:
        """What should be kept in this state, as far as it is known here."""
        secrets = self._secrets
        if state.federation_key is not None:
            secrets = self._with_share(secrets, state.epoch, state.transcript)
        if state.successor is not None:
            secrets = self._with_share(secrets, state.epoch + 1, state.successor.transcript)
        transcript = open_session(state)
        secrets = secrets.without_seeds(
            frozenset() if transcript is None else frozenset((transcript.session,))
        )
        late = state.began + SHARES_KEPT_CHECKPOINTS * self._rules.params.checkpoint_interval
        return secrets.without_shares_before(state.epoch) if state.sequence >= late else secrets

    def _with_share(self, secrets: Secrets, epoch: int, transcript: Transcript) -> Secrets:
        if secrets.share_of(epoch) is not None:
            return secrets
        share = self._compute(transcript)
        return secrets if share is None else secrets.with_share(epoch, share)

    # What they let this replica say.

    def share(self, state: State) -> KeyShare | None:
        """The key share of the epoch that runs, if this replica has a good one."""
        return self._good(state.transcript, self._secrets.share_of(state.epoch))

    def sign(self, state: State, asked: Asked) -> tuple[SignatureShare, ...]:
        """A signature share; none without a good key share, or where the guard gives none."""
        key_share = self.share(state)
        if key_share is None:
            return ()
        share = self._sign_share(
            key_share, int(asked.purpose), asked.subject, asked.rank, asked.message
        )
        if share is None:
            return ()
        signed = SignatureShare(
            purpose=int(asked.purpose),
            subject=asked.subject,
            rank=asked.rank,
            epoch=asked.epoch,
            share=share,
        )
        return (signed,)

    def speak(self, transcript: Transcript) -> tuple[Record, ...]:
        """What this replica still has to say in a session."""
        return participant.owed(transcript, *self._roles(transcript), self._secrets)

    def duties(self, state: State) -> tuple[Duty, ...]:
        """What a change of members asks of this replica now."""
        at = stage(state)
        if at not in (Stage.RESHARING, Stage.PROOF, Stage.ACTIVATION):
            return ()
        change, transcript = under_way(state)
        if at is Stage.RESHARING:
            if self._roles(transcript) == (None, None):
                return ()
            said = len(transcript.complaints)
            return (Speak(transcript.session, int(transcript.phase), said),)
        given = (*change.shares, *change.faulty)
        if at is Stage.PROOF:
            index = transcript.index_of(self._key, Role.RECEIVER)
            owes = index in transcript.holders and index not in given
            return (Prove(transcript.session),) if owes else ()
        index = state.membership.index_by_key.get(self._key)
        owes = index is not None and index not in given
        return (Certify(transcript.session),) if owes else ()

    def fulfil(self, duty: Duty, state: State) -> tuple[Record, ...]:
        """Operations to get ordered for one duty; none while a secret is missing."""
        _, transcript = under_way(state)
        if isinstance(duty, Speak):
            return self.speak(transcript)
        share = self._compute(transcript) if isinstance(duty, Prove) else self.share(state)
        if share is None:
            return ()
        signed = sign_share(share, signed_message(self._rules, state))
        kind = ShareProof if isinstance(duty, Prove) else ActivationShare
        return (kind(session=transcript.session, share=signed),)

    # Shares.

    def _roles(self, transcript: Transcript) -> tuple[int | None, int | None]:
        """This replica's index as receiver and as dealer."""
        receiver = transcript.index_of(self._key, Role.RECEIVER)
        return receiver, transcript.index_of(self._key, Role.DEALER)

    def _good(self, transcript: Transcript, held: KeyShare | None) -> KeyShare | None:
        """A share that is kept, if it is one of this sharing; else what the session's seed gives.

        A share of another sharing is worse than none: what is signed with it is refused.
        """
        if transcript.phase is not Session.DONE:
            return None
        session = transcript.session
        if session not in self._computed:
            index = transcript.index_of(self._key, Role.RECEIVER)
            fits = (
                held is not None
                and held.index == index
                and bls.public_key(held.secret) == transcript.public.share_key(index)
            )
            self._remember(session, held if fits else self._share_from_seed(transcript))
        return self._computed[session]

    def _compute(self, transcript: Transcript) -> KeyShare | None:
        return self._good(transcript, None)

    def _share_from_seed(self, transcript: Transcript) -> KeyShare | None:
        index = transcript.index_of(self._key, Role.RECEIVER)
        if index is None:
            return None
        try:
            return participant.key_share(transcript, index, self._secrets)
        except Refused:
            return None

    def _remember(self, session: bytes, share: KeyShare | None) -> None:
        while len(self._computed) > 1:
            del self._computed[next(iter(self._computed))]
        self._computed[session] = share


def open_session(state: State) -> Transcript | None:
    """The session that is under way and whose seed is still needed."""
    if state.phase in (Phase.KEYGEN, Phase.ACTIVATION) and state.epoch == 0:
        return state.transcript
    return None if state.change is None else state.change.transcript
