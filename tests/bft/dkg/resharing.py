"""Resharings in one process: members 0 to 3 of a genesis ceremony deal to others."""

from bft.crypto.threshold import KeyShare
from bft.dkg.fold import close, hear
from bft.dkg.messages import Message, Phase
from bft.dkg.participant import key_share, owed
from bft.dkg.secrets import Secrets, for_session
from bft.dkg.transcript import Transcript, open_resharing
from bft.quorum import strong
from tests.bft.dkg.ceremony import CHAIN_ID, members, opened, shares, until

GENESIS = until(opened(4), Phase.DONE)
OLD = shares(GENESIS)
KEYS_OF_ALL = members(10)


def reshared(new: tuple[int, ...], attempt: int = 0) -> Transcript:
    """From members 0 to 3 to those of `KEYS_OF_ALL` named in `new`."""
    keys = tuple(KEYS_OF_ALL[who] for who in new)
    old = GENESIS.public.commitments
    return open_resharing(CHAIN_ID, 1, attempt, keys, strong(len(new)), KEYS_OF_ALL[:4], old)


def secrets(transcript: Transcript, who: int) -> Secrets:
    """Of the holder of `KEYS_OF_ALL[who]`."""
    seeded = for_session(transcript.session, bytes([200 + who]) * 32)
    return seeded.with_share(0, OLD[who]) if who < 4 else seeded


def said(transcript: Transcript, who: int) -> tuple[Message, ...]:
    key = KEYS_OF_ALL[who]
    receiver = transcript.members.index(key) if key in transcript.members else None
    dealer = transcript.dealers.index(key) if key in transcript.dealers else None
    return owed(transcript, receiver, dealer, secrets(transcript, who))


def run(transcript: Transcript, silent: tuple[int, ...] = ()) -> Transcript:
    """To its end; phases that wait for the silent ones are closed."""
    while transcript.phase not in (Phase.DONE, Phase.FAILED):
        before = transcript
        for who in range(len(KEYS_OF_ALL)):
            for message in said(transcript, who) if who not in silent else ():
                transcript = hear(transcript, KEYS_OF_ALL[who], message)
        if transcript == before:
            transcript = close(transcript)
    return transcript


def new_shares(transcript: Transcript, silent: tuple[int, ...] = ()) -> list[KeyShare]:
    return [
        key_share(transcript, at, secrets(transcript, KEYS_OF_ALL.index(key)))
        for at, key in enumerate(transcript.members)
        if KEYS_OF_ALL.index(key) not in silent
    ]


def at(phase: Phase, silent: tuple[int, ...] = ()) -> Transcript:
    """A replacement of member 0 by 4, at the beginning of `phase`."""
    transcript = reshared((1, 2, 3, 4))
    while transcript.phase is not phase:
        before = transcript
        for who in range(len(KEYS_OF_ALL)):
            if who not in silent and transcript.phase is before.phase:
                for message in said(transcript, who):
                    transcript = hear(transcript, KEYS_OF_ALL[who], message)
        transcript = close(transcript) if transcript == before else transcript
    return transcript
