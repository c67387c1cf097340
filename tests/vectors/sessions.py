"""Vectors of key generation and resharing: every message of a session, and what it comes to."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto import bls, sealing
from bft.crypto.hashing import sha256
from bft.dkg import dealing as dealings
from bft.dkg.fold import apply, close
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, Message, Phase, Role, role_of
from bft.dkg.participant import key_share, owed
from bft.dkg.secrets import Secrets, for_session
from bft.dkg.transcript import Transcript, open_resharing, open_session
from tests.vectors.cast import CHAIN_ID, PUBLIC, REPLICAS, SHARES, THRESHOLD, identity

MEMBERS = tuple(key.public_key for key in REPLICAS)
JOINER = identity("replica 4")
NEXT = (*MEMBERS[1:], JOINER.public_key)
NAMES = {key: index for index, key in enumerate((*MEMBERS, JOINER.public_key))}
SPEAKING = (*MEMBERS[:2], MEMBERS[3], JOINER.public_key)
"""In the resharing replica 2 is silent."""

IDENTITY_G2 = b"\xc0" + bytes(95)


class Play:
    """A session in which each says what it owes, or what a vector is about."""

    def __init__(self, opening: Transcript) -> None:
        self.opening = self.now = opening
        self.log: list[dict[str, Any]] = []

    def secrets(self, key: bytes) -> Secrets:
        seed = sha256(self.opening.session + b"seed %d" % NAMES[key])
        held = for_session(self.opening.session, seed)
        if self.opening.old and key in MEMBERS:
            held = held.with_share(0, SHARES[MEMBERS.index(key)])
        return held

    def owed(self, key: bytes) -> tuple[Message, ...]:
        receiver = self.now.index_of(key, Role.RECEIVER)
        return owed(self.now, receiver, self.now.index_of(key, Role.DEALER), self.secrets(key))

    def say(self, key: bytes, message: Message) -> None:
        """Ordered and taken."""
        role = role_of(message)
        author = self.now.index_of(key, role)
        assert author is not None
        self.now = apply(self.now, author, message)
        shown: dict[str, Any] = {
            "role": role.name.lower(),
            "author": author,
            "tag": message.TAG,
            "fields": message,
            "encoded": encode(message),
        }
        if isinstance(message, DkgDealing):
            shown["verdict"] = self.now.dealings[-1].verdict.name.lower()
        if isinstance(message, DkgComplaint):
            shown["proven"] = self.now.complaints[-1].proven
        self.log.append(shown)

    def all_say(self, keys: tuple[bytes, ...]) -> None:
        for key in keys:
            for message in self.owed(key):
                self.say(key, message)

    def one_time_secrets(self, key: bytes) -> list[bytes]:
        """In the order of the dealers.  How they are drawn is each replica's own affair."""
        seed = self.secrets(key).seed_for(self.opening.session)
        assert seed is not None
        return [
            sealing.derive(
                seed,
                salt=self.opening.session,
                info=b"gristmill dkg receiver " + dealer.to_bytes(2, "big"),
                size=sealing.KEY_BYTES,
            )
            for dealer in range(len(self.opening.dealers))
        ]

    def shown(self) -> dict[str, Any]:
        """The whole session, for JSON."""
        done, opening = self.now, self.opening
        shares = [
            key_share(done, index, self.secrets(done.members[index])) for index in done.holders
        ]
        return {
            "chain_id": opening.chain_id,
            "epoch": opening.epoch,
            "attempt": opening.attempt,
            "threshold": opening.threshold,
            "receivers": opening.members,
            "dealers": opening.dealers,
            "old": opening.old,
            "session": opening.session,
            "one_time_secrets": [self.one_time_secrets(key) for key in opening.members],
            "log": self.log,
            "holders": done.holders,
            "qualified": [dealt.author for dealt in done.qualified],
            "weights": [bls.scalar_to_bytes(weight) for weight in done.weights],
            "commitments": done.commitments,
            "key_shares": [bls.scalar_to_bytes(share.secret) for share in shares],
        }


def _swapped(dealing: DkgDealing) -> DkgDealing:
    """Receivers 2 and 3 cannot open what is theirs."""
    first, second, third, fourth = dealing.ciphertexts
    return replace(dealing, ciphertexts=(first, second, fourth, third))


def _genesis() -> Play:
    """Dealer 1 seals badly and is out by receiver 2's complaint; receiver 3 lies about dealer 0."""
    play = Play(open_session(CHAIN_ID, 0, 0, MEMBERS, THRESHOLD))
    play.all_say(MEMBERS)
    for index, key in enumerate(MEMBERS):
        (dealt,) = play.owed(key)
        assert isinstance(dealt, DkgDealing)
        play.say(key, _swapped(dealt) if index == 1 else dealt)
    play.all_say(MEMBERS[2:3])
    session, secret = play.opening.session, play.one_time_secrets(MEMBERS[3])[0]
    play.say(MEMBERS[3], DkgComplaint(session=session, dealer=0, secret_key=secret))
    play.all_say(MEMBERS)
    assert play.now.phase is Phase.DONE
    return play


def _resharing() -> Play:
    """Replica 0 leaves, replica 4 joins; replica 2 is silent, and its dealing is not needed."""
    play = Play(open_resharing(CHAIN_ID, 1, 0, NEXT, THRESHOLD, MEMBERS, PUBLIC.commitments))
    for _ in (Phase.KEYS, Phase.DEALING):
        play.all_say(SPEAKING)
        play.now = close(play.now)
    play.all_say(SPEAKING)
    assert play.now.phase is Phase.DONE
    return play


def _void() -> Iterator[dict[str, Any]]:
    """Dealings in the resharing's place of dealer 1, with which it is void at once."""
    play = Play(_resharing().opening)
    play.all_say(SPEAKING)
    play.now = close(play.now)
    (honest,) = play.owed(MEMBERS[1])
    (other,) = play.owed(MEMBERS[2])
    assert isinstance(honest, DkgDealing) and isinstance(other, DkgDealing)
    commitments, ciphertexts = honest.commitments, honest.ciphertexts
    s = int.from_bytes(honest.proof_scalar, "big")
    cases = {
        "a commitment too few": replace(honest, commitments=commitments[:-1]),
        "a ciphertext too many": replace(honest, ciphertexts=(*ciphertexts, ciphertexts[0])),
        "another dealer's dealing": other,
        "the identity for a commitment": replace(
            honest, commitments=(*commitments[:-1], IDENTITY_G2)
        ),
        "no point in the proof": replace(honest, proof_point=b"\xe0" + bytes(95)),
        "a scalar that is not reduced": replace(
            honest, proof_scalar=(s + bls.ORDER).to_bytes(32, "big")
        ),
        "a proof for another point": replace(honest, proof_point=commitments[1]),
    }
    for why, dealing in cases.items():
        verdict = dealings.judge(
            dealing, 1, len(play.now.keys), THRESHOLD, play.now.share_key_of(1)
        )
        assert verdict is not dealings.Verdict.STANDS
        yield {"why": why, "encoded": encode(dealing), "verdict": verdict.name.lower()}


def sessions() -> dict[str, Any]:
    """Section 5."""
    resharing = _resharing()
    low = DkgKeys(session=resharing.opening.session, keys=(bytes([9] * 32),) * 3 + (bytes(32),))
    return {
        "genesis": _genesis().shown(),
        "resharing": resharing.shown(),
        "void": list(_void()),
        "refused": [{"why": "a key of low order", "tag": low.TAG, "encoded": encode(low)}],
    }
