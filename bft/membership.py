"""Who the replicas are, as consensus and auditors need it: indices and identity keys.

Pure.
"""

from dataclasses import dataclass
from functools import cached_property

from bft import quorum

REPLICAS_MAX = 63
"""A set of replicas fits a mask of 63 bits."""


@dataclass(frozen=True)
class Membership:
    """The replicas of one epoch of one chain."""

    chain_id: bytes  # 32 bytes, digest of the genesis record
    epoch: int  # u32
    keys: tuple[bytes, ...]  # 33 bytes each; the position is the replica's index

    @property
    def n(self) -> int:
        """Number of replicas."""
        return len(self.keys)

    @cached_property
    def f(self) -> int:
        """Number of Byzantine replicas tolerated."""
        return quorum.faults(self.n)

    @cached_property
    def strong(self) -> int:
        """Size of a strong quorum; 2f + 1 when n = 3f + 1."""
        return quorum.strong(self.n)

    @cached_property
    def weak(self) -> int:
        """f + 1."""
        return quorum.weak(self.n)

    @cached_property
    def index_by_key(self) -> dict[bytes, int]:
        """Identity key -> replica index."""
        return {key: index for index, key in enumerate(self.keys)}

    def primary(self, view: int) -> int:
        """Index of the replica that proposes in `view`."""
        return view % self.n
