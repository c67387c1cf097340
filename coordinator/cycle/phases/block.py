"""The winner's block: replicas vote on the first valid one they see, the federation finalises it.

Replicas check the whole block before they vote (chain/validation.py); `weak` votes for one header
therefore contain a correct replica's check.  If an equivocating winner splits the votes, the first
header in log order that reaches `weak` is the one; if none does in time, the next rank may.
Pure.
"""

from bft.errors import Refused
from chain.records.block import decode_header
from chain.records.certificate import decode_certificate
from chain.records.score_log import BlockFinal, CloseReason, RankVoided
from chain.records.votes import BlockSeen
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases import signing
from coordinator.cycle.phases.certification import certify
from coordinator.cycle.phases.clock import timed_out
from coordinator.cycle.phases.closing import close
from coordinator.cycle.state import Phase, Rules, State, Tip


def on_seen(rules: Rules, draft: Draft, author: int, seen: BlockSeen) -> Draft:
    """Count one replica's vote for a block.

    Raises:
        Refused: "late" (another cycle or rank), "twice", "wrong-parent", "wrong-time".
    """
    state = draft.state
    if (seen.cycle, seen.rank) != (state.cycle, state.rank):
        raise Refused("late", f"rank {state.rank} of cycle {state.cycle} may make the block")
    if author in state.seen:
        raise Refused("twice", f"replica {author} has voted")
    certificate, _ = decode_certificate(state.certificate)
    header = decode_header(seen.header)
    if header.previous != state.tip.hash:
        raise Refused("wrong-parent", "the block's parent is not the final tip")
    if not certificate.not_before <= header.time <= certificate.not_after:
        raise Refused("wrong-time", "the block's time is outside the certificate's window")
    return draft.set(seen={**state.seen, author: seen.header})


def chosen(rules: Rules, state: State) -> bytes:
    """The header with `weak` votes, or nothing; the lowest, if an epoch's end left several."""
    headers = [state.seen[replica] for replica in sorted(state.seen)]
    for header in sorted(set(headers)):
        if headers.count(header) >= state.membership.weak:
            return header
    return b""


def advance_block(rules: Rules, draft: Draft) -> Draft:
    """On to finality with the first chosen block; the next rank, or the end, when time is over."""
    state = draft.state
    header = chosen(rules, state)
    if header:
        return draft.enter(Phase.FINALITY, header=header)
    if not timed_out(rules, state):
        return draft
    assert state.drawn is not None
    draft = draft.log(RankVoided(cycle=state.cycle, rank=state.rank))
    if state.rank + 1 < len(state.drawn.ranks):
        return certify(rules, draft, state.rank + 1)
    return close(draft, CloseReason.NO_BLOCK)


def advance_finality(rules: Rules, draft: Draft) -> Draft:
    """The signed block is the new tip; the cycle is over."""
    draft, signature = signing.combined(rules, draft)
    if signature is None:
        return draft
    state = draft.state
    header = decode_header(state.header)
    tip = Tip(height=state.tip.height + 1, hash=header.hash, time=header.time)
    final = BlockFinal(
        cycle=state.cycle, height=tip.height, header=state.header, signature=signature
    )
    return close(draft.log(final).set(tip=tip), CloseReason.BLOCK)
