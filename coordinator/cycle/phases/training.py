"""Training: miners commit to updates that nobody can see yet.

Pure.
"""

from bft.errors import Refused
from chain.records.contribution import UpdateCommitment, WorkUnit
from chain.records.score_log import CloseReason, Committed
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases.clock import timed_out
from coordinator.cycle.phases.closing import close
from coordinator.cycle.state import Phase, Rules, State


def own_unit(state: State, miner: bytes, cycle: int, unit: int) -> WorkUnit:
    """The miner's unit of this cycle.

    Raises:
        Refused: "wrong-cycle", "not-assigned".
    """
    if cycle != state.cycle:
        raise Refused("wrong-cycle", f"cycle {cycle} came; cycle {state.cycle} runs")
    if unit >= len(state.units) or state.units[unit].miner != miner:
        raise Refused("not-assigned", f"unit {unit} of cycle {cycle} is not this miner's")
    return state.units[unit]


def on_commitment(rules: Rules, draft: Draft, miner: bytes, commitment: UpdateCommitment) -> Draft:
    """Take one unit's commitment; it cannot be changed.

    Raises:
        Refused: "wrong-cycle", "not-assigned", "twice".
    """
    state = draft.state
    own_unit(state, miner, commitment.cycle, commitment.unit)
    if commitment.unit in state.commitments:
        raise Refused("twice", f"unit {commitment.unit} has its commitment")
    commitments = {**state.commitments, commitment.unit: commitment.commitment}
    return draft.set(commitments=commitments)


def advance(rules: Rules, draft: Draft) -> Draft:
    """On to the reveals when all units are committed, or when the time is over."""
    state = draft.state
    if len(state.commitments) < len(state.units) and not timed_out(rules, state):
        return draft
    if not state.commitments:
        return close(draft, CloseReason.NO_REVEALS)
    draft = draft.log(Committed(cycle=state.cycle, units=tuple(sorted(state.commitments))))
    return draft.enter(Phase.REVEAL)
