"""Signed envelopes: DSSE's pre-authentication encoding over (tag, body), verified before decoding.

Source: DSSE protocol (secure-systems-lab/dsse), `PAE`.
Pure: signing is deterministic (RFC 6979).
"""

from collections.abc import Callable
from typing import Annotated, TypeVar

from msgspec import Meta

from bft.codec.canonical import RECORD_BYTES_MAX, Record, decode, encode
from bft.codec.types import IdentityKey, IdentitySignature
from bft.crypto.hashing import sha256
from bft.crypto.identity import verify
from bft.errors import DecodeError

Sign = Callable[[bytes], bytes]
"""Signs a message with an identity key: message bytes -> 64-byte signature."""

R = TypeVar("R", bound=Record)


class Envelope(Record):
    """`signer` says `body`, which is a record of type `tag`."""

    tag: Annotated[bytes, Meta(min_length=1, max_length=64)]
    body: bytes
    signer: IdentityKey
    signature: IdentitySignature


def pre_authentication_encoding(tag: bytes, body: bytes) -> bytes:
    """What is signed: "DSSEv1" and both parts with their lengths, so no two pairs collide."""
    return b"DSSEv1 %d %b %d %b" % (len(tag), tag, len(body), body)


def seal(record: Record, signer: bytes, sign: Sign) -> bytes:
    """The encoded envelope of `record` under `signer`'s key."""
    tag, body = record.TAG.encode(), encode(record)
    signature = sign(pre_authentication_encoding(tag, body))
    return encode(Envelope(tag=tag, body=body, signer=signer, signature=signature))


def open_envelope(data: bytes, *, bytes_max: int = RECORD_BYTES_MAX) -> Envelope:
    """The envelope in `data`, its signature verified.  The body is still undecoded.

    Raises:
        DecodeError: malformed or too long.
        BadSignature: the signature is not `signer`'s over these bytes.
    """
    envelope = decode(Envelope, data, bytes_max=bytes_max)
    verify(
        envelope.signer,
        envelope.signature,
        pre_authentication_encoding(envelope.tag, envelope.body),
    )
    return envelope


def open_as(kind: type[R], data: bytes, *, bytes_max: int = RECORD_BYTES_MAX) -> tuple[bytes, R]:
    """(signer, record) of a verified envelope that must hold a `kind`.

    Raises:
        DecodeError: malformed, or a record of another type.
        BadSignature: see `open_envelope`.
    """
    envelope = open_envelope(data, bytes_max=bytes_max)
    if envelope.tag != kind.TAG.encode():
        raise DecodeError(f"tag {envelope.tag!r} came; {kind.TAG!r} expected")
    return envelope.signer, decode(kind, envelope.body, bytes_max=bytes_max)


def envelope_digest(envelope: Envelope) -> bytes:
    """Identity of what was said, whichever valid signature stands under it."""
    return sha256(pre_authentication_encoding(envelope.tag, envelope.body))
