"""The draw: when the lottery rule may be asked.  Who wins is in chain/rules/lottery.py.

Pure.
"""

from chain.records.score_log import BeaconRound, CloseReason, Drawn
from chain.rules.beacon import randomness
from chain.rules.lottery import draw
from chain.rules.rounds import draw_round
from chain.rules.scoring import tickets_by_miner
from chain.rules.standing import is_barred
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases import signing
from coordinator.cycle.phases.closing import close
from coordinator.cycle.state import Phase, Rules


def advance(rules: Rules, draft: Draft) -> Draft:
    """Draw when the draw round is signed; nobody knew it while scores could still move."""
    draft, signature = signing.combined(rules, draft)
    if signature is None:
        return draft
    state = draft.state
    assert state.scored is not None
    seed, tickets = randomness(signature), tickets_by_miner(state.scored.rows)
    barred = tuple(
        miner for miner in sorted(tickets) if is_barred(state.standings, miner, state.cycle)
    )
    for miner in barred:  # since it got its unit
        del tickets[miner]
    drawn = Drawn(
        cycle=state.cycle,
        randomness=seed,
        ranks=draw(seed, tickets, rules.params.ranks_max),
        barred=barred,
    )
    draft = draft.log(BeaconRound(round=draw_round(state.cycle), signature=signature)).log(drawn)
    draft = draft.set(drawn=drawn, randomness=seed)
    if not drawn.ranks:
        return close(draft, CloseReason.NO_TICKETS)
    return draft.enter(Phase.AGGREGATION)
