"""Our beacon is a drand beacon: each verifies the other's."""

import json
from pathlib import Path

import pytest

from bft.crypto import bls, shamir, threshold
from bft.crypto.threshold import KeyShare, PublicPolynomial
from bft.errors import BadSignature
from chain.rules.beacon import ROUND_MAX, randomness, round_message, verify_round
from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies

QUICKNET = json.loads(
    (Path(__file__).parents[2] / "vectors/drand/quicknet.json").read_text(encoding="utf-8")
)
QUICKNET_KEY = bytes.fromhex(QUICKNET["info"]["public_key"])
ROUNDS = {row["round"]: bytes.fromhex(row["signature"]) for row in QUICKNET["rounds"]}


def test_the_vectors_are_quicknets_rounds() -> None:
    assert sorted(ROUNDS) == [1000, 10024141]
    assert QUICKNET["info"]["schemeID"] == "bls-unchained-g1-rfc9380"


@pytest.mark.parametrize("number", sorted(ROUNDS))
def test_a_real_drand_round_verifies_under_our_rule(number: int) -> None:
    assert verify_round(QUICKNET_KEY, number, ROUNDS[number]) == randomness(ROUNDS[number])


def test_the_randomness_of_round_1000_is_drands() -> None:
    assert (
        verify_round(QUICKNET_KEY, 1000, ROUNDS[1000]).hex() == QUICKNET["rounds"][0]["randomness"]
    )


def test_a_round_serves_no_other_round_and_no_other_key() -> None:
    for number in (999, 1001, 10024141):
        with pytest.raises(BadSignature):
            verify_round(QUICKNET_KEY, number, ROUNDS[1000])
    with pytest.raises(BadSignature):
        verify_round(bls.public_key(5), 1000, ROUNDS[1000])


def test_a_round_that_our_replicas_signed_verifies_under_py_ecc() -> None:
    polynomial = (271828, 182845, 904523)  # t = 3 of 4
    public = PublicPolynomial(commitments=shamir.commit(polynomial))
    message = round_message(12)
    signed = {
        index: threshold.sign_share(
            KeyShare(index=index, secret=shamir.evaluate(polynomial, index + 1)), message
        )
        for index in (0, 2, 3)
    }
    signature, _ = threshold.combine(public, message, signed)
    verify_round(public.federation_key, 12, signature)
    assert py_ecc_verifies(public.federation_key, signature, message)


@pytest.mark.parametrize("number", [-1, ROUND_MAX + 1])
def test_a_round_that_does_not_fit_is_refused(number: int) -> None:
    round_message(ROUND_MAX)
    with pytest.raises(ValueError):
        round_message(number)
