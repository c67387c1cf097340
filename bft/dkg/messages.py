"""What replicas say during key generation and resharing.  Each is an operation in the ordered log.

The enclosing request names and signs the author, so no message repeats it.  In a resharing the
dealers are the members of the old epoch, the receivers those of the new one; at genesis all
members are both.
Pure.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U16, Bytes32, GroupKey

MEMBERS_MAX = 100
"""Replicas in one ceremony.  A transcript of 100 has 1.5 MB, a dealing 14.6 kB."""

CIPHERTEXT_BYTES = 80  # a 32-byte scalar, sealed

Ciphertext = Annotated[bytes, Meta(min_length=CIPHERTEXT_BYTES, max_length=CIPHERTEXT_BYTES)]


class Role(IntEnum):
    """As what the author of a message speaks: its index is a position in that role's list."""

    RECEIVER = 1  # position in `members`
    DEALER = 2  # position in `dealers`


class Phase(IntEnum):
    """Where a session stands.  The first three end when all have spoken, or are closed."""

    KEYS = 1  # one-time encryption keys are announced
    DEALING = 2  # polynomials are committed to, and their values sent out
    COMPLAINT = 3  # bad values are proven; whoever has none left to prove says so
    DONE = 4  # the federation key is known
    FAILED = 5  # too few dealings survived


class DkgKeys(Record):
    """The author, as receiver, can be sealed to with `keys[d]` by dealer d."""

    TAG = "dkg.keys/1"

    session: Bytes32
    keys: Annotated[tuple[Bytes32, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]  # X25519


class DkgDealing(Record):
    """The author, as dealer, commits to a polynomial and sends receiver j its value at j + 1.

    There is one ciphertext for each receiver that announced keys, by ascending index.
    """

    TAG = "dkg.dealing/1"

    session: Bytes32
    commitments: Annotated[tuple[GroupKey, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    ciphertexts: Annotated[tuple[Ciphertext, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    proof_point: GroupKey  # R = k * generator: the Schnorr proof that the dealer
    proof_scalar: Bytes32  # s = k + c * secret: knows the secret under commitments[0]


class DkgComplaint(Record):
    """What `dealer` sealed to the author, a receiver, is bad; the one-time key shows it to all."""

    TAG = "dkg.complaint/1"

    session: Bytes32
    dealer: U16
    secret_key: Bytes32  # X25519, of the public key that the author announced for this dealer


class DkgReady(Record):
    """The author, as receiver, has examined every dealing and complained where it had to."""

    TAG = "dkg.ready/1"

    session: Bytes32
    phase: Phase


Message = DkgKeys | DkgDealing | DkgComplaint | DkgReady

MESSAGES: tuple[type[DkgKeys | DkgDealing | DkgComplaint | DkgReady], ...] = (
    DkgKeys,
    DkgDealing,
    DkgComplaint,
    DkgReady,
)
"""For those who decode operations by their TAG."""


def role_of(message: Message) -> Role:
    """As what one says this: who signs it is that role's identity key."""
    return Role.DEALER if isinstance(message, DkgDealing) else Role.RECEIVER
