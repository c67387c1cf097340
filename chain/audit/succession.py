"""Which members decide which batches: the epochs of a log, as its auditor meets them.

Source: docs/PROTOCOL.md, "Epochs".
Pure.
"""

from collections import deque
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U32, U63, IdentityKey
from bft.membership import REPLICAS_MAX, Membership
from chain.audit.findings import EpochSummary

EPOCHS_KEPT = 3
"""Whose members may stand under the newest checkpoint."""
EPOCHS_TOLD_MAX = 100_000
"""Changes of members in one log; as many lines in a report are of no use."""


class KeptMembers(Record):
    """The members of one epoch."""

    epoch: U32
    keys: Annotated[tuple[IdentityKey, ...], Meta(min_length=1, max_length=REPLICAS_MAX)]


class KeptSuccession(Record):
    """The state of a Succession."""

    members: Annotated[tuple[KeptMembers, ...], Meta(min_length=1, max_length=EPOCHS_KEPT)]
    following: tuple[KeptMembers, U63] | None
    told: Annotated[tuple[EpochSummary, ...], Meta(max_length=EPOCHS_TOLD_MAX)]


class Succession:
    """The epoch of the batch at hand, those before it, and the one that follows."""

    def __init__(self, first: Membership) -> None:
        """`first`: the members of the genesis record."""
        self._chain_id = first.chain_id
        self._newest = deque([first], maxlen=EPOCHS_KEPT)
        self._following: tuple[Membership, int] | None = None  # after this batch
        self._told = [EpochSummary(epoch=first.epoch, replicas=first.n, boundary=0)]

    @property
    def membership(self) -> Membership:
        """Who decides the batch at hand."""
        return self._newest[-1]

    @property
    def newest(self) -> tuple[Membership, ...]:
        """Of the newest epochs, the newest last."""
        return tuple(self._newest)

    @property
    def told(self) -> tuple[EpochSummary, ...]:
        """All that decided a batch, and epoch 0."""
        return tuple(self._told)

    def announce(self, membership: Membership, last: int) -> None:
        """These are the members of the next epoch if it is the next; `last` ends this one."""
        if membership.epoch == self.membership.epoch + 1:
            self._following = (membership, last)

    def enter(self, sequence: int) -> None:
        """This batch is at hand: those after a boundary are decided by the next members."""
        if self._following is None or sequence <= self._following[1]:
            return
        membership, last = self._following
        self._following = None
        self._newest.append(membership)
        self._told.append(
            EpochSummary(epoch=membership.epoch, replicas=membership.n, boundary=last)
        )

    def kept(self) -> KeptSuccession:
        """The state."""
        after = self._following
        return KeptSuccession(
            members=tuple(_kept(each) for each in self._newest),
            following=None if after is None else (_kept(after[0]), after[1]),
            told=self.told,
        )

    def restore(self, kept: KeptSuccession) -> None:
        """Back to a state of the same chain."""
        self._newest.clear()
        self._newest.extend(self._restored(each) for each in kept.members)
        self._following = None
        if kept.following is not None:
            self._following = (self._restored(kept.following[0]), kept.following[1])
        self._told = list(kept.told)

    def _restored(self, kept: KeptMembers) -> Membership:
        return Membership(self._chain_id, kept.epoch, kept.keys)


def _kept(membership: Membership) -> KeptMembers:
    return KeptMembers(epoch=membership.epoch, keys=membership.keys)
