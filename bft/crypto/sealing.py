"""Sealing 32-byte secrets to one X25519 key: HPKE base mode, one message for each recipient key.

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305; one sealed message is
enc (32 bytes) + ciphertext + tag (16 bytes).  Opening is `cryptography`'s HPKE.  Sealing is
written out here, because that library draws the ephemeral key itself: ours is derived by the
caller, so that a restarted replica says the same bytes again and a simulation replays.
A caller never uses one ephemeral key for two messages.

Source: RFC 9180 sections 4.1, 5.1 and 6.1.
Pure.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bft.errors import DecodeError

KEY_BYTES = 32
OVERHEAD_BYTES = 48  # encapsulated key and authentication tag

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_KEM_ID = b"KEM\x00\x20"
_SUITE_ID = b"HPKE\x00\x20\x00\x01\x00\x03"
_BASE_MODE = b"\x00"
_NONCE_BYTES = 12


def derive(secret: bytes, *, salt: bytes, info: bytes, size: int) -> bytes:
    """`size` uniform bytes for one purpose (`info`).  HKDF-SHA256, RFC 5869."""
    return _expand(_extract(salt, secret), info, size)


def sealing_key(private: bytes) -> bytes:
    """The 32-byte X25519 public key of 32 secret bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def check_sealing_key(public: bytes) -> None:
    """Returns if secrets can be sealed to this key.

    Raises:
        DecodeError: not 32 bytes, or a point of low order, to which every exchange is 0.
    """
    try:
        X25519PrivateKey.from_private_bytes(bytes([1] * KEY_BYTES)).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError as error:
        raise DecodeError(f"not a key to seal to: {error}") from None


def seal(ephemeral: bytes, recipient: bytes, plaintext: bytes, info: bytes) -> bytes:
    """`plaintext` for the holder of `recipient`'s secret, bound to `info`.

    Args:
        ephemeral: 32 secret bytes for this message alone.
        recipient: 32 bytes, checked by `check_sealing_key`.
    """
    encapsulated, key, nonce = encapsulate(ephemeral, recipient, info)
    return encapsulated + ChaCha20Poly1305(key).encrypt(nonce, plaintext, None)


def open_sealed(private: bytes, sealed: bytes, info: bytes) -> bytes:
    """The plaintext.  Raises DecodeError: not sealed to this key with this `info`."""
    try:
        return _SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private), info)
    except (InvalidTag, ValueError):
        raise DecodeError("not sealed to this key with this context") from None


def encapsulate(ephemeral: bytes, recipient: bytes, info: bytes) -> tuple[bytes, bytes, bytes]:
    """(encapsulated key, 32-byte AEAD key, 12-byte nonce).  RFC 9180 sections 4.1 and 5.1."""
    encapsulated = sealing_key(ephemeral)
    exchanged = X25519PrivateKey.from_private_bytes(ephemeral).exchange(
        X25519PublicKey.from_public_bytes(recipient)
    )
    pseudorandom = _labeled_extract(_KEM_ID, b"", b"eae_prk", exchanged)
    context = encapsulated + recipient
    shared = _labeled_expand(_KEM_ID, pseudorandom, b"shared_secret", context, KEY_BYTES)
    context = (
        _BASE_MODE
        + _labeled_extract(_SUITE_ID, b"", b"psk_id_hash", b"")
        + _labeled_extract(_SUITE_ID, b"", b"info_hash", info)
    )
    secret = _labeled_extract(_SUITE_ID, shared, b"secret", b"")
    key = _labeled_expand(_SUITE_ID, secret, b"key", context, KEY_BYTES)
    nonce = _labeled_expand(_SUITE_ID, secret, b"base_nonce", context, _NONCE_BYTES)
    return encapsulated, key, nonce


def _extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, hashlib.sha256)


def _expand(pseudorandom: bytes, info: bytes, size: int) -> bytes:
    output, block = b"", b""
    for counter in range(1, -(-size // 32) + 1):
        block = hmac.digest(pseudorandom, block + info + bytes([counter]), hashlib.sha256)
        output += block
    return output[:size]


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return _extract(salt, b"HPKE-v1" + suite + label + secret)


def _labeled_expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return _expand(secret, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, size)
