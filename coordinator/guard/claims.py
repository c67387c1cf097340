"""What a signature would promise, read off the very bytes that are to be signed.

A guard in front of a key does not ask its caller what he means: it looks at the message.  Votes of
consensus and signature shares are promises: two that exclude each other convict their author, or
break the chain.  Requests, receipts, questions and answers promise nothing and pass.

    domain        slot      rank             two of them contradict each other
    PREPARE       sequence  (epoch, view)    PBFT 4.2: one digest a (view, sequence)
    COMMIT        sequence  (epoch, view)    PBFT 4.2
    CHECKPOINT    sequence  (epoch, 0)       PBFT 4.3: one state a sequence
    VIEW_CHANGE   0         (epoch, view)    PBFT 4.4: one account of the past, and no way back
    NEW_VIEW      0         (epoch, view)    PBFT 4.4
    BEACON        round     (0, 0)           one message a round
    CERTIFICATE   cycle     (0, lottery rank)  one winner a rank, ranks ascending
    FINALITY      cycle     (0, lottery rank)  one block a rank
    BLOCK         cycle     (0, lottery rank)  one draft a rank, in profile signet (chain/signet)

Shares of an epoch's certificate (ACTIVATION) and proofs of a sharing are none of them: a proof
names its session, and the log asks for one certificate of an epoch only (docs/THREATS.md).

Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from bft.codec.canonical import Record, decode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from bft.pbft.messages import (
    BatchBody,
    Checkpoint,
    Commit,
    Decision,
    FetchBatch,
    FetchChunk,
    FetchHistory,
    FetchState,
    ForwardedRequests,
    History,
    NewView,
    Prepare,
    PrePrepare,
    Stable,
    StateChunk,
    StateManifest,
    Status,
    ViewChange,
)
from chain.records.votes import Purpose

CONSENSUS = b"pbft."
"""How the tags of all messages between replicas begin."""

FREE: frozenset[type[Record]] = frozenset(
    (
        BatchBody,
        Decision,
        FetchBatch,
        FetchChunk,
        FetchHistory,
        FetchState,
        ForwardedRequests,
        History,
        Stable,
        StateChunk,
        StateManifest,
        Status,
    )
)
"""Messages between replicas that promise nothing: questions, answers, and what convinces alone."""

_FREE_TAGS = frozenset(kind.TAG.encode() for kind in FREE)
_PREFIX = b"DSSEv1 "


class Domain(IntEnum):
    """What stands in one order of its own."""

    PREPARE = 1
    COMMIT = 2
    CHECKPOINT = 3
    VIEW_CHANGE = 4
    NEW_VIEW = 5
    BEACON = 6
    CERTIFICATE = 7
    FINALITY = 8
    BLOCK = 9


VOTES = frozenset((Domain.PREPARE, Domain.COMMIT, Domain.NEW_VIEW))
"""Given within a view, and never in one that was left."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A signature would say `digest` at `slot` and `rank` of `domain`."""

    domain: Domain
    slot: int
    rank: tuple[int, int]  # a higher one replaces a lower one in the same slot
    digest: bytes  # 32 bytes, SHA-256 of what is signed

    def __str__(self) -> str:
        return f"{self.domain.name} at slot {self.slot}, rank {self.rank[0]}.{self.rank[1]}"


def split(signed: bytes) -> tuple[bytes, bytes]:
    """(tag, body) of a pre-authentication encoding.  Raises DecodeError."""
    try:
        if not signed.startswith(_PREFIX):
            raise ValueError
        at = signed.index(b" ", len(_PREFIX))
        tag_end = at + 1 + int(signed[len(_PREFIX) : at])
        tag = signed[at + 1 : tag_end]
        after = signed.index(b" ", tag_end + 1)
        body = signed[after + 1 :]
        if signed[tag_end : tag_end + 1] != b" " or len(body) != int(signed[tag_end + 1 : after]):
            raise ValueError
    except ValueError:
        raise DecodeError("no pre-authentication encoding; nothing else is ever signed") from None
    return tag, body


def claim_of(signed: bytes) -> Claim | None:
    """What signing `signed` with a replica's identity key would promise; None: nothing.

    Raises:
        DecodeError: no pre-authentication encoding, or a message between replicas that this
            version cannot judge.
    """
    tag, body = split(signed)
    if not tag.startswith(CONSENSUS) or tag in _FREE_TAGS:
        return None
    read = _READERS.get(tag)
    if read is None:
        raise DecodeError(f"tag {tag[:64]!r} is unknown to the signing guard")
    domain, slot, rank = read(body)
    return Claim(domain, slot, rank, sha256(signed))


def share_claim(purpose: int, subject: int, rank: int, message: bytes) -> Claim | None:
    """What a signature share over `message` would promise; None: nothing."""
    domain = _SHARES.get(purpose)
    return None if domain is None else Claim(domain, subject, (0, rank), sha256(message))


def draft_claim(cycle: int, rank: int, message: bytes) -> Claim:
    """What a signature over a winner's draft would promise; `message` as in chain/signet."""
    return Claim(Domain.BLOCK, cycle, (0, rank), sha256(message))


_SHARES = {
    int(Purpose.BEACON): Domain.BEACON,
    int(Purpose.CERTIFICATE): Domain.CERTIFICATE,
    int(Purpose.FINALITY): Domain.FINALITY,
}

Place = tuple[Domain, int, tuple[int, int]]


def _pre_prepare(body: bytes) -> Place:
    vote = decode(PrePrepare, body)
    return Domain.PREPARE, vote.sequence, (vote.epoch, vote.view)


def _prepare(body: bytes) -> Place:
    vote = decode(Prepare, body)
    return Domain.PREPARE, vote.sequence, (vote.epoch, vote.view)


def _commit(body: bytes) -> Place:
    vote = decode(Commit, body)
    return Domain.COMMIT, vote.sequence, (vote.epoch, vote.view)


def _checkpoint(body: bytes) -> Place:
    vote = decode(Checkpoint, body)
    return Domain.CHECKPOINT, vote.sequence, (vote.epoch, 0)


def _view_change(body: bytes) -> Place:
    message = decode(ViewChange, body)
    return Domain.VIEW_CHANGE, 0, (message.epoch, message.view)


def _new_view(body: bytes) -> Place:
    message = decode(NewView, body)
    return Domain.NEW_VIEW, 0, (message.epoch, message.view)


_READERS: dict[bytes, Callable[[bytes], Place]] = {
    PrePrepare.TAG.encode(): _pre_prepare,
    Prepare.TAG.encode(): _prepare,
    Commit.TAG.encode(): _commit,
    Checkpoint.TAG.encode(): _checkpoint,
    ViewChange.TAG.encode(): _view_change,
    NewView.TAG.encode(): _new_view,
}
GUARDED_TAGS = frozenset(_READERS)
