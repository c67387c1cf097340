"""A ceremony in one process: every member owes messages, a log orders them, one fold follows."""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from bft.crypto import bls, sealing
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import KeyShare
from bft.dkg import dealing as dealings
from bft.dkg.messages import DkgDealing, Message, Phase
from bft.dkg.participant import key_share, owed
from bft.dkg.transcript import Transcript, apply, open_session
from bft.quorum import strong

CHAIN_ID = bytes([9] * 32)


def seed_of(index: int) -> bytes:
    """The 32-byte seed of member `index`."""
    return bytes([100 + index]) * 32


def members(n: int) -> tuple[bytes, ...]:
    return tuple(PrivateKey(bytes([1 + index] * 32)).public_key for index in range(n))


def opened(n: int) -> Transcript:
    return open_session(CHAIN_ID, 0, 0, members(n), strong(n))


def say_all(transcript: Transcript, who: Iterable[int]) -> Transcript:
    """Whatever `who` owe at this moment gets ordered."""
    said: list[tuple[int, Message]] = [
        (index, message) for index in who for message in owed(transcript, index, seed_of(index))
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
    return [key_share(transcript, i, seed_of(i)) for i in range(len(transcript.members))]


def honest_dealing(transcript: Transcript, dealer: int) -> DkgDealing:
    (dealing,) = owed(transcript, dealer, seed_of(dealer))
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
