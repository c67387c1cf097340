"""Aggregation: replicas make the outer step in exact integers and agree on its digest.

Pure.
"""

from bft.errors import Refused
from chain.records.evaluation import SnapshotVote
from chain.records.score_log import Aggregated, CloseReason
from chain.rules.limits import EXTENSIONS_MAX
from chain.rules.scoring import lower_median
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases.certification import certify
from coordinator.cycle.phases.clock import timed_out
from coordinator.cycle.phases.closing import close
from coordinator.cycle.state import Rules, State


def on_vote(rules: Rules, draft: Draft, author: int, vote: SnapshotVote) -> Draft:
    """Take one replica's next model.

    Raises:
        Refused: "wrong-cycle", "twice", "out-of-range".
    """
    state = draft.state
    if vote.cycle != state.cycle:
        raise Refused("wrong-cycle", f"cycle {vote.cycle} came; cycle {state.cycle} runs")
    if author in state.votes:
        raise Refused("twice", f"replica {author} has voted")
    if vote.records != rules.job.heldout_records or vote.correct > vote.records:
        raise Refused("out-of-range", f"{vote.correct} of {vote.records} held-out records")
    return draft.set(votes={**state.votes, author: vote})


def agreed(rules: Rules, state: State) -> tuple[SnapshotVote, ...]:
    """The votes for the digest that a strong quorum has, by replica; empty when none has one."""
    for digest in sorted({vote.digest for vote in state.votes.values()}):
        votes = [state.votes[replica] for replica in sorted(state.votes)]
        matching = tuple(vote for vote in votes if vote.digest == digest)
        if len(matching) >= state.membership.strong:
            return matching
    return ()


def advance(rules: Rules, draft: Draft) -> Draft:
    """On to the certificate when a strong quorum holds the same next model."""
    state = draft.state
    votes = agreed(rules, state)
    if votes:
        aggregated = Aggregated(
            cycle=state.cycle,
            digest=votes[0].digest,
            loss=lower_median([vote.loss for vote in votes]),
            correct=lower_median([vote.correct for vote in votes]),
            records=rules.job.heldout_records,
        )
        draft = draft.log(aggregated).set(aggregated=aggregated, model=aggregated.digest)
        return certify(rules, draft, 0)
    if not timed_out(rules, state):
        return draft
    if state.attempt < EXTENSIONS_MAX:
        return draft.extend()
    return close(draft, CloseReason.NO_SNAPSHOT)
