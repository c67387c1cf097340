"""A sharing of the same key for other members: the key stays, old and new shares do not mix."""

from itertools import combinations

import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode, encode
from bft.crypto import bls, threshold
from bft.dkg.dealing import Verdict, deal
from bft.dkg.fold import apply, close, expire, hear
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgReady, Phase, Role
from bft.dkg.participant import key_share, owed
from bft.dkg.secrets import Secrets, for_session
from bft.dkg.transcript import Transcript, open_resharing, open_session
from bft.errors import Refused
from bft.quorum import strong
from tests.bft.dkg.ceremony import CHAIN_ID, opened, say_all, until
from tests.bft.dkg.resharing import (
    GENESIS,
    KEYS_OF_ALL,
    OLD,
    at,
    new_shares,
    reshared,
    run,
    said,
    secrets,
)


@pytest.mark.parametrize(
    "new", [(0, 1, 2, 3), (0, 1, 2, 4), (3, 2, 1, 0), tuple(range(7)), (4, 5, 6, 7), (2,), (5,)]
)
def test_the_key_stays_and_any_t_new_shares_sign_under_it(new: tuple[int, ...]) -> None:
    transcript = run(reshared(new))
    public, message = transcript.public, b"a certificate"
    assert public.federation_key == GENESIS.public.federation_key
    assert public.threshold == strong(len(new)) and transcript.faults == ()
    signed = {s.index: threshold.sign_share(s, message) for s in new_shares(transcript)}
    expected = {s.index: threshold.sign_share(s, message) for s in OLD}
    signature, _ = threshold.combine(GENESIS.public, message, expected)
    for chosen in combinations(sorted(signed), public.threshold):
        made = threshold.combine(public, message, {index: signed[index] for index in chosen})
        assert made == (signature, ())


def test_a_refresh_makes_every_share_another() -> None:
    fresh = new_shares(run(reshared((0, 1, 2, 3))))
    assert all(old.secret != new.secret for old, new in zip(OLD, fresh, strict=True))


def test_old_and_new_shares_together_sign_nothing() -> None:
    transcript, message = run(reshared((0, 1, 2, 3))), b"a certificate"
    old = {share.index: threshold.sign_share(share, message) for share in OLD}
    new = {s.index: threshold.sign_share(s, message) for s in new_shares(transcript)}
    for mixed in ({**new, 0: old[0], 1: old[1]}, {**old, 0: new[0], 1: new[1]}):
        for public in (GENESIS.public, transcript.public):
            with pytest.raises(threshold.TooFewShares):
                threshold.combine(public, message, mixed)
    bls.verify(
        GENESIS.public.federation_key,
        threshold.combine(transcript.public, message, new)[0],
        message,
    )


def test_who_leaves_deals_and_who_joins_receives() -> None:
    transcript = run(reshared((1, 2, 3, 4)))
    assert [dealt.author for dealt in transcript.dealings] == [0, 1, 2, 3]
    assert transcript.holders == (0, 1, 2, 3)
    assert new_shares(transcript)[3].index == 3


@pytest.mark.parametrize("silent", [(0,), (4,), (3,), (0, 4)])
def test_it_goes_on_without_f_silent_receivers_and_dealers(silent: tuple[int, ...]) -> None:
    transcript = run(reshared((1, 2, 3, 4)), silent)
    assert transcript.phase is Phase.DONE
    left = [who for who in (1, 2, 3, 4) if who not in silent]
    assert [transcript.members[at] for at in transcript.holders] == [KEYS_OF_ALL[w] for w in left]
    message = b"a certificate"
    signed = {s.index: threshold.sign_share(s, message) for s in new_shares(transcript, silent)}
    threshold.combine(transcript.public, message, signed)


def test_a_receiver_that_announced_nothing_has_no_share() -> None:
    transcript = run(reshared((1, 2, 3, 4)), (4,))
    with pytest.raises(Refused) as raised:
        key_share(transcript, 3, secrets(transcript, 4))
    assert raised.value.code == "no-share"


@pytest.mark.parametrize("silent", [(0, 1), (3, 4)])
def test_too_few_fail_the_attempt_and_are_named(silent: tuple[int, ...]) -> None:
    transcript = run(reshared((1, 2, 3, 4)), silent)
    assert transcript.phase is Phase.FAILED
    missing = {KEYS_OF_ALL[who] for who in silent}
    assert set(transcript.missing) <= missing and transcript.missing != ()
    following = expire(transcript)
    assert (following.attempt, following.missing) == (1, transcript.missing)
    assert following.session != transcript.session
    assert run(following).public.federation_key == GENESIS.public.federation_key


def test_a_session_that_is_over_is_not_closed() -> None:
    done = run(reshared((0, 1, 2, 3)))
    with pytest.raises(Refused) as raised:
        close(done)
    assert raised.value.code == "over"
    with pytest.raises(Refused):
        apply(done, 0, said(reshared((0, 1, 2, 3)), 0)[0])


# What is refused, and what is void at once


def test_a_dealing_of_anything_but_the_old_share_is_void_without_any_complaint() -> None:
    transcript = at(Phase.DEALING)
    recipients = tuple((said.author, said.message.keys[1]) for said in transcript.keys)
    another = deal(bytes(32), transcript.session, 1, recipients, 3, OLD[1].secret + 1)
    after = apply(transcript, 1, another)
    assert after.dealings[0].verdict is Verdict.NOT_ITS_SHARE
    (fault,) = after.faults
    assert (fault.role, fault.index, fault.key) == (Role.DEALER, 1, KEYS_OF_ALL[1])
    assert (fault.reason, fault.evidence) == (b"void-dealing", (another,))
    assert run(after).public.federation_key == GENESIS.public.federation_key


def test_a_member_without_its_old_share_or_with_another_deals_nothing() -> None:
    transcript = at(Phase.DEALING)
    seeded = for_session(transcript.session, bytes(32))
    for held in (seeded, seeded.with_share(0, OLD[2]), seeded.with_share(1, OLD[1])):
        assert owed(transcript, None, 1, held) == ()
    assert len(owed(transcript, None, 1, seeded.with_share(0, OLD[1]))) == 1


def test_messages_count_only_from_who_has_the_role() -> None:
    keys, dealing = at(Phase.KEYS), at(Phase.DEALING)
    (announcement,), (dealt,) = said(keys, 4), said(dealing, 0)
    for transcript, key, message in (
        (keys, KEYS_OF_ALL[0], announcement),  # deals, receives nothing
        (dealing, KEYS_OF_ALL[4], dealt),  # receives, deals nothing
        (keys, KEYS_OF_ALL[9], announcement),
    ):
        with pytest.raises(Refused) as raised:
            hear(transcript, key, message)
        assert raised.value.code == "not-a-member"


def test_who_announced_no_keys_neither_complains_nor_is_ready() -> None:
    transcript = at(Phase.COMPLAINT, silent=(4,))
    assert (
        transcript.awaited == (0, 1, 2) and owed(transcript, 3, None, secrets(transcript, 4)) == ()
    )
    for message in (
        DkgReady(session=transcript.session, phase=Phase.COMPLAINT),
        DkgComplaint(session=transcript.session, dealer=0, secret_key=bytes([1] * 32)),
    ):
        with pytest.raises(Refused) as raised:
            apply(transcript, 3, message)
        assert raised.value.code == "no-keys"


def test_a_dealing_has_one_ciphertext_for_each_receiver_with_keys() -> None:
    transcript = at(Phase.DEALING, silent=(4,))
    (dealt,) = said(transcript, 1)
    assert isinstance(dealt, DkgDealing) and len(dealt.ciphertexts) == 3
    longer = replace(dealt, ciphertexts=(*dealt.ciphertexts, bytes(80)))
    assert apply(transcript, 1, longer).dealings[0].verdict is Verdict.WRONG_CIPHERTEXT_COUNT


def test_a_resharing_session_is_that_of_its_dealers_and_of_the_old_sharing_too() -> None:
    old = GENESIS.public.commitments
    variants = [
        open_resharing(CHAIN_ID, 1, 0, KEYS_OF_ALL[:4], 3, KEYS_OF_ALL[:4], old),
        open_resharing(CHAIN_ID, 1, 0, KEYS_OF_ALL[:4], 3, KEYS_OF_ALL[3::-1], old),
        open_resharing(CHAIN_ID, 1, 0, KEYS_OF_ALL[:4], 3, KEYS_OF_ALL[:5], old),
        open_resharing(CHAIN_ID, 1, 0, KEYS_OF_ALL[:4], 3, KEYS_OF_ALL[:4], old[:2]),
        open_resharing(CHAIN_ID, 1, 1, KEYS_OF_ALL[:4], 3, KEYS_OF_ALL[:4], old),
        open_resharing(CHAIN_ID, 1, 0, KEYS_OF_ALL[:4], 2, KEYS_OF_ALL[:4], old),
        open_session(CHAIN_ID, 1, 0, KEYS_OF_ALL[:4], 3),
    ]
    assert len({transcript.session for transcript in variants}) == len(variants)


@pytest.mark.parametrize(
    ("dealers", "old"), [((), ()), (KEYS_OF_ALL[:1] * 2, (bytes(96),)), (KEYS_OF_ALL[:4], ())]
)
def test_a_resharing_without_sense_is_not_opened(
    dealers: tuple[bytes, ...], old: tuple[bytes, ...]
) -> None:
    with pytest.raises(ValueError):
        open_resharing(CHAIN_ID, 1, 0, KEYS_OF_ALL[:4], 3, dealers, old)


def test_a_restarted_replica_says_the_same_bytes_again() -> None:
    for phase in (Phase.KEYS, Phase.DEALING, Phase.COMPLAINT):
        transcript = at(phase)
        kept = decode(Transcript, encode(transcript))
        assert kept == transcript
        for who in (1, 4):
            again = decode(Secrets, encode(secrets(transcript, who)))
            assert again == secrets(transcript, who)
            assert encode(said(kept, who)) == encode(said(transcript, who))


def test_as_many_as_the_threshold_must_be_ready_before_the_clocks_may_close() -> None:
    transcript = at(Phase.COMPLAINT)
    for ready in range(1, 4):
        index = ready - 1
        (message,) = said(transcript, index + 1)
        transcript = apply(transcript, index, message)
        closed = close(transcript)
        assert (closed.phase is Phase.DONE) == (ready >= 3)
        if ready < 3:
            assert closed.phase is Phase.FAILED and closed.missing == transcript.members[ready:]


@pytest.mark.parametrize("phase", [Phase.KEYS, Phase.DEALING, Phase.COMPLAINT])
def test_a_genesis_session_that_is_closed_with_one_silent_member_has_failed(phase: Phase) -> None:
    transcript = say_all(until(opened(4), phase), [0, 1, 3])
    closed = close(transcript)
    assert closed.phase is Phase.FAILED and closed.missing == (closed.members[2],)
    assert expire(closed) == expire(transcript)
