"""No secret of a dealing is used twice, and a sealed share fits one place only."""

from itertools import product

import pytest

from bft.crypto import bls, sealing, shamir
from bft.dkg import dealing as dealings
from bft.dkg.dealing import Verdict, deal, judge, open_share
from bft.errors import DecodeError

SEED, SESSION = bytes([1] * 32), bytes([2] * 32)
SECRET_KEYS = [bytes([10 + receiver] * 32) for receiver in range(4)]
RECIPIENTS = tuple(enumerate(sealing.sealing_key(secret) for secret in SECRET_KEYS))
DEALING = deal(SEED, SESSION, 0, RECIPIENTS, 3)


def open_own(receiver: int, secret_key: bytes) -> int:
    return open_share(DEALING, 0, receiver, DEALING.ciphertexts[receiver], secret_key)


def test_every_receiver_opens_its_value_and_any_t_values_are_the_secret() -> None:
    assert judge(DEALING, 0, 4, 3) is Verdict.STANDS
    values = [open_own(receiver, SECRET_KEYS[receiver]) for receiver in range(4)]
    for left_out in range(4):
        receivers = [receiver for receiver in range(4) if receiver != left_out]
        multipliers = shamir.lagrange_at_zero([receiver + 1 for receiver in receivers])
        secret = sum(
            m * values[receiver] for m, receiver in zip(multipliers, receivers, strict=True)
        )
        assert bls.public_key(secret % bls.ORDER) == DEALING.commitments[0]


def test_nobody_opens_anothers_share() -> None:
    for receiver, other in product(range(4), range(4)):
        if receiver != other:
            with pytest.raises(DecodeError):
                open_own(receiver, SECRET_KEYS[other])


def test_a_sealed_share_is_bound_to_session_dealer_receiver_and_commitments() -> None:
    commitments = DEALING.commitments
    infos = {
        dealings.share_info(SESSION, 0, 0, commitments),
        dealings.share_info(bytes(32), 0, 0, commitments),
        dealings.share_info(SESSION, 1, 0, commitments),
        dealings.share_info(SESSION, 0, 1, commitments),
        dealings.share_info(SESSION, 0, 0, commitments[:-1]),
    }
    assert len(infos) == 5


def test_no_secret_scalar_of_a_dealing_serves_twice() -> None:
    """A nonce that is a coefficient, or comes again, would give the secret away."""
    others = [
        deal(SEED, bytes(32), 0, RECIPIENTS, 3),
        deal(SEED, SESSION, 0, RECIPIENTS, 4),
        deal(bytes(32), SESSION, 0, RECIPIENTS, 3),
    ]
    points = [*DEALING.commitments, DEALING.proof_point]
    assert len(set(points)) == len(points)
    assert DEALING.proof_point not in [other.proof_point for other in others]
    assert not {*points} & {*others[0].commitments, *others[2].commitments}


def test_an_ephemeral_key_seals_one_share_only() -> None:
    """Also if the same seed is asked to deal to other recipients in the same session."""
    others = tuple((receiver, RECIPIENTS[3 - receiver][1]) for receiver in range(4))
    again = deal(SEED, SESSION, 0, others, 3)
    sealed = [*DEALING.ciphertexts, *again.ciphertexts]
    assert len({ciphertext[:32] for ciphertext in sealed}) == 8


def test_the_same_seed_deals_the_same_bytes() -> None:
    assert deal(SEED, SESSION, 0, RECIPIENTS, 3) == DEALING
