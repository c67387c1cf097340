"""Threshold BLS: any t holders of key shares make the one signature of the federation key.

The signature is unique: which t replicas made it changes no byte of it.  Combining is optimistic:
take t signature shares, combine, verify the result under the federation key; only if that fails
look for the bad ones, by batches that are halved.

Source: Boldyreva, "Threshold signatures, multisignatures and blind signatures based on the
gap-Diffie-Hellman-group signature scheme" (PKC 2003).
Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import GroupKey
from bft.crypto import bls, shamir
from bft.errors import BadSignature, DecodeError, Unavailable

THRESHOLD_MAX = 1024
SHARE_KEYS_CACHED_MAX = 1024
ONE_BY_ONE_MAX = 8  # so few are verified singly faster than by batches, see benchmarks/bls.py


class TooFewShares(Unavailable):
    """Fewer than t good signature shares so far.

    Attributes:
        bad: indices whose signature shares do not verify, ascending.
    """

    def __init__(self, text: str, *, bad: tuple[int, ...]) -> None:
        super().__init__(text)
        self.bad = bad


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """What replica `index` signs with: the secret polynomial's value at x = index + 1."""

    index: int  # replica index, 0 is the first
    secret: int = field(repr=False)  # 1..ORDER-1; never logged


class PublicPolynomial(Record):
    """Feldman's commitments to the federation's secret polynomial.  t is their number."""

    TAG = "bft.public-polynomial/1"

    commitments: Annotated[tuple[GroupKey, ...], Meta(min_length=1, max_length=THRESHOLD_MAX)]

    @property
    def threshold(self) -> int:
        """t, how many signature shares make a signature."""
        return len(self.commitments)

    @property
    def federation_key(self) -> bytes:
        """96 bytes: the one public key that verifies what the federation signs."""
        return self.commitments[0]

    def share_key(self, index: int) -> bytes:
        """96 bytes: verifies the signature shares of replica `index`.

        Raises:
            DecodeError: a commitment is no valid point.
        """
        return _share_key(self.commitments, index)


@lru_cache(maxsize=SHARE_KEYS_CACHED_MAX)
def _share_key(commitments: tuple[bytes, ...], index: int) -> bytes:
    points = [bls.load_g2(commitment) for commitment in commitments]
    return shamir.evaluate_commitments(points, shamir.x_of(index)).to_compressed_bytes()


def sign_share(share: KeyShare, message: bytes) -> bytes:
    """48 bytes: replica `share.index`'s signature share over `message`, in constant time."""
    return bls.sign(share.secret, message)


def verify_share(
    public: PublicPolynomial, index: int, signature_share: bytes, message: bytes
) -> None:
    """Returns if it is replica `index`'s signature share over `message`.

    Raises:
        BadSignature: it is not.
    """
    bls.verify(public.share_key(index), signature_share, message)


def combine(
    public: PublicPolynomial, message: bytes, shares: Mapping[int, bytes]
) -> tuple[bytes, tuple[int, ...]]:
    """The federation's signature over `message`, from signature shares by replica index.

    The good case costs one verification, and then nobody has looked at each share: only the
    indices that stood in the way are named.

    Returns:
        (48 bytes, indices whose signature shares were found bad, ascending).

    Raises:
        TooFewShares: fewer than t good ones are here.
    """
    indices = sorted(shares)
    bad: tuple[int, ...] = ()
    if len(indices) >= public.threshold:
        signature = _interpolate(shares, indices[: public.threshold])
        if _verifies(public, signature, message):
            return signature, ()
        bad = bad_shares(public, message, shares)
    good = [index for index in indices if index not in bad]
    if len(good) < public.threshold:
        raise TooFewShares(
            f"{len(good)} good signature shares of {len(shares)}; {public.threshold} needed",
            bad=bad,
        )
    signature = _interpolate(shares, good[: public.threshold])
    assert _verifies(public, signature, message)  # every share of it verified
    return signature, bad


def _interpolate(shares: Mapping[int, bytes], indices: Sequence[int]) -> bytes:
    """The combination of these shares; no signature at all if one of them is no point."""
    try:
        points = [(shamir.x_of(index), bls.load_g1(shares[index])) for index in indices]
    except DecodeError:
        return b""
    return shamir.interpolate_at_zero(points).to_compressed_bytes()


def _verifies(public: PublicPolynomial, signature: bytes, message: bytes) -> bool:
    try:
        bls.verify(public.federation_key, signature, message)
    except BadSignature:
        return False
    return True


def bad_shares(
    public: PublicPolynomial, message: bytes, shares: Mapping[int, bytes]
) -> tuple[int, ...]:
    """Indices whose signature share does not verify, ascending; halves each batch that fails."""
    bad: list[int] = []
    pending = [sorted(shares)]
    while pending:
        indices = pending.pop()
        if len(indices) <= ONE_BY_ONE_MAX:
            bad += [at for at in indices if not _share_verifies(public, at, shares[at], message)]
            continue
        try:
            bls.verify_batch([(public.share_key(at), shares[at], message) for at in indices])
        except BadSignature:
            middle = len(indices) // 2
            pending += [indices[:middle], indices[middle:]]
    return tuple(sorted(bad))


def _share_verifies(public: PublicPolynomial, index: int, share: bytes, message: bytes) -> bool:
    try:
        verify_share(public, index, share, message)
    except BadSignature:
        return False
    return True
