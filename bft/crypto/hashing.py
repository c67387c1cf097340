"""SHA-256 in the three shapes that we use.

Source: FIPS 180-4; Bitcoin's double SHA-256; BIP 340 for tagged hashes.
Pure.
"""

import hashlib


def sha256(data: bytes) -> bytes:
    """32 bytes."""
    return hashlib.sha256(data).digest()


def double_sha256(data: bytes) -> bytes:
    """32 bytes; Bitcoin's block and transaction ids, in internal byte order."""
    return sha256(sha256(data))


def tagged_hash(tag: str, data: bytes) -> bytes:
    """32 bytes; a hash under one tag is never a hash under another (BIP 340)."""
    prefix = sha256(tag.encode())
    return sha256(prefix + prefix + data)
