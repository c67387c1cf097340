"""A change of members until resharing begins; beside the cycle, never in its way.

A member proposes the complete list of the next epoch's members, a strong quorum approves it, the
members deal their key shares to the new list (resharing.py), and from a checkpoint on the next
epoch runs (rebase.py).
Pure.
"""

from enum import IntEnum

from bft.dkg.messages import Phase as Ceremony
from bft.errors import ConfigError, Refused
from chain.network import check_signers
from chain.records.federation import MemberRecord
from chain.records.membership import Approve, Propose, VoidReason, Withdraw
from chain.records.score_log import ProposalVoided
from chain.rules.limits import PROPOSAL_CYCLES
from chain.rules.membership import check_next_members, text
from coordinator.cycle.draft import Draft
from coordinator.cycle.state import Change, Rules, State


class Stage(IntEnum):
    """Where a change of members stands."""

    NONE = 0
    PROPOSED = 1  # members approve it
    RESHARING = 2  # old members deal, new ones receive
    PROOF = 3  # new members sign with their new key shares
    ACTIVATION = 4  # members sign the next epoch's certificate; it cannot come to nothing any more
    ENDING = 5  # the next epoch is activated and begins after its boundary


def stage(state: State) -> Stage:
    """Where the change of members stands in this state."""
    if state.successor is not None:
        return Stage.ENDING
    if state.change is None:
        return Stage.NONE
    if state.change.transcript is None:
        return Stage.PROPOSED
    if state.change.transcript.phase is not Ceremony.DONE:
        return Stage.RESHARING
    return Stage.PROOF if state.change.proof is None else Stage.ACTIVATION


def replicas(state: State) -> frozenset[bytes]:
    """Identity keys of the members of this epoch and of the one that may follow."""
    coming: tuple[MemberRecord, ...] = ()
    if state.change is not None:
        coming = state.change.proposal.members
    elif state.successor is not None:
        coming = state.successor.federation_key.members
    return frozenset(new.key for new in (*state.members, *coming))


def member(state: State, key: bytes) -> int:
    """Index of the member of the running epoch that holds `key`.  Raises Refused: there is none."""
    index = state.membership.index_by_key.get(key)
    if index is None:
        raise Refused("not-a-member", "only a member of the running epoch may say that")
    return index


def open_change(state: State, proposal: bytes) -> Change:
    """The change that is open, if it is this one.  Raises Refused: "other-proposal"."""
    change = state.change
    assert change is not None, "the table asks only where a change is open"
    if change.proposal.digest != proposal:
        raise Refused(
            "other-proposal",
            f"proposal {proposal.hex()[:16]} is meant; {change.proposal.digest.hex()[:16]} is open",
        )
    return change


def on_propose(rules: Rules, draft: Draft, author: bytes, proposal: Propose) -> Draft:
    """Open a change of members; its proposer has approved it.

    Raises:
        Refused: "not-a-member", "wrong-epoch", "no-text" (the reason), "no-members" (the list
            cannot be an epoch's), "miner" (a new member's key mines).
    """
    state = draft.state
    index = member(state, author)
    if proposal.epoch != state.epoch + 1:
        raise Refused("wrong-epoch", f"epoch {proposal.epoch} came; {state.epoch + 1} is next")
    if proposal.reason and not text(proposal.reason, "utf-8"):
        raise Refused("no-text", "the reason is not printable UTF-8")
    try:
        check_next_members(proposal.members)
        check_signers(rules.params, state.membership.keys, proposal.members)
    except ConfigError as error:
        raise Refused("no-members", str(error)) from None
    miners = {*state.registrations, *(unit.miner for unit in state.units)}
    for position, new in enumerate(proposal.members):
        if new.key in miners:
            raise Refused("miner", f"the key of new member {position} mines")
    change = Change(proposal=proposal, proposer=author, cycle=state.cycle, approvals=(index,))
    return draft.set(change=change)


def on_approve(rules: Rules, draft: Draft, author: bytes, approve: Approve) -> Draft:
    """One more member wants the open change.

    Raises:
        Refused: "not-a-member", "other-proposal", "twice".
    """
    index = member(draft.state, author)
    change = open_change(draft.state, approve.proposal)
    if index in change.approvals:
        raise Refused("twice", f"member {index} has approved this proposal")
    return draft.set(change=change.set(approvals=tuple(sorted((*change.approvals, index)))))


def on_withdraw(rules: Rules, draft: Draft, author: bytes, withdraw: Withdraw) -> Draft:
    """The proposer takes back what is not approved yet.

    Raises:
        Refused: "other-proposal", "not-its-proposer".
    """
    change = open_change(draft.state, withdraw.proposal)
    if change.proposer != author:
        raise Refused("not-its-proposer", "only its proposer may withdraw a proposal")
    return void(draft, VoidReason.WITHDRAWN)


def void(draft: Draft, reason: VoidReason) -> Draft:
    """The change came to nothing; the epoch goes on."""
    change = draft.state.change
    assert change is not None
    proposal = change.proposal
    record = ProposalVoided(epoch=proposal.epoch, proposal=proposal.digest, reason=int(reason))
    return draft.log(record).set(change=None)


def expire(draft: Draft) -> Draft:
    """At the end of a cycle: a proposal that waits for approvals too long is void."""
    state = draft.state
    if stage(state) is not Stage.PROPOSED:
        return draft
    assert state.change is not None
    late = state.cycle >= state.change.cycle + PROPOSAL_CYCLES
    return void(draft, VoidReason.EXPIRED) if late else draft
