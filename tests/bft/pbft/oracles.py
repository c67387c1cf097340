"""What holds in every schedule, whatever else happens in it.

Agreement, validity, no vote against an earlier promise, and nothing that no durable record permits.
"""

from collections import Counter

from bft.ordering.batch import decode_batch
from bft.ordering.proof import Commit
from bft.pbft.messages import (
    Checkpoint,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Verified,
    ViewChange,
)
from tests.bft.pbft.promises import Place, needed


class Oracles:
    """What correct replicas decided and said so far."""

    def __init__(self) -> None:
        self.byzantine: set[int] = set()  # no oracle holds for them
        self.agreed: dict[int, bytes] = {}
        self.submitted: set[bytes] = set()
        self.said: dict[tuple[object, ...], bytes] = {}
        self.left: dict[tuple[int, int], int] = {}  # (epoch, machine) -> view
        self.lists: dict[int, tuple[int, ...]] = {}  # epoch -> its machines
        self.ends: dict[int, int] = {}  # epoch -> its last sequence
        self.furthest: dict[int, int] = {}  # epoch -> the last sequence that somebody voted on
        self.sent: Counter[type[Message]] = Counter()

    def decided(self, sequence: int, digest: bytes, batch: bytes) -> None:
        """A correct replica executes `batch`."""
        assert self.agreed.setdefault(sequence, digest) == digest, "agreement"
        for data in decode_batch(batch).requests:
            assert data in self.submitted, "validity"

    def follows(self, epoch: int, machines: tuple[int, ...], first: int) -> None:
        """A correct replica goes from one epoch to the next."""
        assert self.lists.setdefault(epoch, machines) == machines, "one member list an epoch"
        if epoch:
            assert self.ends.setdefault(epoch - 1, first) == first, "one end of an epoch"
            assert self.furthest.get(epoch - 1, 0) <= first, "votes beyond the end of an epoch"

    def watch(self, source: int, found: Verified, promises: set[Place]) -> None:
        """A correct replica never says two things in one place, nor goes back on its word."""
        message = found.message
        self.sent[type(message)] += 1
        epoch = message.epoch
        if self.lists[epoch][found.sender] != source:
            return
        promise = needed(message, found.envelope)
        assert promise is None or promise in promises, (
            f"replica {source} says what no durable record of it permits: {message}"
        )
        if isinstance(message, ViewChange):
            self.once(("vc", epoch, source, message.view), found.envelope)
            self.left[epoch, source] = max(self.left.get((epoch, source), 0), message.view)
        elif isinstance(message, NewView):
            self.once(("nv", epoch, source, message.view), found.envelope)
        elif isinstance(message, PrePrepare | Prepare | Commit):
            place = (message.TAG, source, message.view, message.sequence)
            self.once(place, message.digest)
            left = self.left.get((epoch, source), 0)
            assert message.view >= left, f"{source} votes in a view it left"
            sequence = message.sequence
            before, last = self.ends.get(epoch - 1, 0), self.ends.get(epoch, sequence)
            assert before < sequence <= last, f"{source} votes outside of epoch {epoch}"
            self.furthest[epoch] = max(self.furthest.get(epoch, 0), sequence)
        elif isinstance(message, Checkpoint):
            self.once(("cp", source, message.sequence), message.chain + message.state_root)

    def once(self, place: tuple[object, ...], what: bytes) -> None:
        assert self.said.setdefault(place, what) == what, f"{place} said twice"
