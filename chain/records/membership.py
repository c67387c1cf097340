"""How a federation changes its members: what operators and replicas get ordered for it.

An epoch is a complete list of members with a sharing of the ONE federation key.  Whatever changes
(one joins, leaves, is replaced, all get fresh key shares) is a new complete list.
Pure.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, encode
from bft.codec.types import U8, U32, Bytes32, GroupSignature
from bft.crypto.hashing import tagged_hash
from bft.dkg.messages import MEMBERS_MAX
from chain.records.federation import MemberRecord

REASON_BYTES_MAX = 256

Members = Annotated[tuple[MemberRecord, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]


class Propose(Record):
    """The author, a member, proposes who the members of the next epoch are, and so approves it.

    A list equal to the present one gives everybody a fresh key share.
    """

    TAG = "gristmill.propose/1"

    epoch: U32  # the present one and 1
    members: Members  # the position is the index
    reason: Annotated[bytes, Meta(max_length=REASON_BYTES_MAX)]  # UTF-8, for people

    @property
    def digest(self) -> bytes:
        """32 bytes that name the proposal."""
        return tagged_hash(self.TAG, encode(self))


class Approve(Record):
    """The author, a member, wants this proposal."""

    TAG = "gristmill.approve/1"

    proposal: Bytes32


class Withdraw(Record):
    """The author, its proposer, takes a proposal back that is not approved yet."""

    TAG = "gristmill.withdraw/1"

    proposal: Bytes32


class CeremonyElapsed(Record):
    """This member's own clock says that a phase of the resharing had its time.

    A phase ends by time when `weak` members of the epoch that runs say so.
    """

    TAG = "gristmill.ceremony-elapsed/1"

    session: Bytes32
    phase: U8  # bft.dkg.messages.Phase; DONE while new members prove their shares


class ShareProof(Record):
    """A new member's share, under the new sharing, of the signature that proves the sharing."""

    TAG = "gristmill.share-proof/1"

    session: Bytes32
    share: GroupSignature  # over `sharing_message`


class ActivationShare(Record):
    """A member's share, under the sharing in force, of the next epoch's certificate."""

    TAG = "gristmill.activation-share/1"

    session: Bytes32
    share: GroupSignature  # over `activation_message` of the next epoch


def sharing_message(session: bytes, commitments: tuple[bytes, ...]) -> bytes:
    """32 bytes that new members sign with their new key shares, to prove that enough work."""
    return tagged_hash("gristmill/sharing/v1", session + b"".join(commitments))


class VoidReason(IntEnum):
    """Why a proposal came to nothing."""

    WITHDRAWN = 0
    EXPIRED = 1  # too few approved it in time
    FAILED = 2  # no attempt at resharing came to an end
