"""Messages of the ceremony travel in one encoding, and their sizes are bounded."""

import msgspec
import pytest

from bft.codec.canonical import decode, encode
from bft.dkg.messages import (
    MEMBERS_MAX,
    MESSAGES,
    DkgComplaint,
    DkgDealing,
    DkgKeys,
    DkgReady,
    Message,
    Phase,
)
from bft.errors import DecodeError
from bft.ordering.request import REQUEST_BYTES_MAX

LARGEST = DkgDealing(
    session=bytes(32),
    commitments=(bytes(96),) * MEMBERS_MAX,
    ciphertexts=(bytes(80),) * MEMBERS_MAX,
    proof_point=bytes(96),
    proof_scalar=bytes(32),
)
EXAMPLES: list[Message] = [
    DkgKeys(session=bytes(32), keys=(bytes(32),) * MEMBERS_MAX),
    LARGEST,
    DkgComplaint(session=bytes(32), dealer=65535, secret_key=bytes(32)),
    DkgReady(session=bytes(32), phase=Phase.COMPLAINT),
]


@pytest.mark.parametrize("message", EXAMPLES)
def test_a_message_decodes_to_itself_and_cut_or_lengthened_not_at_all(message: Message) -> None:
    data = encode(message)
    assert decode(type(message), data) == message
    for changed in (data[:-1], data + b"\x00", b""):
        with pytest.raises(DecodeError):
            decode(type(message), changed)


def test_the_largest_dealing_fits_a_request() -> None:
    assert len(encode(LARGEST)) < REQUEST_BYTES_MAX


def test_one_member_too_many_is_refused() -> None:
    for changed in (
        msgspec.structs.replace(LARGEST, commitments=(bytes(96),) * (MEMBERS_MAX + 1)),
        msgspec.structs.replace(LARGEST, ciphertexts=(bytes(80),) * (MEMBERS_MAX + 1)),
    ):
        with pytest.raises(DecodeError):
            decode(DkgDealing, encode(changed))


def test_a_phase_that_does_not_exist_is_refused() -> None:
    data = encode(DkgReady(session=bytes(32), phase=Phase.COMPLAINT))
    with pytest.raises(DecodeError):
        decode(DkgReady, data[:-1] + b"\x09")


def test_no_two_messages_share_a_tag() -> None:
    assert len({kind.TAG for kind in MESSAGES}) == len(MESSAGES) == 4
