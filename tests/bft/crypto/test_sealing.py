"""HPKE by RFC 9180's vector, and by `cryptography`, which opens what we seal."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bft.crypto import sealing
from bft.errors import DecodeError

VECTOR = {
    name: bytes.fromhex(value)
    for name, value in json.loads(
        (Path(__file__).parents[2] / "vectors/rfc9180/a-2-1.json").read_text(encoding="utf-8")
    ).items()
    if name != "source"
}
SECRET, EPHEMERAL = bytes([3] * 32), bytes([4] * 32)
PUBLIC = sealing.sealing_key(SECRET)
SEALED = sealing.seal(EPHEMERAL, PUBLIC, b"share" * 6, b"context")


def test_the_key_schedule_is_that_of_rfc_9180() -> None:
    """RFC 9180 A.2.1."""
    encapsulated, key, nonce = sealing.encapsulate(VECTOR["skEm"], VECTOR["pkRm"], VECTOR["info"])
    assert (encapsulated, key, nonce) == (VECTOR["pkEm"], VECTOR["key"], VECTOR["base_nonce"])
    sealed = ChaCha20Poly1305(key).encrypt(nonce, VECTOR["pt"], VECTOR["aad"])
    assert sealed == VECTOR["ct"]


def test_what_is_sealed_opens_and_has_the_length_promised() -> None:
    assert sealing.open_sealed(SECRET, SEALED, b"context") == b"share" * 6
    assert len(SEALED) == 30 + sealing.OVERHEAD_BYTES


def test_what_the_library_seals_opens_too() -> None:
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    sealed = suite.encrypt(b"hello", X25519PublicKey.from_public_bytes(PUBLIC), b"context")
    assert sealing.open_sealed(SECRET, sealed, b"context") == b"hello"


def test_the_same_ephemeral_key_seals_the_same_bytes() -> None:
    assert sealing.seal(EPHEMERAL, PUBLIC, b"share" * 6, b"context") == SEALED


@pytest.mark.parametrize(
    ("secret", "sealed", "info"),
    [
        (bytes([5] * 32), SEALED, b"context"),
        (SECRET, SEALED, b"another"),
        (SECRET, SEALED[:-1], b"context"),
        (SECRET, SEALED + b"\x00", b"context"),
        (SECRET, bytes(len(SEALED)), b"context"),
        (SECRET, b"", b"context"),
    ],
)
def test_what_was_not_sealed_to_this_key_and_context_does_not_open(
    secret: bytes, sealed: bytes, info: bytes
) -> None:
    with pytest.raises(DecodeError):
        sealing.open_sealed(secret, sealed, info)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        bytes(31),
        bytes(33),
        bytes(32),  # order 4
        b"\x01" + bytes(31),  # order 1
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ],
)
def test_a_key_of_low_order_is_refused(key: bytes) -> None:
    sealing.check_sealing_key(PUBLIC)
    with pytest.raises(DecodeError):
        sealing.check_sealing_key(key)


def test_derivation_is_rfc_5869() -> None:
    """RFC 5869 A.1."""
    derived = sealing.derive(
        b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)), size=42
    )
    assert derived.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
