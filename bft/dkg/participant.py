"""The secret side of a session: what one replica still has to say, and its key share.

Level-triggered: everything follows from the transcript and the replica's secrets, so a replica
that was restarted, or whose message was lost, says what is missing.  All that a replica makes up in
a session derives from one 32-byte seed, which was drawn for this session and is durable before
anything is said; nothing has to be stored between messages.

A replica that has lost the seed says nothing that needs it: it has no share of this sharing.
Pure.
"""

from bft.crypto import bls, sealing
from bft.crypto.threshold import KeyShare
from bft.dkg.dealing import deal, open_share
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, DkgReady, Message, Phase
from bft.dkg.secrets import Secrets
from bft.dkg.transcript import Transcript
from bft.errors import DecodeError, Refused

_RECEIVER_LABEL = b"gristmill dkg receiver "


def wants_seed(
    transcript: Transcript, receiver: int | None, dealer: int | None, secrets: Secrets
) -> bool:
    """Whether the driver must draw 32 bytes for this session and make them durable.

    Only until the replica has said what depends on them: a seed that was lost later is of no use.
    """
    if secrets.seed_for(transcript.session) is not None:
        return False
    if transcript.phase not in (Phase.KEYS, Phase.DEALING):
        return False
    if dealer is not None and transcript.dealt_by(dealer) is None:
        return True
    if receiver is None or transcript.phase is not Phase.KEYS:
        return False
    return transcript.keys_of(receiver) is None


def seed_is_lost(transcript: Transcript, receiver: int, secrets: Secrets) -> bool:
    """Whether this receiver announced keys that its secrets cannot open any more."""
    announced = transcript.keys_of(receiver)
    if announced is None:
        return False
    seed = secrets.seed_for(transcript.session)
    return seed is None or announced != _announcement(transcript, seed)


def owed(
    transcript: Transcript, receiver: int | None, dealer: int | None, secrets: Secrets
) -> tuple[Message, ...]:
    """What a replica still has to get ordered in this state of the session.

    Complaints come alone: "ready" is owed only once all of them stand in the log.

    Args:
        receiver, dealer: its indices in the two roles, None where it has not the role.  Who signs
            a message is told by `messages.role_of`.
        secrets: the session's seed; in a resharing a dealer's key share of the epoch before.
    """
    seed = secrets.seed_for(transcript.session)
    if seed is None:
        return ()
    match transcript.phase:
        case Phase.KEYS if receiver is not None:
            return () if transcript.keys_of(receiver) else (_announcement(transcript, seed),)
        case Phase.DEALING if dealer is not None:
            return _dealing(transcript, dealer, secrets)
        case Phase.COMPLAINT if receiver is not None:
            return _findings(transcript, receiver, secrets)
    return ()


def key_share(transcript: Transcript, receiver: int, secrets: Secrets) -> KeyShare:
    """Receiver `receiver`'s share of the federation key, in the sharing that the session made.

    Raises:
        Refused: "not-done", there is no key yet; "no-share", the receiver announced no keys, or
            its seed is lost; "bad-share", a qualified dealing holds no good share for it, and it
            was silent or said "ready" all the same.
    """
    public = transcript.public
    seed = secrets.seed_for(transcript.session)
    if seed is None or transcript.keys_of(receiver) != _announcement(transcript, seed):
        raise Refused("no-share", "this replica announced no keys, or its session seed is lost")
    secret = 0
    for dealt, weight in zip(transcript.qualified, transcript.weights, strict=True):
        try:
            secret += weight * _opened(transcript, dealt.author, dealt.message, receiver, seed)
        except DecodeError as error:
            raise Refused("bad-share", f"dealing of dealer {dealt.author}: {error}") from None
    share = KeyShare(index=receiver, secret=secret % bls.ORDER)
    assert bls.public_key(share.secret) == public.share_key(receiver)  # each summand was checked
    return share


def _dealing(transcript: Transcript, dealer: int, secrets: Secrets) -> tuple[Message, ...]:
    seed, share_key = secrets.seed_for(transcript.session), transcript.share_key_of(dealer)
    if seed is None or transcript.dealt_by(dealer) is not None:
        return ()
    shared: int | None = None
    if share_key is not None:
        held = secrets.share_of(transcript.epoch - 1)
        if held is None or bls.public_key(held.secret) != share_key:
            return ()  # what it could deal would be void
        shared = held.secret
    recipients = tuple(
        (said.author, said.message.keys[dealer])
        for said in sorted(transcript.keys, key=lambda said: said.author)
    )
    return (deal(seed, transcript.session, dealer, recipients, transcript.threshold, shared),)


def _findings(transcript: Transcript, receiver: int, secrets: Secrets) -> tuple[Message, ...]:
    """A complaint for each surviving dealing whose share is bad, or "ready"."""
    seed = secrets.seed_for(transcript.session)
    if seed is None or receiver in transcript.ready:
        return ()
    if transcript.keys_of(receiver) != _announcement(transcript, seed):
        return ()
    found = []
    for dealt in transcript.surviving:
        if transcript.has_complained(receiver, dealt.author):
            continue
        try:
            _opened(transcript, dealt.author, dealt.message, receiver, seed)
        except DecodeError:
            one_time = _one_time_secret(transcript.session, dealt.author, seed)
            complaint = DkgComplaint(
                session=transcript.session, dealer=dealt.author, secret_key=one_time
            )
            found.append(complaint)
    ready = DkgReady(session=transcript.session, phase=Phase.COMPLAINT)
    return tuple(found) or (ready,)


def _opened(
    transcript: Transcript, dealer: int, dealing: DkgDealing, receiver: int, seed: bytes
) -> int:
    """The value dealt to `receiver`.  Raises DecodeError: there is no good one."""
    one_time = _one_time_secret(transcript.session, dealer, seed)
    sealed = transcript.sealed_for(receiver, dealing)
    return open_share(dealing, dealer, receiver, sealed, one_time)


def _announcement(transcript: Transcript, seed: bytes) -> DkgKeys:
    session = transcript.session
    secrets = [_one_time_secret(session, dealer, seed) for dealer in range(len(transcript.dealers))]
    return DkgKeys(session=session, keys=tuple(map(sealing.sealing_key, secrets)))


def _one_time_secret(session: bytes, dealer: int, seed: bytes) -> bytes:
    """32 bytes, the X25519 secret that opens what `dealer` sealed to this replica."""
    info = _RECEIVER_LABEL + dealer.to_bytes(2, "big")
    return sealing.derive(seed, salt=session, info=info, size=sealing.KEY_BYTES)
