"""Signatures for the long searches: a keyed hash instead of ECDSA, in the searching process only.

A search spends two thirds of its time in curve arithmetic that it does not test.  `install` puts a
hash in the place of `bft.crypto.identity.verify` wherever product modules imported it; the product
itself is not touched, and the suite runs with real signatures.  Whoever knows a public key could
forge these; the searches' liars sign under their own keys only, so that none does.
"""

import hmac

from bft.codec import envelope
from bft.crypto.hashing import sha256
from bft.errors import BadSignature
from bft.ordering import proof
from bft.pbft import certificates, messages
from tests.bft.pbft import identities


def _signature(public_key: bytes, message: bytes) -> bytes:
    half = hmac.digest(public_key, message, "sha256")
    return half + half


class KeyedKey:
    """Stands where a PrivateKey stands."""

    def __init__(self, secret: bytes) -> None:
        self.public_key = b"\x02" + sha256(secret)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return _signature(self.public_key, message)


def verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    """As `bft.crypto.identity.verify`.  Raises BadSignature."""
    if signature != _signature(public_key, message):
        raise BadSignature("not the keyed hash of these bytes")


def install() -> None:
    """From now on this process signs and verifies by hash.  Call it before any key is made."""
    for module in (envelope, proof, certificates, messages):
        module.verify = verify  # type: ignore[attr-defined]
    identities.make_key = KeyedKey
    identities.key.cache_clear()
    identities.members.cache_clear()
    identities.membership.cache_clear()
