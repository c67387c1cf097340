"""RFC 6962 Merkle trees: root, inclusion proof, and a root that grows leaf by leaf.

Source: RFC 6962 section 2.1.  Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.crypto.hashing import sha256
from bft.errors import DecodeError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"")


def leaf_hash(leaf: bytes) -> bytes:
    """32 bytes; leaves and nodes have different prefixes, so neither passes for the other."""
    return sha256(b"\x00" + leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    """32 bytes."""
    return sha256(b"\x01" + left + right)


def _split(size: int) -> int:
    """Largest power of two below `size` (size >= 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes."""
    frontier = Frontier()
    for hashed in hashes:
        frontier = frontier.push(hashed)
    return frontier.root()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaves."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Sibling hashes from the leaf upwards.  Raises IndexError when there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    return _path([leaf_hash(leaf) for leaf in leaves], index)


def _path(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    if len(hashes) == 1:
        return ()
    split = _split(len(hashes))
    if index < split:
        return (*_path(hashes[:split], index), root_of_hashes(hashes[split:]))
    return (*_path(hashes[split:], index - split), root_of_hashes(hashes[:split]))


class Tree:
    """A whole tree, for whoever asks for many proofs: each costs O(log n) lookups."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.size = len(leaves)
        # Full subtrees by level, and what is left over on the right, a subtree of its own, last.
        self._levels = [[leaf_hash(leaf) for leaf in leaves]]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            level = [node_hash(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)]
            self._levels.append(level + below[len(level) * 2 :])

    @property
    def root(self) -> bytes:
        """32 bytes."""
        return self._levels[-1][0] if self.size else EMPTY_ROOT

    def proof(self, index: int) -> tuple[bytes, ...]:
        """As `inclusion_proof`.  Raises IndexError when there is no such leaf."""
        if not 0 <= index < self.size:
            raise IndexError(f"leaf {index} of {self.size}")
        siblings = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                siblings.append(level[sibling])
            index >>= 1
        return tuple(siblings)


def verify_inclusion(
    leaf_hashed: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Returns if the leaf stands at `index` of the tree with `size` leaves and `root`.

    Raises:
        DecodeError: it does not, the proof has the wrong length, or a hash is none.

    Source: RFC 9162 section 2.1.3.2 (same tree as RFC 6962).
    """
    if not 0 <= index < size:
        raise DecodeError(f"leaf index {index} is outside a tree of {size}")
    if any(len(hashed) != HASH_BYTES for hashed in (leaf_hashed, root, *proof)):
        raise DecodeError(f"the leaf, the root and every sibling are hashes of {HASH_BYTES} bytes")
    node, last, here = leaf_hashed, size - 1, index
    for sibling in proof:
        if last == 0:
            raise DecodeError("the inclusion proof is too long")
        if here & 1 or here == last:
            node = node_hash(sibling, node)
            while here and not here & 1:
                here >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        here >>= 1
        last >>= 1
    if last != 0:
        raise DecodeError("the inclusion proof is too short")
    if node != root:
        raise DecodeError("the inclusion proof leads to another root")


@dataclass(frozen=True)
class Frontier:
    """The right edge of a growing tree: what a root needs, in O(log n) hashes."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()  # roots of the full subtrees, largest first

    def push(self, hashed: bytes) -> "Frontier":
        """The frontier with one more leaf hash."""
        peaks, count = [*self.peaks, hashed], self.size
        while count & 1:
            right = peaks.pop()
            peaks[-1] = node_hash(peaks[-1], right)
            count >>= 1
        return Frontier(size=self.size + 1, peaks=tuple(peaks))

    def root(self) -> bytes:
        """Root of the tree so far; the hash of nothing when it is empty."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root
