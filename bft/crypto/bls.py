"""BLS signatures on BLS12-381: public keys in G2 (96 bytes), short signatures in G1 (48 bytes).

The one seam over two libraries.  `py_arkworks_bls12381` does the group arithmetic on public
values; its scalar multiplication leaks the scalar by time, so every multiplication by a secret is
`pyblst`'s (blst: constant time, and the faster of the two for hashing and for one verification).
Points from outside count only in their one canonical encoding, in the right subgroup, and never
the identity: arkworks alone would take two encodings of it.

Source: draft-irtf-cfrg-bls-signature-05, basic scheme; RFC 9380 for hashing; ZCash point encoding.
Pure: signing is deterministic, and the coefficients of batch verification are hashed, not drawn.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import pyblst
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from bft.crypto.hashing import sha256, tagged_hash
from bft.errors import BadSignature, DecodeError

DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SCALAR_BYTES = 32
SIGNATURE_BYTES = 48
PUBLIC_KEY_BYTES = 96
WIDE_BYTES = 48  # 128 bits more than ORDER has, so that reducing is uniform
KEYS_CACHED_MAX = 1024  # decompressed public keys kept; a federation has far fewer
COEFFICIENT_BYTES = 16  # a forged batch passes with probability 2**-128

_G2_GENERATOR = G2Point()
_P2_GENERATOR = pyblst.BlstP2Element.uncompress(_G2_GENERATOR.to_compressed_bytes())
_COEFFICIENTS_TAG = "bls.batch/1"


def scalar_from_wide(data: bytes) -> int:
    """A uniform scalar from 48 uniform bytes.  Raises ValueError: another length."""
    if len(data) != WIDE_BYTES:
        raise ValueError(f"{len(data)} bytes came; a wide scalar has {WIDE_BYTES}")
    return int.from_bytes(data, "big") % ORDER


def scalar_from_bytes(data: bytes) -> int:
    """The scalar in 32 big-endian bytes.  Raises DecodeError: another length, or not reduced."""
    value = int.from_bytes(data, "big")
    if len(data) != SCALAR_BYTES or value >= ORDER:
        raise DecodeError("a scalar has 32 big-endian bytes and is below the group order")
    return value


def scalar_to_bytes(value: int) -> bytes:
    """32 bytes, big-endian."""
    return value.to_bytes(SCALAR_BYTES, "big")


def load_g1(data: bytes) -> G1Point:
    """The point that 48 bytes encode.

    Raises:
        DecodeError: not the canonical encoding of a point of G1's subgroup, or the identity.
    """
    try:
        point = G1Point.from_compressed_bytes(data)
    except ValueError as error:
        raise DecodeError(f"not a point of G1: {error}") from None
    if point == G1Point.identity() or point.to_compressed_bytes() != data:
        raise DecodeError("not a point of G1: the identity, or a second encoding")
    return point


def load_g2(data: bytes) -> G2Point:
    """The point that 96 bytes encode.

    Raises:
        DecodeError: not the canonical encoding of a point of G2's subgroup, or the identity.
    """
    try:
        point = G2Point.from_compressed_bytes(data)
    except ValueError as error:
        raise DecodeError(f"not a point of G2: {error}") from None
    if point == G2Point.identity() or point.to_compressed_bytes() != data:
        raise DecodeError("not a point of G2: the identity, or a second encoding")
    return point


def hash_to_g1(message: bytes) -> G1Point:
    """The point that a signature over `message` multiplies.  RFC 9380 with `DST`."""
    hashed = pyblst.BlstP1Element.hash_to_group(message, DST)
    return G1Point.from_compressed_bytes_unchecked(hashed.compress())


def public_key(secret: int) -> bytes:
    """96 bytes, the generator of G2 times `secret`, in constant time.

    Raises:
        ValueError: `secret` is not in 1..ORDER-1.
    """
    compressed: bytes = _P2_GENERATOR.scalar_mul(_checked(secret)).compress()
    return compressed


def sign(secret: int, message: bytes) -> bytes:
    """48 bytes, in constant time.  Raises ValueError: `secret` is not in 1..ORDER-1."""
    hashed = pyblst.BlstP1Element.hash_to_group(message, DST)
    compressed: bytes = hashed.scalar_mul(_checked(secret)).compress()
    return compressed


def _checked(secret: int) -> int:
    if not 0 < secret < ORDER:
        raise ValueError("a secret scalar must be in 1..ORDER-1")
    return secret


def verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Returns if e(signature, generator) = e(H(message), public_key).

    Raises:
        BadSignature: it is not, or key or signature are no valid encodings.
    """
    key = _key_to_verify_with(public_key)
    try:
        point = pyblst.BlstP1Element.uncompress(signature)
    except ValueError as error:
        raise BadSignature(f"not a signature: {error}") from None
    if signature[0] & 0x40 or point.compress() != signature:
        raise BadSignature("not a signature: the identity, or a second encoding")
    hashed = pyblst.BlstP1Element.hash_to_group(message, DST)
    left = pyblst.miller_loop(point, _P2_GENERATOR)
    if not pyblst.final_verify(left, pyblst.miller_loop(hashed, key)):
        raise BadSignature(f"signature is not by {public_key.hex()[:16]}... over these bytes")


@lru_cache(maxsize=KEYS_CACHED_MAX)
def _key_to_verify_with(data: bytes) -> Any:
    """pyblst's form of a public key.  Raises BadSignature; failures are not cached."""
    try:
        load_g2(data)
    except DecodeError as error:
        raise BadSignature(f"not a public key: {error}") from None
    return pyblst.BlstP2Element.uncompress(data)


@lru_cache(maxsize=KEYS_CACHED_MAX)
def _key_to_add(data: bytes) -> G2Point:
    return load_g2(data)


def verify_batch(items: Sequence[tuple[bytes, bytes, bytes]]) -> None:
    """Returns if every (public key, signature, message) verifies; cheaper than one by one.

    Checks one random-looking linear combination, so that bad signatures cannot cancel out.  Cheap
    when all keys are one key, or when many keys signed one message.

    Raises:
        BadSignature: at least one does not verify; it does not say which.
    """
    if not items:
        return
    try:
        signatures = [load_g1(signature) for _, signature, _ in items]
        keys = [_key_to_add(key) for key, _, _ in items]
    except DecodeError as error:
        raise BadSignature(f"malformed key or signature in a batch: {error}") from None
    coefficients = _coefficients(items)
    total = G1Point.multiexp_unchecked(signatures, coefficients)
    messages = [message for _, _, message in items]
    if len({key for key, _, _ in items}) == 1:
        hashes = [hash_to_g1(message) for message in messages]
        left, right = [-G1Point.multiexp_unchecked(hashes, coefficients)], [keys[0]]
    else:
        left, right = [], []
        for positions in _positions(messages):
            left.append(-hash_to_g1(messages[positions[0]]))
            right.append(
                G2Point.multiexp_unchecked(
                    [keys[at] for at in positions], [coefficients[at] for at in positions]
                )
            )
    if not GT.pairing_check([total, *left], [_G2_GENERATOR, *right]):
        raise BadSignature(f"at least one of {len(items)} signatures in a batch is not valid")


def _positions(messages: Iterable[bytes]) -> list[list[int]]:
    """Where each distinct message stands, in order of first appearance."""
    found: dict[bytes, list[int]] = {}
    for position, message in enumerate(messages):
        found.setdefault(message, []).append(position)
    return list(found.values())


def _coefficients(items: Sequence[tuple[bytes, bytes, bytes]]) -> list[Scalar]:
    """128-bit multipliers that depend on every byte of the batch (Fiat and Shamir)."""
    parts = [key + signature + sha256(message) for key, signature, message in items]
    seed = tagged_hash(_COEFFICIENTS_TAG, b"".join(parts))
    return [
        Scalar(int.from_bytes(sha256(seed + at.to_bytes(4, "big"))[:COEFFICIENT_BYTES], "big"))
        for at in range(len(items))
    ]
