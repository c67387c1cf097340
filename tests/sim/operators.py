"""The operators: they propose and approve the member lists of a plan, one after the other.

Level-triggered, as everything that speaks here: every WAKE_MS they look at the newest state and do
what it lacks; a proposal that came to nothing is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from bft.codec.canonical import Record
from bft.ordering.request import seal_request
from chain.records.membership import Approve, Propose
from chain.records.operations import encode_operation
from coordinator.cycle.phases.membership import Stage, stage
from coordinator.cycle.state import Phase, State

if TYPE_CHECKING:
    from tests.sim.world import World

WAKE_MS = 300
RETRY_MS = 2_000


class Operators:
    """All of them."""

    def __init__(self, world: World, plan: Sequence[Sequence[int]]) -> None:
        """`plan`: the machines that are the members of epoch 1, of epoch 2, and so on."""
        self._world = world
        self.plan = [tuple(machines) for machines in plan]  # more may be added
        self._random = Random(f"{world.seed}/operators")
        self._cseq = 0
        self._said: dict[object, int] = {}
        world.agenda.after(WAKE_MS, self._wake)

    def _wake(self) -> None:
        world = self._world
        world.agenda.after(WAKE_MS, self._wake)
        voting = [host for host in world.up if host.voting]
        if not voting:
            return
        state = max((host.settled for host in voting), key=lambda known: known.sequence)
        if state.phase < Phase.REGISTRATION or state.epoch >= len(self.plan):
            return
        here = [host.index for host in voting if host.key.public_key in _keys(state)]
        if stage(state) is Stage.NONE and here:
            self._say(self._random.choice(here), self._proposal(state), ("propose", state.epoch))
        if stage(state) is Stage.PROPOSED:
            assert state.change is not None
            digest = state.change.proposal.digest
            for machine in here:
                index = state.membership.index_by_key[world.keys[machine].public_key]
                if index not in state.change.approvals:
                    self._say(machine, Approve(proposal=digest), (machine, digest))

    def _proposal(self, state: State) -> Propose:
        machines = self.plan[state.epoch]
        members = tuple(self._world.records_of[machine] for machine in machines)
        return Propose(epoch=state.epoch + 1, members=members, reason=b"planned")

    def _say(self, machine: int, operation: Record, what: object) -> None:
        world = self._world
        last = self._said.get(what)
        if last is not None and world.now - last < RETRY_MS:
            return
        self._said[what] = world.now
        key = world.keys[machine]
        self._cseq = max(self._cseq + 1, world.wall_ms + RETRY_MS)
        sealed = seal_request(
            world.rules.chain_id,
            key.public_key,
            self._cseq,
            encode_operation(operation),
            key.sign,
        )
        world.submit(machine, sealed)


def _keys(state: State) -> frozenset[bytes]:
    return frozenset(state.membership.keys)
