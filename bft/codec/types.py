"""Sizes of the fields that travel: one name for each width, checked by the decoder."""

from typing import Annotated

from msgspec import Meta

U8 = Annotated[int, Meta(ge=0, le=2**8 - 1)]
U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
U63 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Counters and times.  63 bits, so that every language's signed 64-bit integer holds it."""
I32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A SHA-256 digest, a salt or a chain id."""
IdentityKey = Annotated[bytes, Meta(min_length=33, max_length=33)]
"""A compressed secp256k1 public key."""
IdentitySignature = Annotated[bytes, Meta(min_length=64, max_length=64)]
"""ECDSA r and s, 32 bytes big-endian each, low s."""
GroupKey = Annotated[bytes, Meta(min_length=96, max_length=96)]
"""A compressed BLS12-381 G2 point."""
GroupSignature = Annotated[bytes, Meta(min_length=48, max_length=48)]
"""A compressed BLS12-381 G1 point."""
Name = Annotated[bytes, Meta(min_length=1, max_length=64)]
"""UTF-8, for people."""
