"""A second opinion: verification by py_ecc alone, which shares no code with ours."""

from hashlib import sha256
from typing import Any

from eth_typing import BLSPubkey, BLSSignature
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.optimized_bls12_381.optimized_curve import G2
from py_ecc.optimized_bls12_381.optimized_pairing import pairing

HASH: Any = sha256  # py_ecc asks for a type that hashlib's functions do not declare
DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"


def py_ecc_verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """e(signature, generator) = e(H(message), public_key), in pure Python; about a second."""
    # py_ecc names its loaders after the other scheme: these read a G1 and a G2 point.
    left = pairing(G2, pubkey_to_G1(BLSPubkey(signature)))
    right = pairing(signature_to_G2(BLSSignature(public_key)), hash_to_G1(message, DST, HASH))
    return bool(left == right)
