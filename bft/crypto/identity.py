"""ECDSA identities of miners, replicas and operators: secp256k1, SHA-256, 64-byte low-s signatures.

libsecp256k1 signs by RFC 6979 with low s and refuses high s when it verifies.
Pure: keys come from outside as bytes.
"""

from functools import lru_cache

from coincurve import PrivateKey as _PrivateKey
from coincurve import PublicKey as _PublicKey

# The library's own call takes DER and converts it twice; these are what it calls.
from coincurve._libsecp256k1 import lib as _libsecp256k1
from coincurve.context import GLOBAL_CONTEXT
from coincurve.ecdsa import der_to_cdata, deserialize_compact, serialize_compact

from bft.crypto.hashing import sha256
from bft.errors import BadSignature, ConfigError

PARSED_MAX = 4_096  # public keys whose point is remembered: decompressing one costs a square root


class PrivateKey:
    """One identity's secret.  Never logged: `repr` shows the public key only."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 bytes, a scalar in 1..n-1.  Raises ConfigError otherwise."""
        if len(secret) != 32:
            raise ConfigError(f"an identity secret has 32 bytes; {len(secret)} came")
        try:
            self._key = _PrivateKey(secret)
        except ValueError as error:
            raise ConfigError(f"not an identity secret: {error}") from None
        self.public_key: bytes = self._key.public_key.format(compressed=True)

    def __repr__(self) -> str:
        return f"PrivateKey(public_key={self.public_key.hex()})"

    @property
    def secret(self) -> bytes:
        """32 bytes, for the key file only."""
        return self._key.secret

    def sign(self, message: bytes) -> bytes:
        """64 bytes r and s over SHA-256(message)."""
        return bytes(serialize_compact(der_to_cdata(self._key.sign(message))))


def verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Returns if `signature` (64 bytes) is `public_key`'s (33 bytes) over SHA-256(message).

    Raises:
        BadSignature: it is not, or key or signature are no valid encodings.
    """
    if len(public_key) != 33 or public_key[0] not in (2, 3) or len(signature) != 64:
        raise BadSignature("identity keys have 33 compressed bytes, signatures 64")
    try:
        valid = _libsecp256k1.secp256k1_ecdsa_verify(
            GLOBAL_CONTEXT.ctx,
            deserialize_compact(signature),
            sha256(message),
            _parsed(public_key).public_key,
        )
    except ValueError as error:
        raise BadSignature(f"malformed key or signature: {error}") from None
    if not valid:
        raise BadSignature(f"signature is not by {public_key.hex()[:16]}... over these bytes")


@lru_cache(PARSED_MAX)
def _parsed(public_key: bytes) -> _PublicKey:
    """Raises ValueError: not on the curve."""
    return _PublicKey(public_key)
