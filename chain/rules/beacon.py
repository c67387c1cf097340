"""The beacon: unpredictable numbers that nobody can steer, in drand's own format.

Round r is the federation's signature over SHA-256 of r as 8 big-endian bytes; its randomness is
SHA-256 of the signature.  Neither block, view nor member list is in the message, so nothing that
people vote on moves the randomness, and the federation key keeps it through resharing.  Any drand
client verifies a round under scheme `bls-unchained-g1-rfc9380`.

Source: drand, scheme bls-unchained-g1-rfc9380 (the scheme of its quicknet).
Pure.
"""

from bft.crypto import bls
from bft.crypto.hashing import sha256

SCHEME = b"bls-unchained-g1-rfc9380"
ROUND_MAX = 2**63 - 1


def round_message(number: int) -> bytes:
    """32 bytes that the federation signs in round `number`.

    Raises:
        ValueError: the round is below 0 or does not fit 63 bits.
    """
    if not 0 <= number <= ROUND_MAX:
        raise ValueError(f"round {number} came; rounds are 0..2**63-1")
    return sha256(number.to_bytes(8, "big"))


def randomness(signature: bytes) -> bytes:
    """32 bytes, the output of the round with this signature (48 bytes)."""
    return sha256(signature)


def verify_round(federation_key: bytes, number: int, signature: bytes) -> bytes:
    """The randomness of a round, its signature verified.

    Raises:
        BadSignature: not the federation's signature for this round.
        ValueError: see `round_message`.
    """
    bls.verify(federation_key, signature, round_message(number))
    return randomness(signature)
