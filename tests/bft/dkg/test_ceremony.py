"""Whole ceremonies: a key that everybody can sign with and nobody knows."""

from itertools import combinations
from random import Random

import pytest

from bft.codec.canonical import decode, encode
from bft.crypto import bls, threshold
from bft.dkg.fold import apply, expire
from bft.dkg.messages import DkgComplaint, DkgReady, Phase
from bft.dkg.participant import key_share
from bft.dkg.transcript import Transcript
from bft.errors import Refused
from tests.bft.dkg.ceremony import (
    blamed,
    deal_all,
    honest_dealing,
    opened,
    said_by,
    say_all,
    secrets_of,
    shares,
    until,
    with_bad_share,
    with_ciphertext,
)


def signatures_agree(transcript: Transcript) -> None:
    """Every t of n make one signature, valid under the federation key."""
    public, message = transcript.public, transcript.session
    signed = {s.index: threshold.sign_share(s, message) for s in shares(transcript)}
    made = {
        threshold.combine(public, message, {index: signed[index] for index in chosen})
        for chosen in combinations(sorted(signed), public.threshold)
    }
    ((signature, bad),) = made
    assert bad == ()
    bls.verify(public.federation_key, signature, message)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_a_ceremony_ends_with_a_key_that_any_t_members_sign_with(n: int) -> None:
    transcript = until(opened(n), Phase.DONE)
    assert blamed(transcript) == () and transcript.public.threshold == 2 * ((n - 1) // 3) + 1
    signatures_agree(transcript)


def test_each_share_is_the_one_that_the_public_polynomial_promises() -> None:
    transcript = until(opened(4), Phase.DONE)
    for share in shares(transcript):
        assert bls.public_key(share.secret) == transcript.public.share_key(share.index)


def test_the_first_t_surviving_dealings_in_log_order_qualify() -> None:
    transcript = until(opened(4), Phase.DEALING)
    for dealer in (3, 1, 0, 2):
        transcript = apply(transcript, dealer, honest_dealing(transcript, dealer))
    assert [dealt.author for dealt in transcript.qualified] == [3, 1, 0]
    signatures_agree(until(transcript, Phase.DONE))


@pytest.mark.parametrize("order_seed", range(5))
def test_whoever_speaks_first_all_agree(order_seed: int) -> None:
    random, transcript = Random(order_seed), opened(4)
    while transcript.phase is not Phase.DONE:
        transcript = say_all(transcript, random.sample(transcript.awaited, 1))
    signatures_agree(transcript)


def test_a_restarted_member_says_the_same_bytes_again() -> None:
    transcript = opened(4)
    for phase in (Phase.KEYS, Phase.DEALING, Phase.COMPLAINT):
        transcript = until(transcript, phase)
        first, second = (said_by(transcript, 2) for _ in range(2))
        assert encode(first) == encode(second) and len(first) == 1
        transcript = say_all(transcript, [2])
        assert said_by(transcript, 2) == ()


def test_two_ceremonies_of_the_same_members_make_different_keys() -> None:
    first = until(opened(4), Phase.DONE)
    second = until(expire(opened(4)), Phase.DONE)
    assert first.public.federation_key != second.public.federation_key


def test_the_transcript_survives_a_snapshot_in_every_phase() -> None:
    transcript = opened(4)
    for phase in (Phase.KEYS, Phase.DEALING, Phase.COMPLAINT, Phase.DONE):
        transcript = until(transcript, phase)
        assert decode(Transcript, encode(transcript)) == transcript


# A bad dealer


@pytest.mark.parametrize("n", [4, 7])
def test_a_bad_share_is_proven_its_dealer_is_out_and_a_key_still_forms(n: int) -> None:
    transcript = until(opened(n), Phase.DEALING)
    transcript = deal_all(transcript, {1: with_bad_share(transcript, dealer=1, victim=2)})
    (complaint,) = said_by(transcript, 2)
    assert isinstance(complaint, DkgComplaint) and complaint.dealer == 1
    transcript = apply(transcript, 2, complaint)
    assert blamed(transcript) == ((1, b"bad-share"),)
    transcript = until(transcript, Phase.DONE)
    assert 1 not in [dealt.author for dealt in transcript.qualified]
    signatures_agree(transcript)


@pytest.mark.parametrize("sealed", [bytes(80), b"\xff" * 80])
def test_a_ciphertext_that_does_not_open_is_a_bad_share(sealed: bytes) -> None:
    transcript = until(opened(4), Phase.DEALING)
    bad = with_ciphertext(honest_dealing(transcript, 0), 3, sealed)
    transcript = until(deal_all(transcript, {0: bad}), Phase.DONE)
    assert blamed(transcript) == ((0, b"bad-share"),)
    signatures_agree(transcript)


def test_a_member_is_ready_only_when_its_complaints_are_ordered() -> None:
    """Otherwise the last "ready" could close the phase before the complaint comes."""
    transcript = until(opened(4), Phase.DEALING)
    transcript = deal_all(transcript, {1: with_bad_share(transcript, dealer=1, victim=2)})
    transcript = say_all(transcript, [0, 1, 3])
    assert transcript.phase is Phase.COMPLAINT and transcript.awaited == (2,)
    transcript = say_all(transcript, [2])
    (ready,) = said_by(transcript, 2)
    assert isinstance(ready, DkgReady)
    assert say_all(transcript, [2]).phase is Phase.DONE


def test_two_victims_of_one_dealer_need_one_complaint() -> None:
    transcript = until(opened(4), Phase.DEALING)
    bad = with_bad_share(transcript, dealer=1, victim=2)
    bad = with_ciphertext(bad, 3, bytes(80))
    transcript = say_all(deal_all(transcript, {1: bad}), [2])
    (ready,) = said_by(transcript, 3)
    assert isinstance(ready, DkgReady)


def test_a_member_that_was_ready_in_spite_of_a_bad_share_learns_it() -> None:
    transcript = until(opened(4), Phase.DEALING)
    transcript = deal_all(transcript, {0: with_bad_share(transcript, dealer=0, victim=2)})
    for author in range(4):
        ready = DkgReady(session=transcript.session, phase=Phase.COMPLAINT)
        transcript = apply(transcript, author, ready)
    assert transcript.phase is Phase.DONE
    with pytest.raises(Refused, match="dealer 0"):
        key_share(transcript, 2, secrets_of(transcript, 2))


# A liar, and a silent one


def test_a_false_complaint_stands_against_its_author_and_changes_nothing_else() -> None:
    transcript = until(opened(4), Phase.COMPLAINT)
    surviving = transcript.surviving
    transcript = apply(transcript, 3, complaint_of(transcript, author=3, dealer=0))
    assert blamed(transcript) == ((3, b"false-complaint"),)
    assert transcript.surviving == surviving
    signatures_agree(until(transcript, Phase.DONE))


def complaint_of(transcript: Transcript, author: int, dealer: int) -> DkgComplaint:
    """What `author` would say if it found a bad share of `dealer`, found by making it see one."""
    pretended = until(opened(4), Phase.DEALING)
    bad = with_bad_share(pretended, dealer=dealer, victim=author)
    (complaint,) = said_by(deal_all(pretended, {dealer: bad}), author)
    assert isinstance(complaint, DkgComplaint) and complaint.session == transcript.session
    return complaint


@pytest.mark.parametrize("phase", [Phase.KEYS, Phase.DEALING, Phase.COMPLAINT])
def test_a_silent_member_is_named_when_the_phase_expires_and_all_begin_anew(phase: Phase) -> None:
    transcript = until(opened(4), phase)
    transcript = say_all(transcript, [0, 1, 3])
    assert transcript.phase is phase and transcript.awaited == (2,)
    following = expire(transcript)
    assert (following.attempt, following.phase) == (1, Phase.KEYS)
    assert following.missing == (transcript.members[2],)
    assert following.session != transcript.session
    signatures_agree(until(following, Phase.DONE))


def test_too_many_bad_dealings_fail_the_attempt_and_the_next_one_succeeds() -> None:
    transcript = until(opened(4), Phase.DEALING)
    transcript = deal_all(
        transcript,
        {
            0: with_bad_share(transcript, dealer=0, victim=2),
            1: with_bad_share(transcript, dealer=1, victim=2),
        },
    )
    first, second = said_by(transcript, 2)
    transcript = apply(transcript, 2, first)
    assert transcript.phase is Phase.COMPLAINT
    transcript = apply(transcript, 2, second)
    assert transcript.phase is Phase.FAILED and transcript.awaited == ()
    assert all(said_by(transcript, index) == () for index in range(4))
    assert blamed(transcript) == (
        (0, b"bad-share"),
        (1, b"bad-share"),
    )
    following = expire(transcript)
    assert following.missing == ()
    signatures_agree(until(following, Phase.DONE))


def test_a_session_that_is_done_does_not_expire() -> None:
    with pytest.raises(Refused) as raised:
        expire(until(opened(4), Phase.DONE))
    assert raised.value.code == "done"
