"""Checkpoint votes, and when a strong quorum of them makes a checkpoint stable.

Source: PBFT (OSDI 1999) section 4.3.  Pure.
"""

from collections import Counter

from bft.crypto.hashing import tagged_hash
from bft.errors import ProtocolViolation
from bft.membership import Membership
from bft.pbft.certificates import signatures
from bft.pbft.messages import Checkpoint, StableProof, Verified


def chain_start(membership: Membership, first: int) -> bytes:
    """32 bytes: the hash chain before the first batch of an epoch, which follows `first`.

    Each epoch begins its own, so that a new member needs no hash of what was before it.
    """
    if membership.epoch == 0:
        return membership.chain_id
    number = membership.epoch.to_bytes(4, "big") + first.to_bytes(8, "big")
    return tagged_hash("pbft.epoch/1", membership.chain_id + number)


def chain_after(chain: bytes, digest: bytes) -> bytes:
    """32 bytes: the hash chain over the epoch's batch digests, one batch further."""
    return tagged_hash("pbft.chain/1", chain + digest)


class Checkpoints:
    """CHECKPOINT votes of (low, low + window], at most one for each replica and sequence."""

    def __init__(self, membership: Membership, interval: int, window: int, low: int = 0) -> None:
        self.membership = membership
        self.interval = interval
        self.window = window
        self.low = low
        self._votes: dict[int, dict[int, Verified]] = {}

    def add(self, vote: Verified) -> StableProof | None:
        """Count one vote; the proof when a strong quorum says the same, None otherwise.

        Raises:
            ProtocolViolation: the replica signed two states for one sequence.
        """
        message = vote.message
        assert isinstance(message, Checkpoint)
        sequence = message.sequence
        if sequence % self.interval or not self.low < sequence <= self.low + self.window:
            return None
        votes = self._votes.setdefault(sequence, {})
        known = votes.setdefault(vote.sender, vote)
        if known.message != message:
            raise ProtocolViolation(
                f"replica {vote.sender} signed two checkpoints at {sequence}",
                culprit=vote.sender,
                evidence=(known.envelope, vote.envelope),
            )
        same = {
            replica: votes[replica].signature
            for replica in sorted(votes)
            if _state(votes[replica]) == _state(vote)
        }
        if len(same) < self.membership.strong:
            return None
        return StableProof(
            sequence=sequence,
            chain=message.chain,
            state_root=message.state_root,
            last=message.last,
            signatures=signatures(same, self.membership.strong),
        )

    def divided(self, sequence: int) -> bool:
        """Whether no strong quorum can agree at `sequence` any more, however the rest votes.

        Correct replicas alone are a strong quorum, so more than f are faulty, or state diverges.
        """
        votes = self._votes.get(sequence, {})
        largest = max(Counter(_state(vote) for vote in votes.values()).values(), default=0)
        return largest + self.membership.n - len(votes) < self.membership.strong

    def advance(self, low: int) -> None:
        """Forget votes through `low`."""
        assert low >= self.low
        self.low = low
        for sequence in sorted(self._votes):
            if sequence <= low:
                del self._votes[sequence]

    def __len__(self) -> int:
        """Votes that are kept."""
        return sum(len(votes) for votes in self._votes.values())


def _state(vote: Verified) -> tuple[bytes, bytes, int]:
    assert isinstance(vote.message, Checkpoint)
    return vote.message.chain, vote.message.state_root, vote.message.last
