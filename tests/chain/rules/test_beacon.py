"""Our beacon is a drand beacon: each verifies the other's."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.crypto import bls, shamir, threshold
from bft.crypto.threshold import KeyShare, PublicPolynomial
from bft.errors import BadSignature
from chain.params import MAIN
from chain.rules.beacon import (
    PERIOD_S_MAX,
    ROUND_MAX,
    ChainInfo,
    chain_info,
    nominal_period_s,
    randomness,
    round_message,
    verify_round,
)
from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies
from tests.chain.federation_fixture import CHAIN_ID, CREATED_S, FEDERATION_KEY, GENESIS

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


def quicknet(beacon_id: bytes) -> ChainInfo:
    info = QUICKNET["info"]
    return ChainInfo(
        federation_key=QUICKNET_KEY,
        period_s=info["period"],
        genesis_s=info["genesis_time"],
        genesis_seed=bytes.fromhex(info["groupHash"]),
        beacon_id=beacon_id,
    )


def test_the_chain_hash_is_drands() -> None:
    assert quicknet(b"quicknet").hash.hex() == QUICKNET["info"]["hash"]


def test_the_default_beacons_name_is_left_out_of_the_hash() -> None:
    """drand, common/chain/info.go: "to keep backward compatibility"."""
    assert quicknet(b"default").hash == quicknet(b"").hash != quicknet(b"other").hash


def test_our_chain_info_follows_from_genesis_and_key() -> None:
    info = chain_info(GENESIS, FEDERATION_KEY)
    assert (info.genesis_seed, info.genesis_s) == (CHAIN_ID, CREATED_S)
    assert info.federation_key == FEDERATION_KEY and info.beacon_id == b"gristmill"


def test_the_nominal_period_is_half_a_cycle_rounded_up_within_32_bits() -> None:
    assert nominal_period_s(MAIN) == 645  # 60 + 900 + 60 + 120 + 60 + 90 s, two rounds
    assert nominal_period_s(replace(MAIN, block_ms=90_001)) == 646
    none = {
        name: 0
        for name in (
            "registration_ms",
            "training_ms",
            "reveal_ms",
            "evaluation_ms",
            "snapshot_ms",
            "block_ms",
        )
    }
    assert nominal_period_s(replace(MAIN, **none)) == 1
    assert nominal_period_s(replace(MAIN, training_ms=2**63 - 1)) == PERIOD_S_MAX
