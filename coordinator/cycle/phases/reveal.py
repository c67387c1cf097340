"""Reveal: miners open their commitments, and enough replicas already hold the bytes.

Pure.
"""

from bft.codec.envelope import open_as
from bft.errors import DecodeError, Refused
from chain.records.contribution import StorageReceipt, UpdateReveal, commitment_digest
from chain.records.score_log import CloseReason, Revealed
from chain.rules.families.registry import segment_parameters
from chain.rules.limits import RECEIPT_BYTES_MAX
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases.clock import timed_out
from coordinator.cycle.phases.closing import close
from coordinator.cycle.phases.training import own_unit
from coordinator.cycle.state import Phase, Reveal, Rules, State


def on_reveal(rules: Rules, draft: Draft, miner: bytes, reveal: UpdateReveal) -> Draft:
    """Take one unit's reveal.

    Raises:
        Refused: "wrong-cycle", "not-assigned", "not-committed", "twice", "mismatch" (opens another
            commitment), "too-long", "wrong-parameters", "unavailable" (too few valid receipts).
    """
    state = draft.state
    unit = own_unit(state, miner, reveal.cycle, reveal.unit)
    if unit.unit not in state.commitments:
        raise Refused("not-committed", f"unit {unit.unit} has no commitment")
    if unit.unit in state.reveals:
        raise Refused("twice", f"unit {unit.unit} is revealed")
    opened = commitment_digest(
        rules.chain_id, state.cycle, unit.unit, miner, reveal.digest, reveal.salt
    )
    if opened != state.commitments[unit.unit]:
        raise Refused("mismatch", "digest and salt do not open this unit's commitment")
    if not 0 < reveal.size <= rules.params.update_bytes_max:
        raise Refused(
            "too-long", f"{reveal.size} bytes; at most {rules.params.update_bytes_max} allowed"
        )
    expected = segment_parameters(rules.job, unit.segment)
    if reveal.parameters != expected:
        raise Refused(
            "wrong-parameters", f"{reveal.parameters} parameters claimed; {expected} expected"
        )
    holders = receipt_holders(rules, state, miner, reveal)
    if len(holders) < state.membership.weak:
        raise Refused(
            "unavailable",
            f"{len(holders)} replicas signed for the bytes; {state.membership.weak} needed",
        )
    opening = Reveal(digest=reveal.digest, size=reveal.size)
    return draft.set(reveals={**state.reveals, unit.unit: opening})


def receipt_holders(
    rules: Rules, state: State, miner: bytes, reveal: UpdateReveal
) -> tuple[int, ...]:
    """Replicas whose valid receipts for exactly these bytes are in the reveal, ascending."""
    expected = StorageReceipt(
        chain_id=rules.chain_id,
        cycle=state.cycle,
        miner=miner,
        digest=reveal.digest,
        size=reveal.size,
    )
    holders = set()
    for sealed in reveal.receipts[: state.membership.n]:
        try:
            signer, receipt = open_as(StorageReceipt, sealed, bytes_max=RECEIPT_BYTES_MAX)
        except DecodeError:
            continue
        index = state.membership.index_by_key.get(signer)
        if index is not None and receipt == expected:
            holders.add(index)
    return tuple(sorted(holders))


def advance(rules: Rules, draft: Draft) -> Draft:
    """On to the challenge when all committed units are revealed, or when the time is over."""
    state = draft.state
    if len(state.reveals) < len(state.commitments) and not timed_out(rules, state):
        return draft
    if not state.reveals:
        return close(draft, CloseReason.NO_REVEALS)
    draft = draft.log(Revealed(cycle=state.cycle, units=tuple(sorted(state.reveals))))
    return draft.enter(Phase.CHALLENGE)
