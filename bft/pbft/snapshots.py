"""An application's state in chunks, and the root that checkpoints vote on.

The root is a Merkle root over the chunks, so that a stable checkpoint binds each of them and a
late replica can check what it gets piece by piece, whoever sends it.
Source: docs/CONSENSUS.md, "State transfer".  Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.crypto.merkle import leaf_hash, root_of_hashes
from bft.pbft.records import CHUNK_BYTES, CHUNKS_MAX

STATE_BYTES_MAX = CHUNK_BYTES * CHUNKS_MAX


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after `sequence`, ready to be served."""

    sequence: int
    chunks: tuple[bytes, ...]
    hashes: tuple[bytes, ...]  # leaf hashes of the chunks

    @property
    def root(self) -> bytes:
        """32 bytes: the state root."""
        return root_of_hashes(self.hashes)


def split(state: bytes) -> tuple[bytes, ...]:
    """Chunks of CHUNK_BYTES, the last one shorter."""
    assert len(state) <= STATE_BYTES_MAX, f"a state of {len(state)} bytes cannot be transferred"
    return tuple(state[at : at + CHUNK_BYTES] for at in range(0, len(state), CHUNK_BYTES))


def snapshot(sequence: int, state: bytes) -> Snapshot:
    """The state after `sequence` in pieces."""
    chunks = split(state)
    return Snapshot(sequence, chunks, tuple(leaf_hash(chunk) for chunk in chunks))


def state_root(state: bytes) -> bytes:
    """32 bytes that name the state and every chunk of it."""
    return snapshot(0, state).root


def missing(hashes: Sequence[bytes], have: dict[bytes, bytes]) -> tuple[int, ...]:
    """Indices of the chunks that are not among `have` (leaf hash -> chunk)."""
    return tuple(index for index, hashed in enumerate(hashes) if hashed not in have)
