"""What must be true when a session is over, found by other ways than the product's."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from bft.codec.canonical import decode, encode
from bft.crypto import bls, shamir, threshold
from bft.crypto.threshold import KeyShare, PublicPolynomial, TooFewShares
from bft.dkg.transcript import Transcript

if TYPE_CHECKING:
    from tests.bft.dkg.chaos import Session

MESSAGE = b"a certificate"
SUBSETS = 6


def check(play: Session, done: Transcript) -> None:
    """All of it, and note the new shares of the correct."""
    random = Random(f"{play.chaos.seed}/{play.epoch}/checks")
    same_for_all(play, done, random)
    faults_are_named(play, done)
    enough_spoke(done)
    key = federation_key(done)
    assert done.public.federation_key == key
    play.shares = good_shares(play, done)
    signs(play, done, key, random)
    one_seed_a_session(play)


def same_for_all(play: Session, done: Transcript, random: Random) -> None:
    """Whoever folds the log, from the beginning or from a snapshot, has the same bytes."""
    start = random.choice((0, random.randint(0, len(play.log))))
    transcript = decode(Transcript, encode(play.history[start]))
    for entry in play.log[start:]:
        transcript = entry.take(transcript)
    assert encode(transcript) == encode(done), "two replicas, two transcripts"


def faults_are_named(play: Session, done: Transcript) -> None:
    """Each bad share that a correct receiver looked at has convicted its dealer; nobody else."""
    named = {(fault.key, fault.reason) for fault in done.faults}
    assert all(key in play.bad for key, _ in named), "a correct member is accused"
    for fault in done.faults:
        who = done.dealers if fault.role.name == "DEALER" else done.members
        assert who[fault.index] == fault.key and fault.evidence
    ready = {done.members[at] for at in done.ready}
    for (session, dealer), victims in play.bad_shares.items():
        looked = [key for key in victims if key not in play.bad and key in ready]
        if session == done.session and looked:
            assert (dealer, b"bad-share") in named, "a bad share without a name"


def enough_spoke(done: Transcript) -> None:
    """However early the clocks ran out: t receivers with keys, t that are ready, t_old dealings."""
    everybody = len(done.members)
    least = done.threshold if done.old else everybody
    assert len(done.holders) >= least and len(done.ready) >= least
    assert set(done.ready) <= set(done.holders)
    assert len(done.qualified) == (len(done.old) if done.old else done.threshold)
    assert done.old or len(done.dealings) == everybody, "a genesis without all members"


def federation_key(done: Transcript) -> bytes:
    """What the key must be."""
    if done.old:
        return done.old[0]
    out = {fault.key for fault in done.faults if fault.role.name == "DEALER"}
    dealt = [d for d in done.dealings if done.dealers[d.author] not in out]
    first, *others = [bls.load_g2(d.message.commitments[0]) for d in islice(dealt, done.threshold)]
    for other in others:
        first = first + other
    return first.to_compressed_bytes()


def good_shares(play: Session, done: Transcript) -> dict[bytes, KeyShare]:
    """Of every correct member that has one; who was ready in time has one."""
    found = {}
    holders = {done.members[at] for at in done.holders}
    ready = {done.members[at] for at in done.ready}
    for person in play.good:
        if person.key not in done.members:
            continue
        share, refusal = person.share(done)
        if share is None:
            assert play.hasty, f"{person.name} has no share and nobody was hasty: {refusal}"
            assert refusal == ("bad-share" if person.key in holders else "no-share")
            assert person.key not in ready
            continue
        assert bls.public_key(share.secret) == done.public.share_key(share.index)
        found[person.key] = share
    return found


def signs(play: Session, done: Transcript, key: bytes, random: Random) -> None:
    """Any t new shares have the key's secret; fewer, or old ones among them, have not."""
    shares, t = list(play.shares.values()), done.threshold
    if not play.hasty:
        assert len(shares) >= t, "too few correct members have shares"
    if len(shares) < t:
        return
    for _ in range(SUBSETS):
        assert _key_of(random.sample(shares, t)) == key
    signed = {s.index: threshold.sign_share(s, MESSAGE) for s in random.sample(shares, t)}
    signature, bad = threshold.combine(done.public, MESSAGE, signed)
    assert bad == ()
    bls.verify(key, signature, MESSAGE)
    if t > 1:
        assert _key_of(random.sample(shares, t - 1)) != key
        _old_shares_do_not_help(play, done, key, shares, random)


def _old_shares_do_not_help(
    play: Session, done: Transcript, key: bytes, shares: list[KeyShare], random: Random
) -> None:
    """t_new - 1 new shares and old ones at other places, as many as f old members, or more."""
    if not done.old or len(done.old) == 1:
        return
    new = random.sample(shares, done.threshold - 1)
    taken = {share.index for share in new}
    held = [play.chaos.people[k].secrets.share_of(done.epoch - 1) for k in done.dealers]
    old = [share for share in held if share is not None and share.index not in taken]
    old = old[: len(done.old) - 1]
    for count in {1, len(old)} - {0}:
        mixed = [*new, *old[:count]]
        for size in {done.threshold, len(done.old), len(mixed)}:
            if size <= len(mixed) and old:
                assert _key_of(mixed[-size:]) != key, "old and new shares make the key"
    if old:
        signed = {s.index: threshold.sign_share(s, MESSAGE) for s in [*new, old[0]]}
        for public in (done.public, PublicPolynomial(commitments=done.old)):
            if len(signed) >= public.threshold:
                _combines_not(public, signed)


def _combines_not(public: PublicPolynomial, signed: dict[int, bytes]) -> None:
    try:
        threshold.combine(public, MESSAGE, signed)
    except TooFewShares:
        return
    raise AssertionError("old and new shares combine")


def _key_of(shares: list[KeyShare]) -> bytes:
    """The public key of what these shares interpolate to."""
    multipliers = shamir.lagrange_at_zero([share.index + 1 for share in shares])
    secret = sum(m * s.secret for m, s in zip(multipliers, shares, strict=True)) % bls.ORDER
    return bls.public_key(secret)


def one_seed_a_session(play: Session) -> None:
    """No one-time key is announced in two sessions, or by two members that are correct."""
    announced = [
        key
        for entry in play.log
        if entry.message is not None and entry.author not in play.bad
        for key in getattr(entry.message, "keys", ())
    ]
    assert len(set(announced)) == len(announced), "a one-time key twice"
