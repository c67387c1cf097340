"""The public side of a session: a fold over ordered messages, the same for every replica.

A complaint proves itself: no dealer has to answer, no correct dealer can be removed, and a false
one shows only its author's own share of one dealing.

A phase ends when all have spoken.  The genesis ceremony insists on that: one that takes too long is
a new attempt.  A resharing is closed by the replicas' clocks and goes on with those who spoke, if
they are enough: t receivers with keys, t_old dealings that stand, t receivers that are ready.
Pure.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from bft.crypto import sealing, shamir
from bft.dkg import dealing as dealings
from bft.dkg.messages import (
    DkgComplaint,
    DkgDealing,
    DkgKeys,
    DkgReady,
    Message,
    Phase,
    Role,
    role_of,
)
from bft.dkg.transcript import Announced, Complained, Dealt, Transcript
from bft.errors import DecodeError, Refused

_OVER = (Phase.DONE, Phase.FAILED)


def hear(transcript: Transcript, key: bytes, message: Message) -> Transcript:
    """The transcript with one more ordered message, signed by this identity key.

    Raises:
        Refused: as `apply`; "not-a-member" if the key has not the role that the message takes.
    """
    index = transcript.index_of(key, role_of(message))
    if index is None:
        role = role_of(message).name.lower()
        raise Refused("not-a-member", f"{key.hex()[:16]} is no {role} of this session")
    return apply(transcript, index, message)


def apply(transcript: Transcript, author: int, message: Message) -> Transcript:
    """The transcript with one more ordered message.

    Args:
        author: index of who signed it, in the role that `role_of` tells.

    Raises:
        Refused: "not-a-member", "wrong-session", "wrong-phase", "malformed", "twice", "no-keys",
            "no-such-dealing", "already-out" or "not-its-key".  The transcript stays as it was.
    """
    who = transcript.dealers if role_of(message) is Role.DEALER else transcript.members
    if not 0 <= author < len(who):
        raise Refused("not-a-member", f"author {author} of {len(who)} members")
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


def close(transcript: Transcript) -> Transcript:
    """The session after its phase has had its time: on with those who spoke, or FAILED.

    Raises:
        Refused: "over", when the session is DONE or FAILED.
    """
    if transcript.phase in _OVER:
        raise Refused("over", f"a session that is {transcript.phase.name} has no phase to close")
    if not _goes_on_without(transcript):
        return replace(transcript, phase=Phase.FAILED, missing=transcript.awaited_keys)
    return _next_phase(transcript)


def expire(transcript: Transcript) -> Transcript:
    """The next attempt, a new session, after this one failed or its phase took too long.

    Raises:
        Refused: "done", when there is a key already.
    """
    if transcript.phase is Phase.DONE:
        raise Refused("done", "this session has made its key; it cannot expire")
    failed = transcript.phase is Phase.FAILED
    return Transcript(
        chain_id=transcript.chain_id,
        epoch=transcript.epoch,
        attempt=transcript.attempt + 1,
        members=transcript.members,
        threshold=transcript.threshold,
        dealers=transcript.dealers,
        old=transcript.old,
        missing=transcript.missing if failed else transcript.awaited_keys,
    )


def _on_keys(transcript: Transcript, author: int, message: DkgKeys) -> Transcript:
    if transcript.keys_of(author) is not None:
        raise Refused("twice", f"member {author} has announced its keys already")
    if len(message.keys) != len(transcript.dealers):
        raise Refused("malformed", f"{len(message.keys)} keys came; one for each dealer expected")
    try:
        for key in message.keys:
            sealing.check_sealing_key(key)
    except DecodeError as error:
        raise Refused("malformed", str(error)) from None
    announced = Announced(author=author, message=message)
    return _when_all_spoke(replace(transcript, keys=(*transcript.keys, announced)))


def _on_dealing(transcript: Transcript, author: int, message: DkgDealing) -> Transcript:
    """A void dealing counts as its author's only one: nobody gets a second throw."""
    if transcript.dealt_by(author) is not None:
        raise Refused("twice", f"member {author} has dealt already")
    verdict = dealings.judge(
        message,
        author,
        len(transcript.keys),
        transcript.threshold,
        transcript.share_key_of(author),
    )
    dealt = Dealt(author=author, message=message, verdict=verdict)
    return _when_all_spoke(replace(transcript, dealings=(*transcript.dealings, dealt)))


def _on_complaint(transcript: Transcript, author: int, message: DkgComplaint) -> Transcript:
    """A proven complaint removes the dealer; a false one is kept against its author."""
    announced = transcript.keys_of(author)
    if announced is None:
        raise Refused("no-keys", f"member {author} announced no keys; nothing was sealed to it")
    dealt = transcript.dealt_by(message.dealer)
    if dealt is None:
        raise Refused("no-such-dealing", f"dealer {message.dealer} has not dealt")
    if transcript.has_complained(author, message.dealer):
        raise Refused("twice", f"member {author} has complained about this dealing already")
    if dealt not in transcript.surviving:
        raise Refused("already-out", f"the dealing of dealer {message.dealer} is out already")
    if sealing.sealing_key(message.secret_key) != announced.keys[message.dealer]:
        raise Refused("not-its-key", "the revealed key is not the announced one's secret")
    sealed = transcript.sealed_for(author, dealt.message)
    try:
        dealings.open_share(dealt.message, message.dealer, author, sealed, message.secret_key)
        proven = 0
    except DecodeError:
        proven = 1
    complained = Complained(author=author, message=message, proven=proven)
    return _if_enough(replace(transcript, complaints=(*transcript.complaints, complained)))


def _on_ready(transcript: Transcript, author: int, message: DkgReady) -> Transcript:
    if message.phase is not transcript.phase:
        raise Refused("wrong-phase", f"ready for {message.phase.name} came too late or too early")
    if transcript.keys_of(author) is None:
        raise Refused("no-keys", f"member {author} announced no keys; nothing was sealed to it")
    if author in transcript.ready:
        raise Refused("twice", f"member {author} is ready already")
    return _when_all_spoke(replace(transcript, ready=(*transcript.ready, author)))


def _goes_on_without(transcript: Transcript) -> bool:
    """Whether those who spoke in this phase are enough without the others."""
    if not transcript.old:
        return False
    match transcript.phase:
        case Phase.KEYS:
            return len(transcript.keys) >= transcript.threshold
        case Phase.DEALING:
            return len(transcript.surviving) >= transcript.dealings_needed
        case _:
            return len(transcript.ready) >= transcript.threshold


def _when_all_spoke(transcript: Transcript) -> Transcript:
    return transcript if transcript.awaited else _next_phase(transcript)


def _next_phase(transcript: Transcript) -> Transcript:
    match transcript.phase:
        case Phase.KEYS:
            return replace(transcript, phase=Phase.DEALING)
        case Phase.DEALING:
            return _if_enough(replace(transcript, phase=Phase.COMPLAINT))
        case _:
            return _finish(transcript)


def _if_enough(transcript: Transcript) -> Transcript:
    """FAILED as soon as too few dealings survive."""
    if len(transcript.surviving) >= transcript.dealings_needed:
        return transcript
    return replace(transcript, phase=Phase.FAILED, missing=())


def _finish(transcript: Transcript) -> Transcript:
    """Add the qualified dealings up.  A resharing keeps the key: its first commitment."""
    try:
        commitments = shamir.combine_commitments(
            [dealt.message.commitments for dealt in transcript.qualified], transcript.weights
        )
    except ValueError:  # a coefficient became 0, by a chance of 1 in ORDER
        return replace(transcript, phase=Phase.FAILED, missing=())
    if transcript.old:
        assert commitments[0] == transcript.old[0]  # each first commitment was an old share key
    return replace(transcript, phase=Phase.DONE, commitments=commitments)


_STEPS: dict[tuple[Phase, type], Callable[[Transcript, int, Any], Transcript]] = {
    (Phase.KEYS, DkgKeys): _on_keys,
    (Phase.DEALING, DkgDealing): _on_dealing,
    (Phase.COMPLAINT, DkgComplaint): _on_complaint,
    (Phase.COMPLAINT, DkgReady): _on_ready,
}
