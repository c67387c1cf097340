"""Key generation and resharing by docs/PROTOCOL.md, section 5: nothing of ours is imported here.

Only the standard library, py_ecc for G2 and `cryptography` for HPKE.
"""

from functools import cache
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from eth_typing import BLSSignature
from py_ecc.bls.g2_primitives import G2_to_signature, signature_to_G2
from py_ecc.optimized_bls12_381.optimized_curve import G2, add, curve_order, multiply, neg

from tests.vectors.test_independent import V, b, fields, pack, tagged

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
SESSIONS = V["sessions"]
KINDS = ("genesis", "resharing")


@cache
def point(encoded: str) -> Any:
    return signature_to_G2(BLSSignature(b(encoded)))


def compressed(value: Any) -> str:
    return bytes(G2_to_signature(value)).hex()


def scalar(encoded: str) -> int:
    return int(encoded, 16)


def said(session: Any, tag: str) -> dict[int, Any]:
    """By author; none of these vectors' authors says one thing twice."""
    return {entry["author"]: entry["fields"] for entry in session["log"] if entry["tag"] == tag}


def at(commitments: list[str], x: int) -> Any:
    """The committed polynomial at x, times the generator."""
    value = point(commitments[-1])
    for commitment in reversed(commitments[:-1]):
        value = add(multiply(value, x), point(commitment))
    return value


def opened(session: Any, dealer: int, receiver: int, secret: str) -> int:
    """What the dealing holds for a receiver.  InvalidTag: it cannot be opened."""
    dealing = said(session, "dkg.dealing/1")[dealer]
    context = [b(session["session"]), dealer, receiver, fields(dealing["commitments"])]
    sealed = b(dealing["ciphertexts"][session["holders"].index(receiver)])
    key = X25519PrivateKey.from_private_bytes(b(secret))
    return int.from_bytes(SUITE.decrypt(sealed, key, tagged("dkg.share/1", pack(context))), "big")


@pytest.mark.parametrize("kind", KINDS)
def test_session_ids(kind: str) -> None:
    session = SESSIONS[kind]
    told = [b(session["chain_id"]), session["epoch"], session["attempt"], session["threshold"]]
    told += [fields(session["receivers"])]
    tag = "dkg.session/1"
    if kind == "resharing":
        tag = "dkg.resharing/1"
        told += [fields(session["dealers"]), fields(session["old"])]
    assert tagged(tag, pack(told)).hex() == session["session"]


@pytest.mark.parametrize("kind", KINDS)
def test_messages_are_records_and_keys_those_of_the_one_time_secrets(kind: str) -> None:
    session = SESSIONS[kind]
    for entry in session["log"]:
        assert pack(fields(entry["fields"])).hex() == entry["encoded"]
        assert entry["fields"]["session"] == session["session"]
    for receiver, announced in said(session, "dkg.keys/1").items():
        public = [
            X25519PrivateKey.from_private_bytes(b(secret)).public_key().public_bytes_raw().hex()
            for secret in session["one_time_secrets"][receiver]
        ]
        assert public == announced["keys"]


@pytest.mark.parametrize("kind", KINDS)
def test_dealings_prove_their_secret_and_in_a_resharing_that_it_is_the_old_share(kind: str) -> None:
    session = SESSIONS[kind]
    for dealer, dealing in said(session, "dkg.dealing/1").items():
        commitments, proof = dealing["commitments"], dealing["proof_point"]
        assert len(commitments) == session["threshold"]
        assert len(dealing["ciphertexts"]) == len(session["holders"])
        told = [b(session["session"]), dealer, fields(commitments), b(proof)]
        challenge = int.from_bytes(tagged("dkg.proof-of-knowledge/1", pack(told)), "big")
        left = multiply(G2, scalar(dealing["proof_scalar"]))
        right = multiply(point(commitments[0]), challenge % curve_order)
        assert compressed(add(left, neg(right))) == proof
        if kind == "resharing":
            assert compressed(at(session["old"], dealer + 1)) == commitments[0]


def test_complaints_convict_the_dealer_or_their_author() -> None:
    session = SESSIONS["genesis"]
    for entry in session["log"]:
        if entry["tag"] != "dkg.complaint/1":
            continue
        dealer, secret = entry["fields"]["dealer"], entry["fields"]["secret_key"]
        assert secret == session["one_time_secrets"][entry["author"]][dealer]
        try:
            value = opened(session, dealer, entry["author"], secret)
        except InvalidTag:
            assert entry["proven"] == 1 and dealer not in session["qualified"]
            continue
        commitments = said(session, "dkg.dealing/1")[dealer]["commitments"]
        assert entry["proven"] == 0
        assert compressed(multiply(G2, value)) == compressed(at(commitments, entry["author"] + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_shares_and_commitments_are_the_weighted_sums_of_the_first_dealings(kind: str) -> None:
    session = SESSIONS[kind]
    convicted = {entry["fields"]["dealer"] for entry in session["log"] if entry.get("proven") == 1}
    standing = [dealer for dealer in said(session, "dkg.dealing/1") if dealer not in convicted]
    needed = len(session["old"]) or session["threshold"]
    chosen = standing[:needed]
    assert chosen == session["qualified"]
    weights = dict.fromkeys(chosen, 1)
    if kind == "resharing":
        for d in chosen:
            for m in chosen:
                if m != d:
                    inverse = pow(m - d, -1, curve_order)
                    weights[d] = weights[d] * (m + 1) * inverse % curve_order
    assert list(weights.values()) == [scalar(weight) for weight in session["weights"]]
    shares = [
        sum(
            weights[dealer]
            * opened(session, dealer, receiver, session["one_time_secrets"][receiver][dealer])
            for dealer in chosen
        )
        % curve_order
        for receiver in session["holders"]
    ]
    assert shares == [scalar(share) for share in session["key_shares"]]
    for receiver, share in zip(session["holders"], shares, strict=True):
        promised = at(session["commitments"], receiver + 1)
        assert compressed(multiply(G2, share)) == compressed(promised)


def test_the_key_stays() -> None:
    session = SESSIONS["resharing"]
    assert session["old"] == V["federation_key"]["commitments"]
    assert session["commitments"][0] == V["federation_key"]["federation_key"]


def test_a_key_of_low_order_makes_no_exchange() -> None:
    (case,) = SESSIONS["refused"]
    low = X25519PublicKey.from_public_bytes(b(case["encoded"])[-32:])
    with pytest.raises(ValueError):
        X25519PrivateKey.generate().exchange(low)
