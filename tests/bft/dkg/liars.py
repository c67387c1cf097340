"""What bad dealers and receivers say instead of the truth, and what must become of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from msgspec.structs import replace

from bft.crypto import bls, sealing
from bft.dkg import dealing as dealings
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, DkgReady, Message, Phase
from bft.dkg.transcript import Transcript
from tests.bft.dkg.people import Person

IDENTITY = b"\xc0" + bytes(95)


class Fate(Enum):
    """What must become of a lie once it is ordered."""

    ANY = 0  # it may count, or be refused
    REFUSED = 1
    VOID = 2  # if it is not refused: a void dealing of its author
    FALSE = 3  # if it is not refused: a false complaint of its author
    BAD_SHARE = 4  # if it is not refused: complained about by its victims


@dataclass(frozen=True)
class Lie:
    """One message, and its fate."""

    message: Message
    fate: Fate = Fate.ANY
    victims: tuple[int, ...] = ()  # receivers with a bad share


Told = list[Lie]


# Dealers


def silent(liar: Person, transcript: Transcript, random: Random) -> Told:
    return []


def bad_value(liar: Person, transcript: Transcript, random: Random) -> Told:
    """The right seal on a value off the polynomial."""

    def spoil(dealing: DkgDealing, receiver: int, sealed: bytes) -> bytes:
        info = dealings.share_info(dealing.session, dealer, receiver, dealing.commitments)
        wrong = bls.scalar_to_bytes(random.choice((0, 1, random.randrange(bls.ORDER))))
        return _sealed(transcript, dealer, receiver, wrong, info, random)

    dealer = liar.index_in(transcript.dealers)
    return _spoilt(liar, transcript, random, spoil)


def no_scalar(liar: Person, transcript: Transcript, random: Random) -> Told:
    """The right seal on 32 bytes that are no reduced scalar, or on fewer."""

    def spoil(dealing: DkgDealing, receiver: int, sealed: bytes) -> bytes:
        info = dealings.share_info(dealing.session, dealer, receiver, dealing.commitments)
        return _sealed(transcript, dealer, receiver, b"\xff" * 32, info, random)

    dealer = liar.index_in(transcript.dealers)
    return _spoilt(liar, transcript, random, spoil)


def garbage(liar: Person, transcript: Transcript, random: Random) -> Told:
    """Ciphertexts that nobody can open."""
    return _spoilt(liar, transcript, random, lambda _, __, sealed: random.randbytes(len(sealed)))


def low_order_seal(liar: Person, transcript: Transcript, random: Random) -> Told:
    """Ciphertexts whose encapsulated key is of low order: opening them is an error of its own."""
    return _spoilt(liar, transcript, random, lambda _, __, sealed: bytes(32) + sealed[32:])


def other_context(liar: Person, transcript: Transcript, random: Random) -> Told:
    """A sealed value that belongs to another session."""

    def spoil(dealing: DkgDealing, receiver: int, sealed: bytes) -> bytes:
        info = dealings.share_info(bytes(32), dealer, receiver, dealing.commitments)
        return _sealed(transcript, dealer, receiver, bytes(31) + b"\x05", info, random)

    dealer = liar.index_in(transcript.dealers)
    return _spoilt(liar, transcript, random, spoil)


def other_secret(liar: Person, transcript: Transcript, random: Random) -> Told:
    """Consistent in itself, but not of the share it holds; at genesis, somebody else's proof."""
    honest = _honest_dealing(liar, transcript)
    if honest is None or not transcript.old:
        return bad_proof(liar, transcript, random)
    dealer = liar.index_in(transcript.dealers)
    recipients = tuple((at, _key(transcript, at, dealer)) for at in transcript.holders)
    secret = random.randrange(1, bls.ORDER)
    seed, t = random.randbytes(32), transcript.threshold
    return [Lie(dealings.deal(seed, honest.session, dealer, recipients, t, secret), Fate.VOID)]


def no_point(liar: Person, transcript: Transcript, random: Random) -> Told:
    honest = _honest_dealing(liar, transcript)
    if honest is None:
        return []
    place = random.randrange(len(honest.commitments))
    wrong = random.choice((IDENTITY, b"\xe0" + bytes(95), random.randbytes(96)))
    spoilt = (*honest.commitments[:place], wrong, *honest.commitments[place + 1 :])
    return [Lie(replace(honest, commitments=spoilt), Fate.VOID)]


def wrong_count(liar: Person, transcript: Transcript, random: Random) -> Told:
    honest = _honest_dealing(liar, transcript)
    if honest is None:
        return []
    commitments, ciphertexts = honest.commitments, honest.ciphertexts
    spoilt = random.choice(
        [
            replace(honest, commitments=(*commitments, commitments[0])),
            replace(honest, ciphertexts=(*ciphertexts, ciphertexts[0])),
            replace(honest, ciphertexts=ciphertexts[1:] or (*ciphertexts, ciphertexts[0])),
        ]
    )
    return [Lie(spoilt, Fate.VOID)]


def bad_proof(liar: Person, transcript: Transcript, random: Random) -> Told:
    honest = _honest_dealing(liar, transcript)
    if honest is None:
        return []
    if random.random() < 0.5:
        return [Lie(replace(honest, proof_scalar=random.randbytes(32)), Fate.VOID)]
    return [Lie(replace(honest, proof_point=honest.commitments[0]), Fate.VOID)]


def copied(liar: Person, transcript: Transcript, random: Random) -> Told:
    """Somebody else's dealing in one's own name."""
    others = [d.message for d in transcript.dealings if d.author != _dealer(liar, transcript)]
    return [Lie(random.choice(others), Fate.VOID)] if others else []


def two_dealings(liar: Person, transcript: Transcript, random: Random) -> Told:
    """Both are good; whichever is ordered first counts."""
    first = _honest_dealing(liar, transcript)
    second = _honest_dealing(liar.with_seed(transcript.session, random.randbytes(32)), transcript)
    return [Lie(dealing) for dealing in (first, second) if dealing is not None]


# Receivers: the keys they announce


def keys_of_low_order(liar: Person, transcript: Transcript, random: Random) -> Told:
    (honest,) = liar.owes(transcript)
    assert isinstance(honest, DkgKeys)
    place = random.randrange(len(honest.keys))
    keys = (*honest.keys[:place], bytes(32), *honest.keys[place + 1 :])
    return [Lie(replace(honest, keys=keys), Fate.REFUSED)]


def too_many_keys(liar: Person, transcript: Transcript, random: Random) -> Told:
    (honest,) = liar.owes(transcript)
    assert isinstance(honest, DkgKeys)
    return [Lie(replace(honest, keys=(*honest.keys, honest.keys[0])), Fate.REFUSED)]


def two_announcements(liar: Person, transcript: Transcript, random: Random) -> Told:
    (first,) = liar.owes(transcript)
    (second,) = liar.with_seed(transcript.session, random.randbytes(32)).owes(transcript)
    return [Lie(first), Lie(second)]


def copied_keys(liar: Person, transcript: Transcript, random: Random) -> Told:
    others = [said.message for said in transcript.keys]
    return [Lie(random.choice(others))] if others else []


# Receivers: what they say of dealings


def false_complaints(liar: Person, transcript: Transcript, random: Random) -> Told:
    """About everybody whose share is good, with the right one-time keys."""
    session = transcript.session
    return [
        Lie(
            DkgComplaint(
                session=session, dealer=d.author, secret_key=liar.one_time_secret(session, d.author)
            ),
            Fate.FALSE if liar.can_open(transcript, d.author, d.message) else Fate.ANY,
        )
        for d in transcript.dealings
    ]


def forged_complaint(liar: Person, transcript: Transcript, random: Random) -> Told:
    """With a key that is not the announced one's."""
    dealer = random.choice(transcript.dealings).author
    complaint = DkgComplaint(
        session=transcript.session, dealer=dealer, secret_key=random.randbytes(32)
    )
    return [Lie(complaint, Fate.REFUSED), Lie(replace(complaint, dealer=65535), Fate.REFUSED)]


def ready_at_once(liar: Person, transcript: Transcript, random: Random) -> Told:
    """Twice, and without a look."""
    ready = DkgReady(session=transcript.session, phase=Phase.COMPLAINT)
    return [Lie(ready), Lie(ready), Lie(replace(ready, phase=Phase.KEYS), Fate.REFUSED)]


Deed = Callable[[Person, Transcript, Random], Told]

DEALERS: dict[str, Deed] = {
    deed.__name__: deed
    for deed in (
        silent,
        bad_value,
        no_scalar,
        garbage,
        low_order_seal,
        other_context,
        other_secret,
        no_point,
        wrong_count,
        bad_proof,
        copied,
        two_dealings,
    )
}
ANNOUNCERS: dict[str, Deed] = {
    deed.__name__: deed
    for deed in (silent, keys_of_low_order, too_many_keys, two_announcements, copied_keys)
}
COMPLAINERS: dict[str, Deed] = {
    deed.__name__: deed for deed in (silent, false_complaints, forged_complaint, ready_at_once)
}


def _spoilt(
    liar: Person,
    transcript: Transcript,
    random: Random,
    spoil: Callable[[DkgDealing, int, bytes], bytes],
) -> Told:
    """An otherwise honest dealing with bad ciphertexts for some receivers."""
    honest = _honest_dealing(liar, transcript)
    if honest is None:
        return []
    holders = transcript.holders
    victims = sorted(random.sample(holders, random.randint(1, len(holders))))
    ciphertexts = tuple(
        spoil(honest, holder, sealed) if holder in victims else sealed
        for holder, sealed in zip(holders, honest.ciphertexts, strict=True)
    )
    return [Lie(replace(honest, ciphertexts=ciphertexts), Fate.BAD_SHARE, tuple(victims))]


def _honest_dealing(liar: Person, transcript: Transcript) -> DkgDealing | None:
    for message in liar.owes(transcript):
        if isinstance(message, DkgDealing):
            return message
    return None


def _dealer(liar: Person, transcript: Transcript) -> int:
    return liar.index_in(transcript.dealers)


def _key(transcript: Transcript, receiver: int, dealer: int) -> bytes:
    announced = transcript.keys_of(receiver)
    assert announced is not None
    return announced.keys[dealer]


def _sealed(
    transcript: Transcript, dealer: int, receiver: int, value: bytes, info: bytes, random: Random
) -> bytes:
    recipient = _key(transcript, receiver, dealer)
    return sealing.seal(random.randbytes(32), recipient, value, info)
