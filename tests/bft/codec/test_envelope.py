"""What is signed is what came: the tag, the body, and nothing decoded before it is verified."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import (
    Envelope,
    envelope_digest,
    open_as,
    open_envelope,
    pre_authentication_encoding,
    seal,
)
from bft.codec.types import U16
from bft.crypto.identity import PrivateKey
from bft.errors import BadSignature, DecodeError

ALICE, BOB = PrivateKey(bytes([1] * 32)), PrivateKey(bytes([2] * 32))


class Vote(Record):
    """One of two records with the same fields."""

    TAG = "test.vote/1"

    value: U16


class Other(Record):
    """The other."""

    TAG = "test.other/1"

    value: U16


SEALED = seal(Vote(value=7), ALICE.public_key, ALICE.sign)


def test_a_sealed_record_opens_to_its_signer_and_itself() -> None:
    assert open_as(Vote, SEALED) == (ALICE.public_key, Vote(value=7))


def test_the_encoding_that_is_signed_is_that_of_dsse() -> None:
    """DSSE protocol.md, its own example."""
    encoded = pre_authentication_encoding(b"http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@given(st.binary(max_size=8), st.binary(max_size=8), st.binary(max_size=8), st.binary(max_size=8))
def test_two_pairs_never_have_one_encoding(a: bytes, b: bytes, c: bytes, d: bytes) -> None:
    same = pre_authentication_encoding(a, b) == pre_authentication_encoding(c, d)
    assert same == ((a, b) == (c, d))


def test_a_signature_serves_no_other_type() -> None:
    envelope = decode(Envelope, SEALED)
    relabelled = msgspec.structs.replace(envelope, tag=Other.TAG.encode())
    with pytest.raises(BadSignature):
        open_as(Other, encode(relabelled))


def test_a_record_of_another_type_is_refused_though_rightly_signed() -> None:
    with pytest.raises(DecodeError, match=r"test\.other/1"):
        open_as(Other, SEALED)


def test_another_signer_cannot_take_the_signature_over() -> None:
    stolen = msgspec.structs.replace(decode(Envelope, SEALED), signer=BOB.public_key)
    with pytest.raises(BadSignature):
        open_envelope(encode(stolen))


def test_every_flipped_bit_is_refused() -> None:
    for position in range(len(SEALED)):
        for bit in range(8):
            changed = bytearray(SEALED)
            changed[position] ^= 1 << bit
            with pytest.raises(DecodeError):
                open_as(Vote, bytes(changed))


def test_a_signed_body_that_is_not_canonical_is_refused() -> None:
    body = b"\x91\xcd\x00\x07"  # 7 in three bytes
    tag = Vote.TAG.encode()
    signature = ALICE.sign(pre_authentication_encoding(tag, body))
    envelope = Envelope(tag=tag, body=body, signer=ALICE.public_key, signature=signature)
    with pytest.raises(DecodeError, match="canonical"):
        open_as(Vote, encode(envelope))


def test_an_envelope_longer_than_allowed_is_refused_before_its_signature_is_looked_at() -> None:
    assert open_envelope(SEALED, bytes_max=len(SEALED))
    with pytest.raises(DecodeError, match="at most"):
        open_envelope(SEALED, bytes_max=len(SEALED) - 1)


def test_the_digest_names_what_was_said_and_not_who_signed() -> None:
    by_bob = decode(Envelope, seal(Vote(value=7), BOB.public_key, BOB.sign))
    other = decode(Envelope, seal(Other(value=7), ALICE.public_key, ALICE.sign))
    digest = envelope_digest(decode(Envelope, SEALED))
    assert envelope_digest(by_bob) == digest != envelope_digest(other)
