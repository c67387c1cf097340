"""Evidence against a winner, from whoever has it: its key is out of the lottery for a while.

Pure.
"""

from chain.barring import barred, judge
from chain.records.conviction import ShowEvidence
from coordinator.cycle.draft import Draft
from coordinator.cycle.state import Rules


def on_evidence(rules: Rules, draft: Draft, author: bytes, shown: ShowEvidence) -> Draft:
    """Bar the winner; work that it has in the running cycle goes on, and its tickets count nothing.

    Raises:
        Refused, DecodeError: as `chain.barring.judge`.
    """
    state = draft.state
    assert state.federation_key is not None  # there is one from the first cycle on
    told = judge(
        shown,
        federation_key=state.federation_key.key,
        chain_id=rules.chain_id,
        cycle=state.cycle,
        standings=state.standings,
        params=rules.params,
    )
    registrations = dict(state.registrations)
    registrations.pop(told.miner, None)
    return draft.log(told).set(
        standings=barred(state.standings, told),
        registrations=registrations,
        veterans=tuple(miner for miner in state.veterans if miner != told.miner),
    )
