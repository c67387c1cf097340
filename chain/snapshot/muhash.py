"""A digest of a set of byte strings that can be kept as the set changes: MuHash3072.

Each element becomes a number of 3072 bits; the set is the product of its elements' numbers modulo
a prime, so that neither the order in which they come counts, nor what came and went again.  Two
sets of coins of one digest are as hard to find as discrete logarithms are to take in that group.
Source: Bitcoin Core, crypto/muhash.{h,cpp}; "Incremental multiset hashing", Bellare and
Micciancio 1997.
Pure.
"""

from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from bft.crypto.hashing import sha256

ELEMENT_BYTES = 384
MODULUS = 2 ** (8 * ELEMENT_BYTES) - 1_103_717  # the largest safe prime of 3072 bits
_ZEROS = bytes(ELEMENT_BYTES)
_NONCE = bytes(16)  # block counter and nonce, both 0: every key is used once


class MuHash:
    """A set's digest so far; the empty set's at first."""

    def __init__(self) -> None:
        self._added = self._removed = 1

    def add(self, element: bytes) -> None:
        """One more element; one that is in the set already is in it twice then."""
        self._added = self._added * number_of(element) % MODULUS

    def remove(self, element: bytes) -> None:
        """One element less; of one that is not in the set, there is one too few then."""
        self._removed = self._removed * number_of(element) % MODULUS

    def digest(self) -> bytes:
        """32 bytes; Bitcoin Core shows them reversed."""
        value = self._added * pow(self._removed, -1, MODULUS) % MODULUS
        return sha256(value.to_bytes(ELEMENT_BYTES, "little"))


def digest_of(elements: Iterable[bytes]) -> bytes:
    """That of a whole set, 32 bytes."""
    made = MuHash()
    for element in elements:
        made.add(element)
    return made.digest()


def number_of(element: bytes) -> int:
    """The element's number: the first 384 bytes of ChaCha20 under its SHA-256."""
    stream = Cipher(ChaCha20(sha256(element), _NONCE), mode=None).encryptor()
    return int.from_bytes(stream.update(_ZEROS), "little")
