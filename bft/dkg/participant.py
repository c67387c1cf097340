"""The secret side of key generation: what one replica still has to say, and its key share.

Level-triggered: both functions look at the transcript alone, so a replica that was restarted, or
whose message was lost, says what is missing.  All secrets of a session derive from one 32-byte
seed of the replica and the session id; nothing has to be stored between messages.
Pure.
"""

from bft.crypto import bls, sealing
from bft.crypto.threshold import KeyShare
from bft.dkg.dealing import deal, open_share
from bft.dkg.messages import DkgComplaint, DkgKeys, DkgReady, Message, Phase
from bft.dkg.transcript import Transcript
from bft.errors import ConfigError, DecodeError, Refused

SEED_BYTES = 32
_RECEIVER_LABEL = b"gristmill dkg receiver "


def owed(transcript: Transcript, index: int, seed: bytes) -> tuple[Message, ...]:
    """What member `index` still has to get ordered in this state of the session.

    Complaints come alone: "ready" is owed only once all of them stand in the log.

    Raises:
        ConfigError: `seed` is not 32 bytes, or not the one this member's keys were announced with.
    """
    _check_seed(seed)
    if transcript.phase in (Phase.DONE, Phase.FAILED):
        return ()
    keys = _announcement(transcript, index, seed)
    announced = transcript.keys_of(index)
    if announced is None:
        return (keys,)
    if announced != keys:
        raise ConfigError("the seed is not the one that this replica's one-time keys came from")
    if transcript.phase is Phase.DEALING and transcript.dealt_by(index) is None:
        recipients = tuple(_key_for(transcript, receiver, index) for receiver in _all(transcript))
        return (deal(seed, transcript.session, index, recipients, transcript.threshold),)
    if transcript.phase is Phase.COMPLAINT and index not in transcript.ready:
        ready = DkgReady(session=transcript.session, phase=Phase.COMPLAINT)
        return _complaints(transcript, index, seed) or (ready,)
    return ()


def key_share(transcript: Transcript, index: int, seed: bytes) -> KeyShare:
    """Member `index`'s share of the federation key.

    Raises:
        Refused: "not-done", there is no key yet; "bad-share", a qualified dealing holds no good
            share for this member, which said "ready" all the same.
        ConfigError: `seed` is not the one this member took part with.
    """
    _check_seed(seed)
    public = transcript.public
    if transcript.keys_of(index) != _announcement(transcript, index, seed):
        raise ConfigError("the seed is not the one that this replica's one-time keys came from")
    secret = 0
    for dealt in transcript.qualified:
        one_time = _one_time_secret(transcript.session, dealt.author, seed)
        try:
            secret += open_share(dealt.message, dealt.author, index, one_time)
        except DecodeError as error:
            raise Refused("bad-share", f"dealing of member {dealt.author}: {error}") from None
    share = KeyShare(index=index, secret=secret % bls.ORDER)
    assert bls.public_key(share.secret) == public.share_key(index)  # each summand was checked
    return share


def _complaints(transcript: Transcript, index: int, seed: bytes) -> tuple[Message, ...]:
    """One for each surviving dealing whose share for `index` is bad."""
    found = []
    for dealt in transcript.surviving:
        one_time = _one_time_secret(transcript.session, dealt.author, seed)
        try:
            open_share(dealt.message, dealt.author, index, one_time)
        except DecodeError:
            found.append(
                DkgComplaint(session=transcript.session, dealer=dealt.author, secret_key=one_time)
            )
    return tuple(found)


def _announcement(transcript: Transcript, index: int, seed: bytes) -> DkgKeys:
    session = transcript.session
    secrets = [_one_time_secret(session, dealer, seed) for dealer in _all(transcript)]
    return DkgKeys(session=session, keys=tuple(map(sealing.sealing_key, secrets)))


def _one_time_secret(session: bytes, dealer: int, seed: bytes) -> bytes:
    """32 bytes, the X25519 secret that opens what `dealer` sealed to this replica."""
    info = _RECEIVER_LABEL + dealer.to_bytes(2, "big")
    return sealing.derive(seed, salt=session, info=info, size=sealing.KEY_BYTES)


def _key_for(transcript: Transcript, receiver: int, dealer: int) -> bytes:
    announced = transcript.keys_of(receiver)
    assert announced is not None  # all keys are here before the first dealing
    return announced.keys[dealer]


def _all(transcript: Transcript) -> range:
    return range(len(transcript.members))


def _check_seed(seed: bytes) -> None:
    if len(seed) != SEED_BYTES:
        raise ConfigError(f"a ceremony seed has {SEED_BYTES} bytes; {len(seed)} came")
