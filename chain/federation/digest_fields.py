"""The fields Content-Digest and Repr-Digest, with SHA-256: what stands in a body, for both sides.

Source: RFC 9530; RFC 8941 section 3.2 for dictionaries, of which only the member that we need is
read.  Pure.
"""

import base64
import binascii

from bft.errors import DecodeError

CONTENT_DIGEST, REPR_DIGEST = "Content-Digest", "Repr-Digest"
FIELD_CHARS_MAX = 1024
_ALGORITHM = "sha-256"
_DIGEST_BYTES = 32


def digest_field(digest: bytes) -> str:
    """The field's value."""
    return f"{_ALGORITHM}=:{base64.b64encode(digest).decode()}:"


def read_digest_field(text: str) -> bytes:
    """The SHA-256 in a field's value; digests of other algorithms beside it are not looked at.

    Raises:
        DecodeError: there is none, or more than one, or it is malformed.
    """
    if len(text) > FIELD_CHARS_MAX:
        raise DecodeError(f"{len(text)} characters in a digest field; at most {FIELD_CHARS_MAX}")
    members = [member.strip().partition("=") for member in text.split(",")]
    found = [value for name, _, value in members if name.strip() == _ALGORITHM]
    if len(found) != 1 or len(found[0]) < 2 or found[0][0] != ":" or found[0][-1] != ":":
        raise DecodeError(f"{text[:100]!r} came as a digest; {_ALGORITHM}=:base64: expected")
    try:
        digest = base64.b64decode(found[0][1:-1], validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise DecodeError(f"{found[0][:100]!r} came as a digest; 32 bytes in base64 expected")
    return digest
