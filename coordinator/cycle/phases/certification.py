"""Certification: the state fixes a certificate's body, the federation signs it.

The certificate of a rank is asked for only after every rank before it was voided by an ordered
timeout, so at most one certificate is live at a height.
Pure.
"""

from chain.records.certificate import BlockCertificate
from chain.records.score_log import Certified
from chain.rules.limits import WINDOW_FACTOR
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases import signing
from coordinator.cycle.state import Phase, Rules


def certify(rules: Rules, draft: Draft, rank: int) -> Draft:
    """Fix the body for `rank` and ask for its signature."""
    state = draft.state
    assert state.scored is not None and state.drawn is not None and state.aggregated is not None
    newest = state.federation_key if state.successor is None else state.successor.federation_key
    assert newest is not None
    place = state.drawn.ranks[rank]
    own = [row for row in state.scored.rows if row.miner == place.miner and row.tickets]
    now = state.agreed_ms // 1000
    not_before = max(now, state.tip.time + 1)
    body = BlockCertificate(
        chain_id=rules.chain_id,
        epoch=state.epoch,
        cycle=state.cycle,
        height=state.tip.height + 1,
        rank=rank,
        parent=state.tip.hash,
        not_before=not_before,
        # From now, not from the tip's time: else winners could push block times ahead for ever.
        not_after=max(not_before, now + WINDOW_FACTOR * rules.params.block_ms // 1000),
        nonce=state.drawn.randomness,
        winner=place.miner,
        parameters=sum(row.parameters for row in own),
        loss_reduction=sum(row.gain for row in own),
        tickets=place.tickets,
        tickets_total=state.scored.tickets_total,
        contributions_root=state.scored.contributions_root,
        log_root=state.log.root,
        log_size=state.log.size,
        model_snapshot=state.aggregated.digest,
        next_federation=newest.digest,
    ).body()
    return draft.enter(Phase.CERTIFICATION, rank=rank, certificate=body)


def advance(rules: Rules, draft: Draft) -> Draft:
    """On to the block when the certificate is signed.

    The rank stands in `attempt`, so that a clock's vote for one rank never serves the next.
    """
    draft, signature = signing.combined(rules, draft)
    if signature is None:
        return draft
    certificate = draft.state.certificate + signature
    draft = draft.log(Certified(certificate=certificate))
    rank = draft.state.rank
    return draft.enter(Phase.BLOCK, certificate=certificate, seen={}).set(attempt=rank)
