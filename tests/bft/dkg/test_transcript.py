"""What the fold refuses, and that a refusal changes nothing."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.dkg.dealing import Verdict
from bft.dkg.fold import apply
from bft.dkg.messages import (
    MEMBERS_MAX,
    DkgComplaint,
    DkgDealing,
    DkgKeys,
    DkgReady,
    Message,
    Phase,
)
from bft.dkg.transcript import Transcript, open_session
from bft.errors import Refused
from tests.bft.dkg.ceremony import (
    CHAIN_ID,
    blamed,
    deal_all,
    honest_dealing,
    members,
    opened,
    said_by,
    say_all,
    until,
    with_bad_share,
)

KEYS = opened(4)
DEALING = until(KEYS, Phase.DEALING)
COMPLAINT = until(DEALING, Phase.COMPLAINT)
DONE = until(COMPLAINT, Phase.DONE)
ANNOUNCED = said_by(KEYS, 0)[0]
DEALT = honest_dealing(DEALING, 0)
READY = DkgReady(session=KEYS.session, phase=Phase.COMPLAINT)
ACCUSED = deal_all(DEALING, {1: with_bad_share(DEALING, dealer=1, victim=2)})
COMPLAINT_OF_2 = said_by(ACCUSED, 2)[0]
CONVICTED = apply(ACCUSED, 2, COMPLAINT_OF_2)
FALSE = apply(COMPLAINT, 2, COMPLAINT_OF_2)


def refusal(transcript: Transcript, author: int, message: Message) -> str:
    """The code of the refusal, which has changed nothing."""
    before = encode(transcript)
    with pytest.raises(Refused) as raised:
        apply(transcript, author, message)
    assert encode(transcript) == before
    return raised.value.code


@pytest.mark.parametrize(
    ("transcript", "message"),
    [
        (KEYS, DEALT),
        (KEYS, READY),
        (KEYS, COMPLAINT_OF_2),
        (DEALING, ANNOUNCED),
        (DEALING, READY),
        (DEALING, COMPLAINT_OF_2),
        (COMPLAINT, ANNOUNCED),
        (COMPLAINT, DEALT),
        (COMPLAINT, replace(READY, phase=Phase.DEALING)),
        (DONE, ANNOUNCED),
        (DONE, DEALT),
        (DONE, READY),
        (DONE, COMPLAINT_OF_2),
    ],
)
def test_a_message_of_another_phase_is_refused(transcript: Transcript, message: Message) -> None:
    assert refusal(transcript, 0, message) == "wrong-phase"


@pytest.mark.parametrize(
    ("transcript", "author", "message"),
    [
        (say_all(KEYS, [0]), 0, ANNOUNCED),
        (say_all(DEALING, [0]), 0, DEALT),
        (say_all(COMPLAINT, [0]), 0, READY),
        (FALSE, 2, COMPLAINT_OF_2),
    ],
)
def test_what_was_said_once_is_refused_the_second_time(
    transcript: Transcript, author: int, message: Message
) -> None:
    assert refusal(transcript, author, message) == "twice"


@pytest.mark.parametrize(
    ("transcript", "message"),
    [(KEYS, ANNOUNCED), (DEALING, DEALT), (COMPLAINT, READY), (ACCUSED, COMPLAINT_OF_2)],
)
def test_a_message_of_another_session_is_refused(transcript: Transcript, message: Message) -> None:
    assert refusal(replace(transcript, attempt=1), 0, message) == "wrong-session"


@pytest.mark.parametrize("author", [-1, 4, 2**16])
def test_who_is_no_member_is_refused(author: int) -> None:
    assert refusal(KEYS, author, ANNOUNCED) == "not-a-member"


def test_a_session_is_that_of_its_chain_epoch_attempt_members_and_threshold() -> None:
    variants = [
        open_session(CHAIN_ID, 0, 0, members(4), 3),
        open_session(bytes(32), 0, 0, members(4), 3),
        open_session(CHAIN_ID, 1, 0, members(4), 3),
        open_session(CHAIN_ID, 0, 1, members(4), 3),
        open_session(CHAIN_ID, 0, 0, members(4)[::-1], 3),
        open_session(CHAIN_ID, 0, 0, members(5), 3),
        open_session(CHAIN_ID, 0, 0, members(4), 2),
    ]
    assert len({transcript.session for transcript in variants}) == len(variants)


@pytest.mark.parametrize(
    ("those", "threshold"),
    [((), 1), (members(4) + members(1), 3), (members(4), 0), (members(4), 5)],
)
def test_a_session_without_sense_is_not_opened(those: tuple[bytes, ...], threshold: int) -> None:
    with pytest.raises(ValueError):
        open_session(CHAIN_ID, 0, 0, those, threshold)


def test_a_hundred_members_may_hold_a_ceremony_and_no_more() -> None:
    many = tuple(b"\x02" + index.to_bytes(32, "big") for index in range(MEMBERS_MAX + 1))
    assert open_session(CHAIN_ID, 0, 0, many[:-1], 67).awaited == tuple(range(MEMBERS_MAX))
    with pytest.raises(ValueError):
        open_session(CHAIN_ID, 0, 0, many, 67)


# Keys


@pytest.mark.parametrize(
    "keys", [(bytes([9] * 32),) * 3, (bytes([9] * 32),) * 5, (bytes([9] * 32),) * 3 + (bytes(32),)]
)
def test_keys_are_one_good_key_for_each_dealer(keys: tuple[bytes, ...]) -> None:
    assert refusal(KEYS, 0, DkgKeys(session=KEYS.session, keys=keys)) == "malformed"


# Every u of a point of low order, on the curve and its twist, also those at and above the prime.
LOW_ORDER = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


@pytest.mark.parametrize("encoded", LOW_ORDER)
@pytest.mark.parametrize("top_bit", [0x00, 0x80])
def test_a_key_of_low_order_is_refused_by_all(encoded: str, top_bit: int) -> None:
    """The top bit is ignored by X25519, so it makes no other key."""
    point = bytes.fromhex(encoded)
    low = point[:-1] + bytes([point[-1] | top_bit])
    keys = (*(bytes([9] * 32),) * 3, low)
    assert refusal(KEYS, 0, DkgKeys(session=KEYS.session, keys=keys)) == "malformed"


# Dealings


def fewer_commitments(dealing: DkgDealing) -> DkgDealing:
    return replace(dealing, commitments=dealing.commitments[:-1])


def one_commitment_more(dealing: DkgDealing) -> DkgDealing:
    return replace(dealing, commitments=(*dealing.commitments, dealing.commitments[1]))


def fewer_ciphertexts(dealing: DkgDealing) -> DkgDealing:
    return replace(dealing, ciphertexts=dealing.ciphertexts[:-1])


def identity_as_coefficient(dealing: DkgDealing) -> DkgDealing:
    return replace(dealing, commitments=(*dealing.commitments[:-1], b"\xc0" + bytes(95)))


def no_point_in_the_proof(dealing: DkgDealing) -> DkgDealing:
    return replace(dealing, proof_point=b"\xe0" + bytes(95))


def another_secret(dealing: DkgDealing) -> DkgDealing:
    return replace(dealing, commitments=(dealing.commitments[1], *dealing.commitments[1:]))


def unreduced_scalar(dealing: DkgDealing) -> DkgDealing:
    return replace(dealing, proof_scalar=b"\xff" * 32)


@pytest.mark.parametrize(
    ("spoil", "verdict"),
    [
        (fewer_commitments, Verdict.WRONG_COMMITMENT_COUNT),
        (one_commitment_more, Verdict.WRONG_COMMITMENT_COUNT),
        (fewer_ciphertexts, Verdict.WRONG_CIPHERTEXT_COUNT),
        (identity_as_coefficient, Verdict.BAD_POINT),
        (no_point_in_the_proof, Verdict.BAD_POINT),
        (another_secret, Verdict.BAD_PROOF),
        (unreduced_scalar, Verdict.BAD_PROOF),
    ],
)
def test_a_void_dealing_is_recorded_with_its_reason_and_the_others_make_the_key(
    spoil: Callable[[DkgDealing], DkgDealing], verdict: Verdict
) -> None:
    transcript = apply(DEALING, 0, spoil(DEALT))
    assert transcript.dealings[0].verdict is verdict
    assert blamed(transcript) == ((0, b"void-dealing"),)
    assert refusal(transcript, 0, DEALT) == "twice"
    done = until(transcript, Phase.DONE)
    assert [dealt.author for dealt in done.qualified] == [1, 2, 3]


def test_a_copied_dealing_is_void() -> None:
    """The proof of knowledge is bound to its dealer: no rogue or doubled contribution."""
    transcript = apply(DEALING, 1, DEALT)
    assert transcript.dealings[0].verdict is Verdict.BAD_PROOF


def test_too_many_void_dealings_fail_the_attempt() -> None:
    spoiled = {dealer: fewer_ciphertexts(honest_dealing(DEALING, dealer)) for dealer in (0, 1)}
    assert deal_all(DEALING, spoiled).phase is Phase.FAILED


# Complaints


def test_a_complaint_is_about_a_dealing_that_is_there() -> None:
    assert isinstance(COMPLAINT_OF_2, DkgComplaint)
    assert refusal(ACCUSED, 2, replace(COMPLAINT_OF_2, dealer=4)) == "no-such-dealing"


def test_a_complaint_reveals_the_key_that_was_announced_for_this_dealer() -> None:
    assert isinstance(COMPLAINT_OF_2, DkgComplaint)
    for author, message in (
        (2, replace(COMPLAINT_OF_2, secret_key=bytes([1] * 32))),
        (2, replace(COMPLAINT_OF_2, dealer=0)),
        (3, COMPLAINT_OF_2),
    ):
        assert refusal(ACCUSED, author, message) == "not-its-key"


def test_a_dealing_that_is_out_needs_no_second_complaint() -> None:
    also_bad_for_3 = with_bad_share(DEALING, dealer=1, victim=3)
    (complaint_of_3,) = said_by(deal_all(DEALING, {1: also_bad_for_3}), 3)
    assert refusal(CONVICTED, 3, complaint_of_3) == "already-out"


def test_there_is_no_key_before_the_end() -> None:
    for transcript in (KEYS, DEALING, COMPLAINT):
        with pytest.raises(Refused, match="DONE"):
            _ = transcript.public
