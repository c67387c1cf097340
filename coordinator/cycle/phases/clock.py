"""Time in the cycle: a phase's time is over when `weak` replicas' own clocks say so.

No agreed time decides here: f lying replicas can neither hurry a phase (one correct clock is among
`weak`) nor hold it up (the correct replicas are enough).
Pure.
"""

from bft.dkg.messages import Phase as Ceremony
from bft.errors import Refused
from chain.records.votes import Elapsed
from coordinator.cycle.draft import Draft
from coordinator.cycle.state import Phase, Rules, State

KEYGEN_MS = 30_000
RESHARING_MS = {
    Ceremony.KEYS: 60_000,  # a joiner first has to follow the log; without keys it gets no share
    Ceremony.DEALING: 15_000,  # dealers run already, or they are why there is a change
    Ceremony.COMPLAINT: 30_000,
    Ceremony.DONE: 30_000,  # new members prove their shares
}
"""How long each phase of a resharing may take."""


def duration_ms(rules: Rules, phase: int) -> int | None:
    """How long a phase may take; None when it waits without a limit for a federation signature."""
    params = rules.params
    durations = {
        Phase.KEYGEN: KEYGEN_MS,
        Phase.REGISTRATION: params.registration_ms,
        Phase.TRAINING: params.training_ms,
        Phase.REVEAL: params.reveal_ms,
        Phase.EVALUATION: params.evaluation_ms,
        Phase.AGGREGATION: params.snapshot_ms,
        Phase.BLOCK: params.block_ms,
    }
    return durations.get(Phase(phase))


def timed_out(rules: Rules, state: State) -> bool:
    """Whether enough clocks say that the phase had its time."""
    return len(state.elapsed) >= state.membership.weak


def on_elapsed(rules: Rules, draft: Draft, author: int, elapsed: Elapsed) -> Draft:
    """Count one replica's clock.

    Raises:
        Refused: "late" for another phase, "twice" for a second vote, "untimed" where no time runs.
    """
    state = draft.state
    here = (state.cycle, state.phase, state.attempt)
    if (elapsed.cycle, elapsed.phase, elapsed.attempt) != here:
        raise Refused("late", f"(cycle, phase, attempt) is {here} here")
    if duration_ms(rules, state.phase) is None:
        raise Refused("untimed", f"phase {Phase(state.phase).name} has no time limit")
    if author in state.elapsed:
        raise Refused("twice", f"replica {author} has said so")
    return draft.set(elapsed=tuple(sorted((*state.elapsed, author))))
