"""The work of a signet block: nonces tried until the header's hash meets the target.

BIP 325's least target takes 4.8 million hashes on average.  The header's first 64 bytes are hashed
once, as miners have always done it.  Pure.
"""

import hashlib
from collections.abc import Iterator

NONCES = 2**32
STEP = 1 << 16  # nonces between two looks at the world


def search(header: bytes, target: int, first: int, count: int) -> int | None:
    """The first nonce in [first, first + count) whose hash is at most `target`, or None.

    Args:
        header: 80 bytes; the nonce in it does not matter.
    """
    assert len(header) == 80
    midstate, tail = hashlib.sha256(header[:64]), header[64:76]
    sha256 = hashlib.sha256
    # Most hashes miss by their top bytes alone, so only those are looked at first.
    zeros = bytes(32 - (target.bit_length() + 7) // 8)
    cut = 32 - len(zeros)
    for nonce in range(first, min(first + count, NONCES)):
        inner = midstate.copy()
        inner.update(tail + nonce.to_bytes(4, "little"))
        found = sha256(inner.digest()).digest()
        if found[cut:] == zeros and int.from_bytes(found, "little") <= target:
            return nonce
    return None


def stripes(worker: int, workers: int) -> Iterator[int]:
    """Where each stretch of STEP nonces begins that `worker` of `workers` has to try."""
    return iter(range(worker * STEP, NONCES, workers * STEP))


def with_nonce(block: bytes, nonce: int) -> bytes:
    """The block with another nonce in its header."""
    return block[:76] + nonce.to_bytes(4, "little") + block[80:]
