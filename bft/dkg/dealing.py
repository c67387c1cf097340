"""One dealer's dealing: making it, checking what everyone can check, opening one's own share.

Source: Pedersen 1991 and Feldman 1987 for the dealing; Schnorr 1991 for the proof of knowledge,
bound to session and dealer, so that nobody can deal a copy or a difference of others' dealings.
In a resharing the polynomial's value at 0 is the dealer's key share, and everyone sees it from the
first commitment: Desmedt and Jajodia 1997; Wong, Wang and Wing 2002.
Pure.
"""

from collections.abc import Sequence
from enum import IntEnum

from py_arkworks_bls12381 import G2Point, Scalar

from bft.codec.canonical import encode
from bft.crypto import bls, sealing, shamir
from bft.crypto.hashing import tagged_hash
from bft.dkg.messages import DkgDealing
from bft.errors import DecodeError

_SHARE_TAG = "dkg.share/1"
_PROOF_TAG = "dkg.proof-of-knowledge/1"
_DEALER_LABEL = b"gristmill dkg dealer "


class Verdict(IntEnum):
    """What is wrong with a dealing, for all to see; nothing if it STANDS."""

    STANDS = 0
    WRONG_COMMITMENT_COUNT = 1  # not as many as the threshold
    WRONG_CIPHERTEXT_COUNT = 2  # not one for each receiver that announced a key
    BAD_POINT = 3  # not canonical, outside the subgroup, or the identity
    BAD_PROOF = 4  # the dealer does not know its own secret
    NOT_ITS_SHARE = 5  # resharing: the first commitment is not the dealer's old share key


def deal(
    seed: bytes,
    session: bytes,
    dealer: int,
    recipients: Sequence[tuple[int, bytes]],
    threshold: int,
    shared: int | None = None,
) -> DkgDealing:
    """The one dealing that this seed makes in this session.

    Args:
        seed: 32 secret bytes of the dealer, for this session only.
        recipients: (receiver, the X25519 key that it announced for this dealer), ascending.
        threshold: number of coefficients.
        shared: the key share that is dealt in a resharing; at genesis the seed makes a secret.
    """

    def secret_bytes(purpose: bytes, size: int) -> bytes:
        return sealing.derive(seed, salt=session, info=_DEALER_LABEL + purpose, size=size)

    polynomial = tuple(
        bls.scalar_from_wide(secret_bytes(b"coefficient " + _u16(k), bls.WIDE_BYTES))
        for k in range(threshold)
    )
    if shared is not None:
        polynomial = (shared, *polynomial[1:])
    commitments = shamir.commit(polynomial)
    ciphertexts = []
    for receiver, recipient in recipients:
        info = share_info(session, dealer, receiver, commitments)
        share = bls.scalar_to_bytes(shamir.evaluate(polynomial, shamir.x_of(receiver)))
        # Bound to recipient and info, an ephemeral key never seals two different shares.
        ephemeral = secret_bytes(b"ephemeral " + recipient + info, sealing.KEY_BYTES)
        ciphertexts.append(sealing.seal(ephemeral, recipient, share, info))
    nonce = bls.scalar_from_wide(secret_bytes(b"nonce " + b"".join(commitments), bls.WIDE_BYTES))
    proof_point = bls.public_key(nonce)
    challenge = _challenge(session, dealer, commitments, proof_point)
    return DkgDealing(
        session=session,
        commitments=commitments,
        ciphertexts=tuple(ciphertexts),
        proof_point=proof_point,
        proof_scalar=bls.scalar_to_bytes((nonce + challenge * polynomial[0]) % bls.ORDER),
    )


def judge(
    dealing: DkgDealing, dealer: int, receivers: int, threshold: int, share_key: bytes | None = None
) -> Verdict:
    """Whether the dealing stands, as far as one sees without any secret.

    Args:
        receivers: how many announced keys.
        share_key: in a resharing, what the old sharing's public polynomial says of this dealer.
    """
    if len(dealing.commitments) != threshold:
        return Verdict.WRONG_COMMITMENT_COUNT
    if len(dealing.ciphertexts) != receivers:
        return Verdict.WRONG_CIPHERTEXT_COUNT
    if share_key is not None and dealing.commitments[0] != share_key:
        return Verdict.NOT_ITS_SHARE
    try:
        points = shamir.load_commitments(dealing.commitments)
        proof_point = bls.load_g2(dealing.proof_point)
    except DecodeError:
        return Verdict.BAD_POINT
    try:
        response = bls.scalar_from_bytes(dealing.proof_scalar)
    except DecodeError:
        return Verdict.BAD_PROOF
    challenge = _challenge(dealing.session, dealer, dealing.commitments, dealing.proof_point)
    claimed = G2Point.multiexp_unchecked(
        [G2Point(), -points[0]], [Scalar(response), Scalar(challenge)]
    )
    return Verdict.STANDS if claimed == proof_point else Verdict.BAD_PROOF


def open_share(
    dealing: DkgDealing, dealer: int, receiver: int, sealed: bytes, secret_key: bytes
) -> int:
    """The polynomial's value that a standing dealing holds for `receiver`.

    Args:
        sealed: the one of the dealing's ciphertexts that is for this receiver.

    Raises:
        DecodeError: it does not open with this X25519 key, or is not the value committed to.
            With the key that the receiver announced, this convicts the dealer.
    """
    info = share_info(dealing.session, dealer, receiver, dealing.commitments)
    share = bls.scalar_from_bytes(sealing.open_sealed(secret_key, sealed, info))
    if not shamir.share_matches(dealing.commitments, shamir.x_of(receiver), share):
        raise DecodeError("the share is not the value that the dealer committed to")
    return share


def share_info(session: bytes, dealer: int, receiver: int, commitments: tuple[bytes, ...]) -> bytes:
    """32 bytes that a sealed share is bound to."""
    return tagged_hash(_SHARE_TAG, encode((session, dealer, receiver, commitments)))


def _challenge(
    session: bytes, dealer: int, commitments: tuple[bytes, ...], proof_point: bytes
) -> int:
    """The Schnorr challenge.  256 hashed bits modulo ORDER: its bias helps no forger."""
    digest = tagged_hash(_PROOF_TAG, encode((session, dealer, commitments, proof_point)))
    return int.from_bytes(digest, "big") % bls.ORDER


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")
