"""Aggregation: replicas make the outer step in exact integers and agree on its digests.

Of the steps that a job tries they agree on the one with the smallest loss, by their medians.

Pure.
"""

from bft.errors import Refused
from chain.records.evaluation import SnapshotVote
from chain.records.score_log import Aggregated, CloseReason
from chain.rules.families.registry import heldout_predictions
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
    if vote.records != heldout_predictions(rules.job):
        raise Refused("out-of-range", f"{vote.records} held-out predictions came")
    if len(vote.models) != rules.job.backtracking + 1:
        raise Refused("out-of-range", f"{len(vote.models)} models came")
    right = max(model.correct for model in vote.models)
    if right > vote.records:
        raise Refused("out-of-range", f"{right} of {vote.records} held-out predictions")
    return draft.set(votes={**state.votes, author: vote})


def agreed(rules: Rules, state: State) -> tuple[SnapshotVote, ...]:
    """The votes for the digests that a strong quorum has, by replica; empty when none has them."""
    votes = [state.votes[replica] for replica in sorted(state.votes)]
    for digests in sorted({digests_of(vote) for vote in votes}):
        matching = tuple(vote for vote in votes if digests_of(vote) == digests)
        if len(matching) >= state.membership.strong:
            return matching
    return ()


def digests_of(vote: SnapshotVote) -> tuple[bytes, ...]:
    """What replicas must agree on exactly."""
    return tuple(model.digest for model in vote.models)


def chosen(votes: tuple[SnapshotVote, ...]) -> int:
    """Halvings of the step whose lower median loss is smallest; of equal ones the larger step."""
    losses = [
        lower_median([vote.models[halvings].challenge_loss for vote in votes])
        for halvings in range(len(votes[0].models))
    ]
    return losses.index(min(losses))


def advance(rules: Rules, draft: Draft) -> Draft:
    """On to the certificate when a strong quorum holds the same next model."""
    state = draft.state
    votes = agreed(rules, state)
    if votes:
        halvings = chosen(votes)
        models = [vote.models[halvings] for vote in votes]
        aggregated = Aggregated(
            cycle=state.cycle,
            digest=models[0].digest,
            halvings=halvings,
            loss=lower_median([model.loss for model in models]),
            correct=lower_median([model.correct for model in models]),
            records=heldout_predictions(rules.job),
        )
        draft = draft.log(aggregated).set(aggregated=aggregated, model=aggregated.digest)
        return certify(rules, draft, 0)
    if not timed_out(rules, state):
        return draft
    if state.attempt < EXTENSIONS_MAX:
        return draft.extend()
    return close(draft, CloseReason.NO_SNAPSHOT)
