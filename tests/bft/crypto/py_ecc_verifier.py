"""A second opinion: verification by py_ecc alone, which shares no code with ours."""

from hashlib import sha256

from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.optimized_bls12_381 import G2, pairing

DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"


def py_ecc_verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """e(signature, generator) = e(H(message), public_key), in pure Python; about a second."""
    # py_ecc names its loaders after the other scheme: these read a G1 and a G2 point.
    left = pairing(G2, pubkey_to_G1(signature))
    return bool(left == pairing(signature_to_G2(public_key), hash_to_G1(message, DST, sha256)))
