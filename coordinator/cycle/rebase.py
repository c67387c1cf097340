"""The end of an epoch: the cycle goes on with the next epoch's members.

What a member said stays said, under its new index; what leavers said is gone.  Signature shares
were given under the old sharing and are asked for anew; the message that is signed stays, so no
second certificate arises.  Miners notice nothing.
Pure.
"""

from collections.abc import Mapping
from typing import TypeVar

from coordinator.cycle.state import State

V = TypeVar("V")


def rebase(state: State) -> State:
    """The state after its epoch's last batch, as the next epoch begins with it."""
    successor = state.successor
    assert successor is not None and state.sequence == successor.boundary
    key = successor.federation_key
    places = key.membership.index_by_key
    moved = {
        index: places[member.key]
        for index, member in enumerate(state.members)
        if member.key in places
    }

    def kept(said: Mapping[int, V]) -> dict[int, V]:
        return {moved[index]: said[index] for index in said if index in moved}

    return state.set(
        epoch=key.epoch,
        began=successor.boundary,
        former=state.membership.keys,
        members=key.members,
        transcript=successor.transcript,
        federation_key=key,
        successor=None,
        shares={},
        faulty=(),
        elapsed=tuple(sorted(moved[index] for index in state.elapsed if index in moved)),
        tables=kept(state.tables),
        votes=kept(state.votes),
        seen=kept(state.seen),
    )
