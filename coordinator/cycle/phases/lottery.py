"""The draw: when the lottery rule may be asked.  Who wins is in chain/rules/lottery.py.

Pure.
"""

from chain.records.score_log import BeaconRound, Drawn
from chain.rules.beacon import randomness
from chain.rules.lottery import draw
from chain.rules.rounds import draw_round
from chain.rules.scoring import tickets_by_miner
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases import signing
from coordinator.cycle.state import Phase, Rules


def advance(rules: Rules, draft: Draft) -> Draft:
    """Draw when the draw round is signed; nobody knew it while scores could still move."""
    draft, signature = signing.combined(rules, draft)
    if signature is None:
        return draft
    state = draft.state
    assert state.scored is not None
    seed = randomness(signature)
    ranks = draw(seed, tickets_by_miner(state.scored.rows), rules.params.ranks_max)
    drawn = Drawn(cycle=state.cycle, randomness=seed, ranks=ranks)
    draft = draft.log(BeaconRound(round=draw_round(state.cycle), signature=signature)).log(drawn)
    return draft.enter(Phase.AGGREGATION, drawn=drawn, randomness=seed)
