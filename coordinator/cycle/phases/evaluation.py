"""Challenge and evaluation: the beacon picks the batch, replicas measure, medians decide.

Pure.
"""

from bft.codec.canonical import encode
from bft.crypto.merkle import merkle_root
from bft.errors import Refused
from chain.records.evaluation import EvaluationTable
from chain.records.score_log import BeaconRound, CloseReason, Scored
from chain.rules.audits import ONE, audited_units
from chain.rules.beacon import randomness
from chain.rules.limits import EXTENSIONS_MAX
from chain.rules.rounds import challenge_round
from chain.rules.scoring import agree, next_references, score, struck
from chain.rules.standing import next_standings
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases import signing
from coordinator.cycle.phases.clock import timed_out
from coordinator.cycle.phases.closing import close
from coordinator.cycle.state import Phase, Rules


def advance_challenge(rules: Rules, draft: Draft) -> Draft:
    """On to the measuring when the challenge round is signed."""
    draft, signature = signing.combined(rules, draft)
    if signature is None:
        return draft
    number = challenge_round(draft.state.cycle)
    draft = draft.log(BeaconRound(round=number, signature=signature))
    drawn = randomness(signature)
    return draft.enter(Phase.EVALUATION, challenge=drawn, randomness=drawn)


def on_table(rules: Rules, draft: Draft, author: int, table: EvaluationTable) -> Draft:
    """Take one replica's table; it must measure exactly the revealed units, in order.

    Raises:
        Refused: "wrong-cycle", "twice", "wrong-units", "out-of-range" (valid is no truth value, or
            a cosine above 1).
    """
    state = draft.state
    if table.cycle != state.cycle:
        raise Refused("wrong-cycle", f"cycle {table.cycle} came; cycle {state.cycle} runs")
    if author in state.tables:
        raise Refused("twice", f"replica {author} has given its table")
    if [row.unit for row in table.rows] != sorted(state.reveals):
        raise Refused("wrong-units", "a table lists exactly the revealed units, ascending")
    if any(row.valid not in (0, 1) for row in table.rows):
        raise Refused("out-of-range", "valid is 0 or 1")
    if any(row.replay > ONE for row in table.rows):
        raise Refused("out-of-range", f"replay is at most {ONE}")
    return draft.set(tables={**state.tables, author: table})


def advance_evaluation(rules: Rules, draft: Draft) -> Draft:
    """Score when all tables are in, or at the time's end when a strong quorum's are."""
    state, membership = draft.state, draft.state.membership
    if len(state.tables) < membership.n:
        if not timed_out(rules, state):
            return draft
        if len(state.tables) < membership.strong:
            if state.attempt < EXTENSIONS_MAX:
                return draft.extend()
            return close(draft, CloseReason.NO_QUORUM_OF_TABLES)
    units = {unit.unit: unit for unit in state.units}
    agreed, params = agree(state.tables), rules.params
    audited = audited_units(state.challenge, sorted(state.reveals), params, rules.job)
    rows = score(
        state.cycle, units, agreed, state.references, params, rules.job, audited, state.standings
    )
    caught = struck(units, agreed, audited, params)
    scored = Scored(
        cycle=state.cycle,
        evaluators=tuple(sorted(state.tables)),
        references=state.references,
        rows=rows,
        tickets_total=sum(row.tickets for row in rows),
        contributions_root=merkle_root([encode(row) for row in rows]),
        struck=caught,
    )
    draft = draft.log(scored).set(
        scored=scored,
        references=next_references(state.references, rows, params),
        standings=next_standings(state.cycle, state.standings, state.units, rows, caught, params),
        registrations={
            miner: profile for miner, profile in state.registrations.items() if miner not in caught
        },
    )
    if scored.tickets_total == 0:
        return close(draft, CloseReason.NO_TICKETS)
    return draft.enter(Phase.DRAW)
