"""Hashes, trees, signatures, streams: docs/PROTOCOL.md, sections 1, 2, 5, 6 and 8.

py_ecc for BLS12-381 and `cryptography` for secp256k1; nothing of ours, nothing fast.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from py_ecc.bls.g2_primitives import G2_to_signature, signature_to_G2
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1, decompress_G1
from py_ecc.fields import optimized_bls12_381_FQ12 as FQ12
from py_ecc.optimized_bls12_381.optimized_curve import (
    G2,
    Z1,
    add,
    curve_order,
    is_inf,
    multiply,
    neg,
)
from py_ecc.optimized_bls12_381.optimized_pairing import final_exponentiate, pairing

from tests.oracle.records import Malformed, decode

DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_SHA256: Any = sha256  # py_ecc's annotation asks for an object, its code for the function
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def tagged(tag: str, data: bytes) -> bytes:
    """BIP 340's."""
    prefix = sha256(tag.encode()).digest()
    return sha256(prefix + prefix + data).digest()


def tree(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 2.1 over leaf hashes."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while 2 * split < len(hashes):
        split *= 2
    return sha256(b"\x01" + tree(hashes[:split]) + tree(hashes[split:])).digest()


def leaf(data: bytes) -> bytes:
    """RFC 6962 2.1."""
    return sha256(b"\x00" + data).digest()


def pre_image(tag: str, body: bytes) -> bytes:
    """What an envelope's signature is over."""
    return b"DSSEv1 %d %b %d %b" % (len(tag), tag.encode(), len(body), body)


def signed_by(key: bytes, signature: bytes, message: bytes) -> bool:
    """ECDSA on secp256k1 over SHA-256, r then s, low s."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < SECP256K1_ORDER or not 0 < s <= SECP256K1_ORDER // 2:
        return False
    try:
        _identity(key).verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


@cache
def _identity(key: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key)


def opened(sealed: bytes, tag: str, name: str) -> tuple[bytes, dict[str, Any]]:
    """(signer, record) of an envelope of this tag.  Raises Malformed."""
    envelope = decode("Envelope", sealed)
    if envelope["tag"] != tag.encode():
        raise Malformed(f"an envelope of {envelope['tag']!r}")
    message = pre_image(tag, envelope["body"])
    if not signed_by(envelope["signer"], envelope["signature"], message):
        raise Malformed("its signer did not sign it")
    return envelope["signer"], decode(name, envelope["body"])


def strong(n: int) -> int:
    """Section 2."""
    return (n + (n - 1) // 3) // 2 + 1


def weak(n: int) -> int:
    """Section 2."""
    return (n - 1) // 3 + 1


# Section 8.


def words(tag: str, seed: bytes) -> Iterator[int]:
    """The stream."""
    counter = 0
    while True:
        yield int.from_bytes(tagged(tag, seed + counter.to_bytes(8, "big")), "big")
        counter += 1


def below(stream: Iterator[int], bound: int) -> int:
    """The next number below `bound`."""
    return next(word for word in stream if word < 2**256 // bound * bound) % bound


def shuffled(tag: str, seed: bytes, size: int) -> list[int]:
    """The permutation of 0 .. size - 1."""
    stream, places = words(tag, seed), list(range(size))
    for place in reversed(range(1, size)):
        other = below(stream, place + 1)
        places[place], places[other] = places[other], places[place]
    return places


# Sections 5 and 6: the federation's signatures.


@cache
def g1(data: bytes) -> Any:
    """A canonical point of the subgroup, not the identity.  Raises Malformed."""
    try:
        point = decompress_G1(int.from_bytes(data, "big"))  # type: ignore[arg-type]
    except ValueError as error:
        raise Malformed(str(error)) from None
    if is_inf(point) or not is_inf(multiply(point, curve_order)):
        raise Malformed("no point of the group")
    if compress_G1(point).to_bytes(48, "big") != data:
        raise Malformed("a second encoding of a point")
    return point


@cache
def g2(data: bytes) -> Any:
    """As `g1`."""
    try:
        point = signature_to_G2(data)  # type: ignore[arg-type]
    except ValueError as error:
        raise Malformed(str(error)) from None
    if is_inf(point) or not is_inf(multiply(point, curve_order)):
        raise Malformed("no point of the group")
    return point


def lagrange(indices: Sequence[int]) -> list[int]:
    """What each share at x = index + 1 is multiplied by to give the value at 0."""
    found = []
    for d in indices:
        value = 1
        for m in indices:
            if m != d:
                value = value * (m + 1) * pow(m - d, -1, curve_order) % curve_order
        found.append(value)
    return found


@cache
def combined(shares: tuple[tuple[int, bytes], ...]) -> bytes | None:
    """The signature that these (index, share) make, right or wrong; None if one is no point."""
    total = Z1
    try:
        for factor, (_, share) in zip(lagrange([i for i, _ in shares]), shares, strict=True):
            total = add(total, multiply(g1(share), factor))
    except Malformed:
        return None
    return None if is_inf(total) else compress_G1(total).to_bytes(48, "big")


@cache
def all_signed(key: bytes, signatures: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether each (message, signature) is under the federation key: one equation for all.

    Each is weighted by a hash of all, so that wrong ones do not cancel each other.
    """
    together = sha256(b"".join(message + signature for message, signature in signatures)).digest()
    left, right = Z1, Z1
    for number, (message, signature) in enumerate(signatures):
        weight = int.from_bytes(sha256(together + bytes([number])).digest()[:16], "big")
        left = add(left, multiply(g1(signature), weight))
        right = add(right, multiply(hash_to_G1(message, DST, _SHA256), weight))
    product = pairing(neg(G2), left, final_exponentiate=False) * pairing(
        g2(key), right, final_exponentiate=False
    )
    return bool(final_exponentiate(product) == FQ12.one())


def committed(commitments: Sequence[bytes], x: int) -> Any:
    """The committed polynomial at x, times the generator."""
    value = g2(commitments[-1])
    for commitment in reversed(commitments[:-1]):
        value = add(multiply(value, x), g2(commitment))
    return value


def compressed(point: Any) -> bytes:
    """A G2 point's 96 bytes."""
    return bytes(G2_to_signature(point))


def threshold_signature(
    shares: dict[int, bytes],
    commitments: Sequence[bytes],
    message: bytes,
    claimed: frozenset[bytes],
) -> bytes | None:
    """The signature that t good ones of these shares make, if so many are good.

    `claimed`: signatures that somebody says are right and that are verified later, all at once.
    """
    t, key = len(commitments), commitments[0]
    given = tuple(sorted(shares.items()))
    if len(given) < t:
        return None
    found = combined(given[:t])
    if found is not None and (found in claimed or all_signed(key, ((message, found),))):
        return found
    good = tuple(each for each in given if _is_good(tuple(commitments), message, *each))
    return combined(good[:t]) if len(good) >= t else None


@cache
def _is_good(commitments: tuple[bytes, ...], message: bytes, index: int, share: bytes) -> bool:
    try:
        return all_signed(compressed(committed(commitments, index + 1)), ((message, share),))
    except Malformed:
        return False
