"""The door: what is let in, and what is refused before it costs anything."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bft.codec.canonical import encode
from bft.codec.envelope import Envelope, pre_authentication_encoding
from bft.errors import BadSignature, ConfigError, DecodeError
from bft.membership import Membership
from bft.ordering.batch import BATCH_BYTES_MAX
from bft.pbft.config import Config
from bft.pbft.log import Ballots, Log
from bft.pbft.messages import Frame, Prepare, open_message, sign_message
from tests.bft.pbft.identities import key, signer
from tests.bft.pbft.makers import D1, FOUR, header, new_view, prepare, prepared, signed, view_change

GENUINE = prepare(0, 1, D1, 2)


def test_a_message_of_a_member_is_let_in_with_its_sender() -> None:
    found = open_message(signed(GENUINE).frame, FOUR)
    assert (found.sender, found.message) == (2, GENUINE)
    assert found.frame == signed(GENUINE).frame


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_one_changed_byte_is_refused(place: int, by: int) -> None:
    data = bytearray(signed(GENUINE).frame)
    data[place % len(data)] ^= by
    with pytest.raises(DecodeError):
        open_message(bytes(data), FOUR)


@pytest.mark.parametrize("cut", [0, 1, 50, -1])
def test_truncated_bytes_are_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        open_message(signed(GENUINE).frame[:cut], FOUR)


def test_a_stranger_is_refused() -> None:
    private = key("stranger")
    body = encode(GENUINE)
    tag = Prepare.TAG.encode()
    signature = private.sign(pre_authentication_encoding(tag, body))
    envelope = Envelope(tag=tag, body=body, signer=private.public_key, signature=signature)
    with pytest.raises(BadSignature, match="no member"):
        open_message(encode(Frame(envelope=encode(envelope), attachment=b"")), FOUR)


def test_a_replica_speaks_for_itself_only() -> None:
    body = encode(GENUINE)
    tag = Prepare.TAG.encode()
    signature = signer(1)(pre_authentication_encoding(tag, body))
    envelope = Envelope(tag=tag, body=body, signer=FOUR.keys[1], signature=signature)
    with pytest.raises(DecodeError, match="names replica 2; 1 signed it"):
        open_message(encode(Frame(envelope=encode(envelope), attachment=b"")), FOUR)


@pytest.mark.parametrize("change", [{"epoch": 1}, {"chain_id": bytes(32)}])
def test_another_chain_or_epoch_is_refused(change: dict[str, Any]) -> None:
    """Scenario 6."""
    other = msgspec.structs.replace(GENUINE, **change)
    with pytest.raises(DecodeError, match="another chain or epoch"):
        open_message(sign_message(other, FOUR, signer(2)).frame, FOUR)


def test_an_unknown_type_is_refused() -> None:
    envelope = Envelope(tag=b"pbft.gossip/1", body=b"", signer=FOUR.keys[1], signature=bytes(64))
    with pytest.raises(DecodeError, match="no message between replicas"):
        open_message(encode(Frame(envelope=encode(envelope), attachment=b"")), FOUR)


def test_a_vote_carries_no_attachment_and_a_batch_has_a_limit() -> None:
    for message, size, taken in (
        (GENUINE, 0, True),
        (GENUINE, 1, False),
        (header(0, 1, D1), BATCH_BYTES_MAX, True),
        (header(0, 1, D1), BATCH_BYTES_MAX + 1, False),
    ):
        frame = sign_message(message, FOUR, signer(message.replica), bytes(size)).frame
        if taken:
            open_message(frame, FOUR)
        else:
            with pytest.raises(DecodeError, match="attached"):
                open_message(frame, FOUR)


def test_an_oversized_envelope_is_refused_before_its_signature_is_checked() -> None:
    """Scenario 63."""
    envelope = Envelope(
        tag=Prepare.TAG.encode(), body=bytes(600), signer=FOUR.keys[1], signature=bytes(64)
    )
    with pytest.raises(DecodeError, match="at most 512"):
        open_message(encode(Frame(envelope=encode(envelope), attachment=b"")), FOUR)


def test_the_largest_messages_pass_the_door() -> None:
    """A VIEW-CHANGE with a window full of proofs, and a NEW-VIEW of a quorum of them."""
    proofs = tuple(prepared(0, s) for s in range(1, 257))
    changes = tuple(view_change(1, i, *proofs) for i in range(3))
    open_message(signed(changes[1]).frame, FOUR)
    open_message(signed(new_view(1, changes, tuple((s, D1) for s in range(1, 257)))).frame, FOUR)


# configuration


@pytest.mark.parametrize(
    "wrong",
    [
        {"index": 4},
        {"window": 255},
        {"window": 128},
        {"window": 2_048, "checkpoint_interval": 1_024},
        {"checkpoint_interval": 0},
        {"pipeline": 0},
        {"batch_requests": 401},
        {"membership": Membership(chain_id=bytes(32), epoch=0, keys=())},
    ],
)
def test_an_impossible_configuration_is_named(wrong: dict[str, Any]) -> None:
    Config(membership=FOUR, index=0, sign=signer(0))
    with pytest.raises(ConfigError):
        Config(**{"membership": FOUR, "index": 0, "sign": signer(0), **wrong})


# the log


def test_the_log_has_places_between_the_watermarks_only() -> None:
    log = Log(16)
    assert [s for s in range(30) if log.holds(s)] == list(range(1, 17))
    log.slot(3, 0)
    log.slot(9, 0)
    log.advance(8)
    assert [slot.sequence for slot in log] == [9]
    assert log.high == 24


def test_a_later_view_replaces_a_vote_and_an_earlier_one_does_not() -> None:
    ballots = Ballots()
    later, earlier = prepare(4, 1, D1, 2), prepare(0, 1, D1, 2)
    assert ballots.add(later, signed(later))
    assert not ballots.add(earlier, signed(earlier))
    assert not ballots.add(later, signed(later))
    assert list(ballots.matching(4, D1)) == [2]
    assert ballots.mask(4) == 0b100
