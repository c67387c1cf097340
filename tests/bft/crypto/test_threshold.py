"""t of n make the one signature; whoever spoils it is named."""

from itertools import combinations

import pytest

from bft.codec.canonical import decode, encode
from bft.crypto import bls, shamir, threshold
from bft.crypto.threshold import KeyShare, PublicPolynomial, TooFewShares
from bft.errors import BadSignature, DecodeError, Unavailable
from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies

MESSAGE = b"a certificate"
POLYNOMIAL = (31415, 92653, 58979, 32384, 62643)  # t = 5 of 7; tests may know the secret
PUBLIC = PublicPolynomial(commitments=shamir.commit(POLYNOMIAL))
SHARES = [
    KeyShare(index=index, secret=shamir.evaluate(POLYNOMIAL, index + 1)) for index in range(7)
]
SIGNED = {share.index: threshold.sign_share(share, MESSAGE) for share in SHARES}
SIGNATURE = bls.sign(POLYNOMIAL[0], MESSAGE)
ANOTHER_MESSAGE = threshold.sign_share(SHARES[0], b"another")


def test_every_subset_of_t_shares_makes_the_same_signature() -> None:
    for chosen in combinations(sorted(SIGNED), PUBLIC.threshold):
        shares = {index: SIGNED[index] for index in chosen}
        assert threshold.combine(PUBLIC, MESSAGE, shares) == (SIGNATURE, ())


def test_the_signature_verifies_under_the_federation_key_for_py_ecc_too() -> None:
    bls.verify(PUBLIC.federation_key, SIGNATURE, MESSAGE)
    assert py_ecc_verifies(PUBLIC.federation_key, SIGNATURE, MESSAGE)


def test_fewer_than_t_make_nothing() -> None:
    few = {index: SIGNED[index] for index in range(PUBLIC.threshold - 1)}
    with pytest.raises(TooFewShares) as raised:
        threshold.combine(PUBLIC, MESSAGE, few)
    assert raised.value.bad == () and isinstance(raised.value, Unavailable)
    assert shamir.interpolate_at_zero(
        [(index + 1, bls.load_g1(share)) for index, share in few.items()]
    ) != bls.load_g1(SIGNATURE)


def test_a_share_verifies_for_its_own_replica_and_message_only() -> None:
    threshold.verify_share(PUBLIC, 2, SIGNED[2], MESSAGE)
    for index, message in ((3, MESSAGE), (2, b"another")):
        with pytest.raises(BadSignature):
            threshold.verify_share(PUBLIC, index, SIGNED[2], message)


@pytest.mark.parametrize(
    "spoiled",
    [ANOTHER_MESSAGE, SIGNED[1], SIGNATURE, b"", b"\xc0" + bytes(47), b"\xe0" + bytes(47)],
)
def test_a_bad_share_is_named_and_the_others_suffice(spoiled: bytes) -> None:
    shares = {**SIGNED, 0: spoiled}
    assert threshold.combine(PUBLIC, MESSAGE, shares) == (SIGNATURE, (0,))


def test_all_of_f_bad_shares_are_named() -> None:
    for first, second in combinations(range(7), 2):
        shares = {**SIGNED, first: ANOTHER_MESSAGE, second: b"nonsense"}
        signature, bad = threshold.combine(PUBLIC, MESSAGE, shares)
        assert signature == SIGNATURE
        assert bad in ((first, second), ())  # () if the first t were good: nobody looked
        assert threshold.bad_shares(PUBLIC, MESSAGE, shares) == (first, second)


def test_bad_shares_are_named_even_when_too_few_are_left() -> None:
    shares = {**SIGNED, 0: ANOTHER_MESSAGE, 3: ANOTHER_MESSAGE, 6: ANOTHER_MESSAGE}
    with pytest.raises(TooFewShares) as raised:
        threshold.combine(PUBLIC, MESSAGE, shares)
    assert raised.value.bad == (0, 3, 6)


def test_many_shares_are_searched_by_halves_and_each_bad_one_is_found() -> None:
    polynomial = tuple(range(5, 5 + 13))  # t = 13 of 19
    public = PublicPolynomial(commitments=shamir.commit(polynomial))
    signed = {
        index: bls.sign(shamir.evaluate(polynomial, index + 1), MESSAGE) for index in range(19)
    }
    assert threshold.bad_shares(public, MESSAGE, signed) == ()
    for bad in ((0,), (18,), (3, 9), (0, 1, 2, 16, 17, 18)):
        spoiled = {**signed, **dict.fromkeys(bad, SIGNATURE)}
        assert threshold.bad_shares(public, MESSAGE, spoiled) == bad
        signature, named = threshold.combine(public, MESSAGE, spoiled)
        assert signature == bls.sign(5, MESSAGE) and named in (bad, ())


def test_no_shares_at_all_is_unavailable() -> None:
    with pytest.raises(TooFewShares):
        threshold.combine(PUBLIC, MESSAGE, {})
    assert threshold.bad_shares(PUBLIC, MESSAGE, {}) == ()


def test_one_of_one_is_a_plain_signature() -> None:
    public = PublicPolynomial(commitments=shamir.commit((7,)))
    share = KeyShare(index=0, secret=7)
    shares = {0: threshold.sign_share(share, MESSAGE)}
    assert threshold.combine(public, MESSAGE, shares) == (bls.sign(7, MESSAGE), ())


def test_repr_hides_the_secret() -> None:
    assert str(SHARES[3].secret) not in repr(SHARES[3]) and "index=3" in repr(SHARES[3])


def test_a_public_polynomial_travels_and_its_share_keys_are_the_shares() -> None:
    assert decode(PublicPolynomial, encode(PUBLIC)) == PUBLIC
    for share in SHARES:
        assert PUBLIC.share_key(share.index) == bls.public_key(share.secret)
    with pytest.raises(DecodeError):
        PublicPolynomial(commitments=(b"\xc0" + bytes(95),)).share_key(0)
