"""What replicas say besides measurements: signature shares, elapsed time, blocks that they saw.

Pure.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U8, U32, U63, GroupSignature


class Purpose(IntEnum):
    """What a signature share is for; each has its own message and its own domain."""

    ACTIVATION = 1  # subject: epoch
    BEACON = 2  # subject: round
    CERTIFICATE = 3  # subject: cycle, rank: the rank
    FINALITY = 4  # subject: cycle


class SignatureShare(Record):
    """One replica's share of a federation signature.  Ordered, so that a bad one has an author."""

    TAG = "gristmill.signature-share/1"

    purpose: U8
    subject: U63
    rank: U8
    epoch: U32  # under whose sharing of the federation key; no other epoch takes it
    share: GroupSignature


class Elapsed(Record):
    """This replica's own clock says that the phase had its time.

    A phase ends by time when `weak` replicas say so: at least one correct clock did.
    """

    TAG = "gristmill.elapsed/1"

    cycle: U63
    phase: U8
    attempt: U8


class BlockSeen(Record):
    """This replica holds a valid block with this header from the winner of `rank`."""

    TAG = "gristmill.block-seen/1"

    cycle: U63
    rank: U8
    header: Annotated[bytes, Meta(min_length=80, max_length=80)]
