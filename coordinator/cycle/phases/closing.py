"""How a cycle ends and the next one opens, whatever the reason.

Pure.
"""

from chain.records.score_log import CloseReason, CycleClosed
from chain.rules.standing import is_barred
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases.membership import expire
from coordinator.cycle.state import Phase


def close(draft: Draft, reason: CloseReason) -> Draft:
    """Log the end of the cycle and open the next; what outlives a cycle stays."""
    draft = expire(draft)
    state = draft.state
    draft = draft.log(CycleClosed(cycle=state.cycle, reason=int(reason)))
    revealed = {state.units[unit].miner for unit in sorted(state.reveals)}
    awaited = [m for m in sorted(revealed) if not is_barred(state.standings, m, state.cycle + 1)]
    return draft.enter(
        Phase.REGISTRATION,
        cycle=state.cycle + 1,
        veterans=tuple(awaited),
        seed=bytes(32),
        units=(),
        commitments={},
        reveals={},
        challenge=bytes(32),
        tables={},
        scored=None,
        drawn=None,
        votes={},
        aggregated=None,
        rank=0,
        certificate=b"",
        seen={},
        header=b"",
    )
