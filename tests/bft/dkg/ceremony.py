"""A ceremony in one process: every member owes messages, a log orders them, one fold follows."""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from bft.crypto import bls, sealing
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import KeyShare
from bft.dkg import dealing as dealings
from bft.dkg.fold import apply
from bft.dkg.messages import DkgDealing, Message, Phase
from bft.dkg.participant import key_share, owed
from bft.dkg.secrets import Secrets, for_session
from bft.dkg.transcript import Transcript, open_session
from bft.quorum import strong

CHAIN_ID = bytes([9] * 32)


def seed_of(index: int) -> bytes:
    """The 32-byte seed of member `index`."""
    return bytes([100 + index]) * 32


def secrets_of(transcript: Transcript, index: int) -> Secrets:
    """Member `index`'s, in this session."""
    return for_session(transcript.session, seed_of(index))


def said_by(transcript: Transcript, index: int) -> tuple[Message, ...]:
    """What member `index`, who deals and receives, owes."""
    return owed(transcript, index, index, secrets_of(transcript, index))


def blamed(transcript: Transcript) -> tuple[tuple[int, bytes], ...]:
    """(index, reason) of each fault."""
    return tuple((fault.index, fault.reason) for fault in transcript.faults)


def members(n: int) -> tuple[bytes, ...]:
    return tuple(PrivateKey(bytes([1 + index] * 32)).public_key for index in range(n))


def opened(n: int) -> Transcript:
    return open_session(CHAIN_ID, 0, 0, members(n), strong(n))


def say_all(transcript: Transcript, who: Iterable[int]) -> Transcript:
    """Whatever `who` owe at this moment gets ordered."""
    said: list[tuple[int, Message]] = [
        (index, message) for index in who for message in said_by(transcript, index)
    ]
    for index, message in said:
        transcript = apply(transcript, index, message)
    return transcript


def until(transcript: Transcript, phase: Phase, silent: Collection[int] = ()) -> Transcript:
    """The session at the beginning of `phase`, everybody but `silent` taking part."""
    while transcript.phase is not phase:
        before = transcript
        for index in range(len(transcript.members)):
            if index not in silent and transcript.phase is before.phase is not phase:
                transcript = say_all(transcript, [index])
        assert transcript != before, "nobody has anything left to say"
    return transcript


def shares(transcript: Transcript) -> list[KeyShare]:
    return [
        key_share(transcript, i, secrets_of(transcript, i)) for i in range(len(transcript.members))
    ]


def honest_dealing(transcript: Transcript, dealer: int) -> DkgDealing:
    (dealing,) = said_by(transcript, dealer)
    assert isinstance(dealing, DkgDealing)
    return dealing


def with_bad_share(transcript: Transcript, dealer: int, victim: int) -> DkgDealing:
    """An otherwise honest dealing that holds a value off the polynomial for `victim`."""
    dealing = honest_dealing(transcript, dealer)
    info = dealings.share_info(dealing.session, dealer, victim, dealing.commitments)
    announced = transcript.keys_of(victim)
    assert announced is not None
    wrong = bls.scalar_to_bytes(12345)
    sealed = sealing.seal(bytes([66] * 32), announced.keys[dealer], wrong, info)
    return with_ciphertext(dealing, victim, sealed)


def with_ciphertext(dealing: DkgDealing, receiver: int, sealed: bytes) -> DkgDealing:
    ciphertexts = [*dealing.ciphertexts]
    ciphertexts[receiver] = sealed
    return replace(dealing, ciphertexts=tuple(ciphertexts))


def deal_all(transcript: Transcript, instead: dict[int, DkgDealing]) -> Transcript:
    """The dealing phase, in which some dealers post something else."""
    for dealer in range(len(transcript.members)):
        message = instead.get(dealer) or honest_dealing(transcript, dealer)
        transcript = apply(transcript, dealer, message)
    return transcript
