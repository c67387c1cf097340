"""BLS by the drafts' vectors, by py_ecc, and by what must be refused."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point, G2Point, Scalar
from pyblst import BlstP1Element

from bft.crypto import bls
from bft.errors import BadSignature, DecodeError
from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies

VECTORS = Path(__file__).parents[2] / "vectors"
SECRET = 0x1234567890ABCDEF
KEY = bls.public_key(SECRET)
SIGNATURE = bls.sign(SECRET, b"message")
IDENTITY_G1, IDENTITY_G2 = b"\xc0" + bytes(47), b"\xc0" + bytes(95)
scalars = st.integers(1, bls.ORDER - 1)


def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def outside_the_subgroup(kind: type[G1Point] | type[G2Point], size: int) -> bytes:
    """The first encoding of a point that is on the curve and not in the group."""
    for x in count(1):
        data = b"\x80" + x.to_bytes(size - 1, "big")
        try:
            point = kind.from_compressed_bytes_unchecked(data)
        except ValueError:
            continue
        if not point.is_in_subgroup():
            return data
    raise AssertionError


# Signing and verifying


@settings(max_examples=20)
@given(scalars, st.binary(max_size=100))
def test_what_was_signed_verifies_and_nothing_else_does(secret: int, message: bytes) -> None:
    key, signature = bls.public_key(secret), bls.sign(secret, message)
    bls.verify(key, signature, message)
    with pytest.raises(BadSignature):
        bls.verify(key, signature, message + b"\x00")
    with pytest.raises(BadSignature):
        bls.verify(bls.public_key(secret % (bls.ORDER - 1) + 1), signature, message)


def test_py_ecc_verifies_our_signature() -> None:
    assert py_ecc_verifies(KEY, SIGNATURE, b"message")
    assert not py_ecc_verifies(KEY, SIGNATURE, b"massage")


def test_both_libraries_compute_the_same_signature() -> None:
    assert (bls.hash_to_g1(b"message") * Scalar(SECRET)).to_compressed_bytes() == SIGNATURE
    assert (G2Point() * Scalar(SECRET)).to_compressed_bytes() == KEY


def test_hashing_is_that_of_both_libraries_under_our_tag() -> None:
    assert bls.DST == b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
    for message in (b"", b"message", bytes(1000)):
        assert bls.hash_to_g1(message) == G1Point.hash_to_curve(message, bls.DST)


def test_hashing_gives_the_points_of_rfc_9380() -> None:
    """RFC 9380 J.9.1, the suite that we use, under its own tag."""
    suite = read("rfc9380/BLS12381G1_XMD_SHA-256_SSWU_RO_.json")
    assert len(suite["vectors"]) == 5
    for vector in suite["vectors"]:
        affine = b"".join(int(vector["P"][axis], 16).to_bytes(48, "big") for axis in "xy")
        expected = G1Point.from_xy_bytes_be(affine).to_compressed_bytes()
        hashed = BlstP1Element.hash_to_group(vector["msg"].encode(), suite["dst"].encode())
        assert hashed.compress() == expected


@pytest.mark.parametrize("secret", [0, -1, bls.ORDER, bls.ORDER + 1, 2**256])
def test_a_secret_outside_the_field_signs_nothing(secret: int) -> None:
    with pytest.raises(ValueError):
        bls.sign(secret, b"message")
    with pytest.raises(ValueError):
        bls.public_key(secret)


# Points from outside


@pytest.mark.parametrize("name", sorted(read("bls12-381-tests/deserialization_G1.json")))
def test_g1_is_read_as_ethereum_reads_it_but_for_the_identity(name: str) -> None:
    vector = read("bls12-381-tests/deserialization_G1.json")[name]
    data = bytes.fromhex(vector["input"]["pubkey"].removeprefix("0x"))
    if vector["output"] and data != IDENTITY_G1:
        assert bls.load_g1(data).to_compressed_bytes() == data
    else:
        with pytest.raises(DecodeError):
            bls.load_g1(data)
        with pytest.raises(BadSignature):
            bls.verify(KEY, data, b"message")


@pytest.mark.parametrize("name", sorted(read("bls12-381-tests/deserialization_G2.json")))
def test_g2_is_read_as_ethereum_reads_it_but_for_the_identity(name: str) -> None:
    vector = read("bls12-381-tests/deserialization_G2.json")[name]
    data = bytes.fromhex(vector["input"]["signature"].removeprefix("0x"))
    if vector["output"] and data != IDENTITY_G2:
        assert bls.load_g2(data).to_compressed_bytes() == data
    else:
        with pytest.raises(DecodeError):
            bls.load_g2(data)
        with pytest.raises(BadSignature):
            bls.verify(data, SIGNATURE, b"message")


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        IDENTITY_G1,
        b"\xe0" + bytes(47),  # arkworks takes it for the identity
        b"\xc0" + bytes(46) + b"\x01",  # and this one
        outside_the_subgroup(G1Point, 48),
        SIGNATURE[:-1],
        SIGNATURE + b"\x00",
        bytes(48),
        b"\xff" * 48,
    ],
)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(DecodeError):
        bls.load_g1(signature)
    with pytest.raises(BadSignature):
        bls.verify(KEY, signature, b"message")
    with pytest.raises(BadSignature):
        bls.verify_batch([(KEY, SIGNATURE, b"message"), (KEY, signature, b"message")])


@pytest.mark.parametrize(
    "key",
    [
        b"",
        IDENTITY_G2,
        b"\xe0" + bytes(95),
        b"\xc0" + bytes(94) + b"\x01",
        outside_the_subgroup(G2Point, 96),
        KEY[:-1],
        KEY + b"\x00",
        bytes(96),
    ],
)
def test_what_is_no_key_is_refused(key: bytes) -> None:
    for _ in range(2):  # also the second time, when keys may come from a cache
        with pytest.raises(DecodeError):
            bls.load_g2(key)
        with pytest.raises(BadSignature):
            bls.verify(key, SIGNATURE, b"message")
        with pytest.raises(BadSignature):
            bls.verify_batch([(key, SIGNATURE, b"message")])


def test_the_negated_signature_is_refused() -> None:
    negated = (-bls.load_g1(SIGNATURE)).to_compressed_bytes()
    with pytest.raises(BadSignature):
        bls.verify(KEY, negated, b"message")


# Batches


def batch(secrets: list[int], messages: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    return [
        (bls.public_key(secret), bls.sign(secret, message), message)
        for secret, message in zip(secrets, messages, strict=True)
    ]


@pytest.mark.parametrize(
    ("secrets", "messages"),
    [
        ([5], [b"a"]),
        ([5, 6, 7], [b"a", b"a", b"a"]),  # signature shares over one message
        ([5, 5, 5], [b"a", b"b", b"c"]),  # certificates under one key
        ([5, 6, 5, 7], [b"a", b"b", b"b", b"a"]),
    ],
)
def test_a_batch_passes_if_all_are_valid_and_fails_if_any_is_not(
    secrets: list[int], messages: list[bytes]
) -> None:
    items = batch(secrets, messages)
    bls.verify_batch(items)
    for position, (key, _, message) in enumerate(items):
        forged = [*items]
        forged[position] = (key, bls.sign(99, message), message)
        with pytest.raises(BadSignature):
            bls.verify_batch(forged)


def test_two_bad_signatures_cannot_cancel_each_other() -> None:
    """Their plain sum is right; that is why the coefficients are there."""
    (key_a, first, message), (key_b, second, _) = batch([5, 6], [b"a", b"a"])
    shift = G1Point() * Scalar(1234)
    up = (bls.load_g1(first) + shift).to_compressed_bytes()
    down = (bls.load_g1(second) - shift).to_compressed_bytes()
    with pytest.raises(BadSignature):
        bls.verify_batch([(key_a, up, message), (key_b, down, message)])


def test_swapped_signatures_fail_as_a_batch() -> None:
    (key_a, first, message), (key_b, second, _) = batch([5, 6], [b"a", b"a"])
    with pytest.raises(BadSignature):
        bls.verify_batch([(key_a, second, message), (key_b, first, message)])


def test_an_empty_batch_holds_no_bad_signature() -> None:
    bls.verify_batch([])


# Scalars


def test_a_wide_scalar_is_48_bytes_reduced() -> None:
    assert bls.scalar_from_wide((bls.ORDER * 3 + 5).to_bytes(48, "big")) == 5
    for size in (32, 47, 49):
        with pytest.raises(ValueError):
            bls.scalar_from_wide(bytes(size))


def test_a_scalar_has_one_encoding() -> None:
    assert bls.scalar_from_bytes(bls.scalar_to_bytes(bls.ORDER - 1)) == bls.ORDER - 1
    for data in (bls.ORDER.to_bytes(32, "big"), b"\xff" * 32, bytes(31), bytes(33)):
        with pytest.raises(DecodeError):
            bls.scalar_from_bytes(data)
