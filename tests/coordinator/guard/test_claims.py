"""What a message promises is read off its bytes."""

import typing

import pytest

from bft.codec.canonical import Record
from bft.codec.envelope import pre_authentication_encoding
from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from bft.ordering.request import Request
from bft.pbft.messages import Commit, Message, Prepare, PrePrepare, Status
from chain.records.votes import Purpose
from coordinator.guard.claims import (
    FREE,
    GUARDED_TAGS,
    Domain,
    claim_of,
    share_claim,
    split,
)
from tests.coordinator.guard.messages import CHAIN, checkpoint, new_view, signed, view_change, vote


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (vote(PrePrepare, 7, view=3), (Domain.PREPARE, 7, (1, 3))),
        (vote(Prepare, 7, view=3), (Domain.PREPARE, 7, (1, 3))),
        (vote(Commit, 7, view=3, epoch=2), (Domain.COMMIT, 7, (2, 3))),
        (checkpoint(128), (Domain.CHECKPOINT, 128, (1, 0))),
        (view_change(4), (Domain.VIEW_CHANGE, 0, (1, 4))),
        (new_view(4, epoch=9), (Domain.NEW_VIEW, 0, (9, 4))),
    ],
)
def test_a_vote_says_where_it_stands(
    message: bytes, place: tuple[Domain, int, tuple[int, int]]
) -> None:
    found = claim_of(message)
    assert found is not None
    assert (found.domain, found.slot, found.rank) == place
    assert found.digest == sha256(message)


def test_a_primarys_proposal_and_a_backups_prepare_exclude_each_other() -> None:
    """PBFT: a primary's PRE-PREPARE is its only vote."""
    proposal, prepare = claim_of(vote(PrePrepare, 7)), claim_of(vote(Prepare, 7))
    assert proposal is not None and prepare is not None
    assert (proposal.domain, proposal.slot) == (prepare.domain, prepare.slot)
    assert proposal.digest != prepare.digest


def test_every_message_between_replicas_is_judged() -> None:
    """A new kind must be put on one of the two lists before anything signs it."""
    kinds: tuple[type[Record], ...] = typing.get_args(Message)
    unknown = [
        kind.TAG for kind in kinds if kind not in FREE and kind.TAG.encode() not in GUARDED_TAGS
    ]
    assert unknown == []


def test_what_promises_nothing_passes() -> None:
    status = Status(
        chain_id=CHAIN,
        epoch=1,
        view=0,
        pending_view=0,
        wished_view=0,
        low=0,
        decided=0,
        helper=0,
        slots=(),
        replica=0,
    )
    assert claim_of(signed(status)) is None
    assert claim_of(pre_authentication_encoding(Request.TAG.encode(), b"anything")) is None


def test_an_unknown_message_between_replicas_is_not_signed() -> None:
    with pytest.raises(DecodeError, match="unknown to the signing guard"):
        claim_of(pre_authentication_encoding(b"pbft.commit/2", b""))


def test_a_damaged_vote_is_not_signed() -> None:
    body = split(vote(Commit, 7))[1]
    for damaged in (body[:-1], body + b"\x00", b""):
        with pytest.raises(DecodeError):
            claim_of(pre_authentication_encoding(Commit.TAG.encode(), damaged))


@pytest.mark.parametrize(
    "signed_bytes",
    [
        b"",
        b"DSSEv1 ",
        b"DSSEv1 3 tag",
        b"DSSEv1 3 tag 5 body",
        b"DSSEv1 3 tag 3 body",
        b"DSSEv1 -1 tag 4 body",
        b"DSSEv1 x tag 4 body",
        b"DSSEv1 3 tagg4 body",
        b"DSSEv2 3 tag 4 body",
        bytes(32),
    ],
)
def test_bytes_without_a_tag_are_not_signed(signed_bytes: bytes) -> None:
    with pytest.raises(DecodeError, match="no pre-authentication encoding"):
        claim_of(signed_bytes)


def test_splitting_undoes_the_encoding() -> None:
    for tag, body in ((b"a", b""), (b"t g", b"3 x"), (b"pbft.x/1", bytes(300))):
        assert split(pre_authentication_encoding(tag, body)) == (tag, body)


def test_a_share_stands_at_its_subject_and_rank() -> None:
    found = share_claim(int(Purpose.CERTIFICATE), 12, 1, b"message")
    assert found is not None
    assert (found.domain, found.slot, found.rank) == (Domain.CERTIFICATE, 12, (0, 1))
    assert share_claim(int(Purpose.ACTIVATION), 1, 0, b"message") is None
