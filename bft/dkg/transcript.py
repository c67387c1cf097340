"""The public side of key generation: a fold over ordered messages, the same for every replica.

Joint Feldman.  Every member announces one-time keys, every member deals, whoever received a bad
share proves it by revealing the one-time key; the sum of the first t surviving dealings, in log
order, is the federation's polynomial.  Nobody ever knows its secret.  A complaint proves itself:
no dealer has to answer, no correct dealer can be removed, and a false one shows only its author's
own share of one dealing.

This is the genesis ceremony: it waits for all members in each phase, and a phase that does not
end in time is a new attempt.

Source: Gennaro, Jarecki, Krawczyk, Rabin, "Secure distributed key generation for discrete-log
based cryptosystems" (J. Cryptology 2007), joint Feldman; ETHDKG (Schindler et al. 2019) for
complaints that reveal a key on the ordered log.
Pure.
"""

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from bft.codec.types import U16, U32, Bytes32, GroupKey, IdentityKey
from bft.crypto import sealing, shamir
from bft.crypto.hashing import tagged_hash
from bft.crypto.threshold import PublicPolynomial
from bft.dkg import dealing as dealings
from bft.dkg.dealing import Verdict
from bft.dkg.messages import (
    MEMBERS_MAX,
    DkgComplaint,
    DkgDealing,
    DkgKeys,
    DkgReady,
    Message,
    Phase,
)
from bft.errors import DecodeError, Refused

_SESSION_TAG = "dkg.session/1"

Indices = Annotated[tuple[U16, ...], Meta(max_length=MEMBERS_MAX)]


class Announced(Record):
    """`author`'s one-time keys, as ordered."""

    author: U16
    message: DkgKeys


class Dealt(Record):
    """`author`'s dealing, as ordered, and what everyone sees of it."""

    author: U16
    message: DkgDealing
    verdict: Verdict


class Complained(Record):
    """`author`'s complaint, as ordered; `proven` is 1 if the dealer was at fault, else 0."""

    author: U16
    message: DkgComplaint
    proven: Annotated[int, Meta(ge=0, le=1)]


class Fault(Record):
    """Replica `index` did `reason`; the transcript holds the messages that prove it."""

    index: U16
    reason: bytes  # b"void-dealing", b"bad-share" or b"false-complaint"


class Transcript(Record):
    """Everything said in one session, in log order, and what follows from it."""

    TAG = "dkg.transcript/1"

    chain_id: Bytes32
    epoch: U32
    attempt: U32
    members: Annotated[tuple[IdentityKey, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    threshold: U16  # t = 2f + 1
    missing: Indices = ()  # who had not spoken when the attempt before this expired
    phase: Phase = Phase.KEYS
    keys: Annotated[tuple[Announced, ...], Meta(max_length=MEMBERS_MAX)] = ()
    dealings: Annotated[tuple[Dealt, ...], Meta(max_length=MEMBERS_MAX)] = ()
    complaints: Annotated[tuple[Complained, ...], Meta(max_length=MEMBERS_MAX**2)] = ()
    ready: Indices = ()
    commitments: Annotated[tuple[GroupKey, ...], Meta(max_length=MEMBERS_MAX)] = ()  # when DONE

    @property
    def session(self) -> bytes:
        """32 bytes that every message must name: no message serves another ceremony."""
        told = (self.chain_id, self.epoch, self.attempt, self.threshold, self.members)
        return tagged_hash(_SESSION_TAG, encode(told))

    @property
    def surviving(self) -> tuple[Dealt, ...]:
        """Dealings that stand and against which nothing is proven, in log order."""
        out = {c.message.dealer for c in self.complaints if c.proven}
        return tuple(
            dealt
            for dealt in self.dealings
            if dealt.verdict is Verdict.STANDS and dealt.author not in out
        )

    @property
    def qualified(self) -> tuple[Dealt, ...]:
        """QUAL, the dealings that are summed: the first t surviving ones."""
        return self.surviving[: self.threshold]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Who broke the rules, and how, in log order."""
        void = [
            Fault(index=dealt.author, reason=b"void-dealing")
            for dealt in self.dealings
            if dealt.verdict is not Verdict.STANDS
        ]
        return (*void, *(_fault_of(complained) for complained in self.complaints))

    @property
    def awaited(self) -> tuple[int, ...]:
        """Members that the phase still waits for, ascending."""
        spoken: dict[Phase, tuple[int, ...]] = {
            Phase.KEYS: tuple(said.author for said in self.keys),
            Phase.DEALING: tuple(dealt.author for dealt in self.dealings),
            Phase.COMPLAINT: self.ready,
        }
        if self.phase not in spoken:
            return ()
        return tuple(i for i in range(len(self.members)) if i not in spoken[self.phase])

    @property
    def public(self) -> PublicPolynomial:
        """The federation's public polynomial.  Raises Refused ("not-done") before DONE."""
        if self.phase is not Phase.DONE:
            raise Refused("not-done", f"phase {self.phase.name} came; a key exists when DONE")
        return PublicPolynomial(commitments=self.commitments)

    def keys_of(self, author: int) -> DkgKeys | None:
        """What `author` announced, if it did."""
        return next((said.message for said in self.keys if said.author == author), None)

    def dealt_by(self, author: int) -> Dealt | None:
        """What `author` dealt, if it did."""
        return next((dealt for dealt in self.dealings if dealt.author == author), None)

    def has_complained(self, author: int, dealer: int) -> bool:
        """Whether `author`'s complaint about `dealer` is here."""
        return any(c.author == author and c.message.dealer == dealer for c in self.complaints)


def _fault_of(complained: Complained) -> Fault:
    if complained.proven:
        return Fault(index=complained.message.dealer, reason=b"bad-share")
    return Fault(index=complained.author, reason=b"false-complaint")


def open_session(
    chain_id: bytes,
    epoch: int,
    attempt: int,
    members: tuple[bytes, ...],
    threshold: int,
) -> Transcript:
    """A session in which nobody has spoken.

    Raises:
        ValueError: no members, more than MEMBERS_MAX, one twice, or a threshold beyond them.
    """
    if not 1 <= len(members) <= MEMBERS_MAX or len(set(members)) != len(members):
        raise ValueError(f"a ceremony has 1 to {MEMBERS_MAX} different members")
    if not 1 <= threshold <= len(members):
        raise ValueError(f"threshold {threshold} of {len(members)} members")
    return Transcript(
        chain_id=chain_id, epoch=epoch, attempt=attempt, members=members, threshold=threshold
    )


def apply(transcript: Transcript, author: int, message: Message) -> Transcript:
    """The transcript with one more ordered message of member `author`.

    Raises:
        Refused: "not-a-member", "wrong-session", "wrong-phase", "malformed", "twice",
            "no-such-dealing", "already-out" or "not-its-key".  The transcript stays as it was.
    """
    if not 0 <= author < len(transcript.members):
        raise Refused("not-a-member", f"author {author} of {len(transcript.members)} members")
    if message.session != transcript.session:
        raise Refused(
            "wrong-session",
            f"session {message.session.hex()[:16]} came; this is {transcript.session.hex()[:16]}",
        )
    step = _STEPS.get((transcript.phase, type(message)))
    if step is None:
        raise Refused(
            "wrong-phase", f"{type(message).__name__} does not belong to {transcript.phase.name}"
        )
    return step(transcript, author, message)


def expire(transcript: Transcript) -> Transcript:
    """The next attempt, a new session, after this one failed or its phase took too long.

    Raises:
        Refused: "done", when there is a key already.
    """
    if transcript.phase is Phase.DONE:
        raise Refused("done", "this session has made its key; it cannot expire")
    following = open_session(
        transcript.chain_id,
        transcript.epoch,
        transcript.attempt + 1,
        transcript.members,
        transcript.threshold,
    )
    return replace(following, missing=transcript.awaited)


def _on_keys(transcript: Transcript, author: int, message: DkgKeys) -> Transcript:
    if transcript.keys_of(author) is not None:
        raise Refused("twice", f"member {author} has announced its keys already")
    if len(message.keys) != len(transcript.members):
        raise Refused("malformed", f"{len(message.keys)} keys came; one for each dealer expected")
    try:
        for key in message.keys:
            sealing.check_sealing_key(key)
    except DecodeError as error:
        raise Refused("malformed", str(error)) from None
    after = replace(transcript, keys=(*transcript.keys, Announced(author=author, message=message)))
    return after if after.awaited else replace(after, phase=Phase.DEALING)


def _on_dealing(transcript: Transcript, author: int, message: DkgDealing) -> Transcript:
    """A void dealing counts as its author's only one: nobody gets a second throw."""
    if transcript.dealt_by(author) is not None:
        raise Refused("twice", f"member {author} has dealt already")
    verdict = dealings.judge(message, author, len(transcript.members), transcript.threshold)
    dealt = Dealt(author=author, message=message, verdict=verdict)
    after = replace(transcript, dealings=(*transcript.dealings, dealt))
    return after if after.awaited else _enough(replace(after, phase=Phase.COMPLAINT))


def _on_complaint(transcript: Transcript, author: int, message: DkgComplaint) -> Transcript:
    """A proven complaint removes the dealer; a false one is kept against its author."""
    dealt = transcript.dealt_by(message.dealer)
    if dealt is None:
        raise Refused("no-such-dealing", f"member {message.dealer} has not dealt")
    if transcript.has_complained(author, message.dealer):
        raise Refused("twice", f"member {author} has complained about this dealing already")
    if dealt not in transcript.surviving:
        raise Refused("already-out", f"the dealing of member {message.dealer} is out already")
    announced = transcript.keys_of(author)
    assert announced is not None  # all keys are here before the first dealing
    if sealing.sealing_key(message.secret_key) != announced.keys[message.dealer]:
        raise Refused("not-its-key", "the revealed key is not the announced one's secret")
    try:
        dealings.open_share(dealt.message, message.dealer, author, message.secret_key)
        proven = 0
    except DecodeError:
        proven = 1
    complained = Complained(author=author, message=message, proven=proven)
    return _enough(replace(transcript, complaints=(*transcript.complaints, complained)))


def _on_ready(transcript: Transcript, author: int, message: DkgReady) -> Transcript:
    if message.phase is not transcript.phase:
        raise Refused("wrong-phase", f"ready for {message.phase.name} came too late or too early")
    if author in transcript.ready:
        raise Refused("twice", f"member {author} is ready already")
    after = replace(transcript, ready=(*transcript.ready, author))
    return after if after.awaited else _close(after)


def _enough(transcript: Transcript) -> Transcript:
    """FAILED as soon as fewer than t dealings survive."""
    if len(transcript.surviving) >= transcript.threshold:
        return transcript
    return replace(transcript, phase=Phase.FAILED)


def _close(transcript: Transcript) -> Transcript:
    """Sum the qualified dealings."""
    try:
        commitments = shamir.add_commitments(
            [dealt.message.commitments for dealt in transcript.qualified]
        )
    except ValueError:  # a coefficient became 0, by a chance of 1 in ORDER
        return replace(transcript, phase=Phase.FAILED)
    return replace(transcript, phase=Phase.DONE, commitments=commitments)


_STEPS: dict[tuple[Phase, type], Callable[[Transcript, int, Any], Transcript]] = {
    (Phase.KEYS, DkgKeys): _on_keys,
    (Phase.DEALING, DkgDealing): _on_dealing,
    (Phase.COMPLAINT, DkgComplaint): _on_complaint,
    (Phase.COMPLAINT, DkgReady): _on_ready,
}
