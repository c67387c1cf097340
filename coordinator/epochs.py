"""Which epoch a replica votes in when it begins from its journal, and what it notes of each.

Source: docs/CONSENSUS.md, "Epochs".  Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U8, U32, U63, Bytes32, IdentityKey
from bft.dkg.messages import MEMBERS_MAX
from bft.membership import Membership
from bft.pbft import journal
from bft.pbft.config import Era
from chain.records.federation import MemberRecord
from chain.records.membership import Members
from coordinator.cycle.state import State

Records = tuple[tuple[int, bytes], ...]


class Noted(Record):
    """An epoch that this replica has lived in, as its journal keeps it.

    When its last batch is executed, the state is the next epoch's and knows these no more.
    """

    chain_id: Bytes32
    epoch: U32
    began: U63  # the last sequence before it
    members: Members
    former: Annotated[tuple[IdentityKey, ...], Meta(max_length=MEMBERS_MAX)]  # of the epoch before
    over: U8 = 0  # 1: a batch beyond its end is decided, so nobody needs a vote in it any more

    @property
    def membership(self) -> Membership:
        """Its replicas."""
        keys = tuple(member.key for member in self.members)
        return Membership(chain_id=self.chain_id, epoch=self.epoch, keys=keys)

    @property
    def past(self) -> tuple[Era, ...]:
        """The epoch before it; none before the first."""
        if self.epoch == 0:
            return ()
        before = Membership(chain_id=self.chain_id, epoch=self.epoch - 1, keys=self.former)
        return (Era(before, self.began),)


def note(state: State) -> Noted:
    """The epoch that a state names."""
    return Noted(
        chain_id=state.transcript.chain_id,
        epoch=state.epoch,
        began=state.began,
        members=state.members,
        former=state.former,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A replica's place in an epoch."""

    epoch: Noted
    index: int

    @property
    def own(self) -> MemberRecord:
        """Its member record."""
        return self.epoch.members[self.index]


def place(state: State, key: bytes, records: Records, noted: Mapping[int, Noted]) -> Place | None:
    """Where the replica with the identity key `key` votes; None if it votes nowhere.

    A member of the epoch that has just ended belongs to it until it has the proof of its last
    state, for which others may need its vote.

    Args:
        state: what the journal leads to.
        records: consensus' journal.
        noted: the epochs that the journal knows.
    """
    before = noted.get(state.epoch - 1)
    if before is not None and state.sequence == state.began and not before.over:
        index = before.membership.index_by_key.get(key)
        if index is not None and not journal.has_ended(records, state.began):
            return Place(before, index)
    index = state.membership.index_by_key.get(key)
    return None if index is None else Place(note(state), index)
