"""Registration and assignment.  Miners register for the next cycle while the present one runs.

Pure.
"""

from bft.errors import Refused
from chain.records.contribution import Register
from chain.records.score_log import Assigned, CloseReason
from chain.rules.assignment import assign, units_earned
from chain.rules.standing import is_barred, proven
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases.clock import timed_out
from coordinator.cycle.phases.closing import close
from coordinator.cycle.phases.membership import replicas
from coordinator.cycle.state import Phase, Rules, State


def registering(state: State) -> int:
    """The cycle for which registrations are taken now."""
    return state.cycle if state.phase == Phase.REGISTRATION else state.cycle + 1


def on_register(rules: Rules, draft: Draft, miner: bytes, register: Register) -> Draft:
    """Take one miner's registration; a second one of the same miner is refused.

    Raises:
        Refused: "wrong-cycle", "twice", "full" (for newcomers), "too-small" (earns no unit),
            "barred", "replica".
    """
    state, params = draft.state, rules.params
    if register.cycle != registering(state):
        raise Refused(
            "wrong-cycle",
            f"registration for cycle {register.cycle}; cycle {registering(state)} is open",
        )
    if miner in replicas(state):
        raise Refused("replica", "a replica's key cannot mine")
    if miner in state.registrations:
        raise Refused("twice", "this miner is registered")
    if is_barred(state.standings, miner, register.cycle):
        until = state.standings[miner].barred_until
        raise Refused("barred", f"this miner is barred; cycle {until} is open to it")
    if len(state.registrations) >= params.miners_max and not proven(state.standings, miner):
        raise Refused("full", f"{params.miners_max} miners are registered")
    if units_earned(register.profile, params) == 0:
        raise Refused(
            "too-small",
            f"capacity {register.profile.capacity} earns no unit; {params.unit_capacity} does",
        )
    return draft.set(registrations={**state.registrations, miner: register.profile})


def advance(rules: Rules, draft: Draft) -> Draft:
    """Assign when the time is over, or at once when everybody of the last cycle is back."""
    state = draft.state
    back = bool(state.veterans) and all(key in state.registrations for key in state.veterans)
    if not back and not timed_out(rules, state):
        return draft
    if not state.registrations:
        return close(draft, CloseReason.NO_MINERS)
    units = assign(state.randomness, state.registrations, state.standings, rules.params, rules.job)
    draft = draft.log(
        Assigned(cycle=state.cycle, seed=state.randomness, base=state.model, units=units)
    )
    return draft.enter(Phase.TRAINING, units=units, seed=state.randomness, registrations={})
