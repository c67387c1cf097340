"""Resharing: the members deal their key shares to the next epoch's members.

The transcript (bft/dkg) folds what is said; it runs on the log of the epoch that ends, and joiners'
messages are ordered like any client's.  The clocks of `weak` members close a phase.  Then the new
members prove, by a signature with their new shares, that enough of these work; until then an
attempt may fail.  From then on it cannot: the members sign the next epoch's certificate, for this
list and no other, and with it the next epoch is fixed.
Pure.
"""

from bft import quorum
from bft.crypto.threshold import PublicPolynomial, TooFewShares, combine
from bft.dkg import fold
from bft.dkg.messages import Message, Role
from bft.dkg.messages import Phase as Ceremony
from bft.dkg.transcript import Transcript, open_resharing
from bft.errors import Refused
from chain.records.federation import FederationKey, activation_message
from chain.records.membership import (
    ActivationShare,
    CeremonyElapsed,
    ShareProof,
    VoidReason,
    sharing_message,
)
from chain.records.score_log import KeyActivated, MembersApproved, ResharingFailed, SharingProven
from chain.rules.limits import RESHARING_ATTEMPTS
from chain.rules.membership import boundary
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases.membership import Stage, member, stage, void
from coordinator.cycle.state import Change, Rules, State, Successor


def on_message(rules: Rules, draft: Draft, author: bytes, message: Message) -> Draft:
    """Fold one message of the session.  Raises Refused, see bft/dkg/fold.py."""
    change, transcript = under_way(draft.state)
    return _with(draft, change, fold.hear(transcript, author, message))


def on_elapsed(rules: Rules, draft: Draft, author: bytes, elapsed: CeremonyElapsed) -> Draft:
    """Count one member's clock.

    Raises:
        Refused: "not-a-member", "late" for another session or phase, "twice".
    """
    change, transcript = under_way(draft.state)
    index = member(draft.state, author)
    if (elapsed.session, elapsed.phase) != (transcript.session, transcript.phase):
        raise Refused("late", f"session {transcript.session.hex()[:16]} runs another phase")
    if index in change.elapsed:
        raise Refused("twice", f"member {index} has said so")
    return draft.set(change=change.set(elapsed=tuple(sorted((*change.elapsed, index)))))


def on_proof(rules: Rules, draft: Draft, author: bytes, said: ShareProof) -> Draft:
    """Take one new member's share, under the new sharing.

    Raises:
        Refused: "late" for another session, "not-a-member" of the next epoch, "twice".
    """
    change, transcript = under_way(draft.state)
    index = transcript.index_of(author, Role.RECEIVER)
    if index is None:
        raise Refused("not-a-member", "only a member of the next epoch may say that")
    return _share(draft, change, transcript, index, said)


def on_share(rules: Rules, draft: Draft, author: bytes, said: ActivationShare) -> Draft:
    """Take one member's share of the next epoch's certificate.

    Raises:
        Refused: "late" for another session, "not-a-member", "twice".
    """
    change, transcript = under_way(draft.state)
    return _share(draft, change, transcript, member(draft.state, author), said)


def advance(rules: Rules, draft: Draft) -> Draft:
    """As far as the change of members can go; the same draft if it has to wait."""
    match stage(draft.state):
        case Stage.PROPOSED:
            return _begin(rules, draft)
        case Stage.RESHARING:
            return _close(draft)
        case Stage.PROOF:
            return _prove(rules, draft)
        case Stage.ACTIVATION:
            return _activate(rules, draft)
    return draft


def signed_message(rules: Rules, state: State) -> bytes:
    """32 bytes that new members sign in PROOF, and members in ACTIVATION."""
    change, transcript = under_way(state)
    commitments = transcript.public.commitments
    if change.proof is None:
        return sharing_message(transcript.session, commitments)
    proposal = change.proposal
    return activation_message(rules.chain_id, proposal.epoch, proposal.members, commitments)


def under_way(state: State) -> tuple[Change, Transcript]:
    """The change and its session; only where resharing has begun."""
    assert state.change is not None and state.change.transcript is not None
    return state.change, state.change.transcript


def _share(
    draft: Draft,
    change: Change,
    transcript: Transcript,
    index: int,
    said: ShareProof | ActivationShare,
) -> Draft:
    if said.session != transcript.session:
        raise Refused("late", f"session {transcript.session.hex()[:16]} is under way")
    if index in change.shares or index in change.faulty:
        raise Refused("twice", f"member {index} has given its share")
    return draft.set(change=change.set(shares={**change.shares, index: said.share}))


def _begin(rules: Rules, draft: Draft) -> Draft:
    """A strong quorum approved: open the first session."""
    state, change = draft.state, draft.state.change
    assert change is not None and state.federation_key is not None
    if len(change.approvals) < state.membership.strong:
        return draft
    proposal = change.proposal
    keys = tuple(new.key for new in proposal.members)
    transcript = open_resharing(
        rules.chain_id,
        proposal.epoch,
        0,
        keys,
        quorum.strong(len(keys)),
        state.membership.keys,
        state.federation_key.commitments,
    )
    approved = MembersApproved(
        epoch=proposal.epoch, proposal=proposal.digest, approvals=change.approvals
    )
    return draft.log(approved).set(change=change.set(transcript=transcript))


def _close(draft: Draft) -> Draft:
    """Close a phase that has had its time; a failed session is followed by the next attempt."""
    change, transcript = under_way(draft.state)
    if transcript.phase is Ceremony.FAILED:
        return _fail(draft, transcript.awaited)
    if not _timed_out(draft.state):
        return draft
    closed = fold.close(transcript)
    if closed.phase is Ceremony.FAILED:
        return _fail(draft, transcript.awaited)
    return _with(draft, change, closed)


def _prove(rules: Rules, draft: Draft) -> Draft:
    """Enough new members signed: from here on there is no way back."""
    _, transcript = under_way(draft.state)
    draft, signature = _combined(rules, draft, transcript.public)
    change, _ = under_way(draft.state)
    if signature is None:
        given = {*change.shares, *change.faulty}
        silent = tuple(index for index in transcript.holders if index not in given)
        return _fail(draft, silent) if _timed_out(draft.state) else draft
    proven = SharingProven(epoch=transcript.epoch, attempt=transcript.attempt, signature=signature)
    return draft.log(proven).set(
        change=change.set(proof=signature, elapsed=(), shares={}, faulty=())
    )


def _activate(rules: Rules, draft: Draft) -> Draft:
    """Enough members signed the next epoch's certificate: its boundary is fixed."""
    state = draft.state
    assert state.federation_key is not None
    in_force = PublicPolynomial(commitments=state.federation_key.commitments)
    draft, signature = _combined(rules, draft, in_force)
    if signature is None:
        return draft
    change, transcript = under_way(draft.state)
    key = FederationKey(
        chain_id=rules.chain_id,
        epoch=change.proposal.epoch,
        members=change.proposal.members,
        commitments=transcript.public.commitments,
        qualified=tuple(dealt.author for dealt in transcript.qualified),
        activation=signature,
    )
    last = boundary(state.sequence, rules.params)
    successor = Successor(federation_key=key, transcript=transcript, boundary=last)
    draft = draft.log(KeyActivated(federation_key=key, boundary=last))
    return draft.set(change=None, successor=successor)


def _combined(rules: Rules, draft: Draft, public: PublicPolynomial) -> tuple[Draft, bytes | None]:
    """The signature that the stage waits for, once there is one; bad shares are thrown out."""
    change, _ = under_way(draft.state)
    if len(change.shares) < public.threshold:
        return draft, None
    message = signed_message(rules, draft.state)
    try:
        signature, _ = combine(public, message, change.shares)
    except TooFewShares as error:
        shares = {index: change.shares[index] for index in change.shares if index not in error.bad}
        faulty = tuple(sorted((*change.faulty, *error.bad)))
        return draft.set(change=change.set(shares=shares, faulty=faulty)), None
    return draft, signature


def _timed_out(state: State) -> bool:
    change, _ = under_way(state)
    return len(change.elapsed) >= state.membership.weak


def _fail(draft: Draft, awaited: tuple[int, ...]) -> Draft:
    """This attempt came to nothing: another one, or the end of the proposal."""
    change, transcript = under_way(draft.state)
    failed = ResharingFailed(
        epoch=transcript.epoch,
        attempt=transcript.attempt,
        phase=int(transcript.phase),
        awaited=awaited,
    )
    draft = draft.log(failed)
    if transcript.attempt + 1 >= RESHARING_ATTEMPTS:
        return void(draft, VoidReason.FAILED)
    following = open_resharing(
        transcript.chain_id,
        transcript.epoch,
        transcript.attempt + 1,
        transcript.members,
        transcript.threshold,
        transcript.dealers,
        transcript.old,
    )
    return _with(draft, change, following)


def _with(draft: Draft, change: Change, transcript: Transcript) -> Draft:
    """The session as far as it has come; another phase begins with fresh clocks."""
    before = change.transcript
    assert before is not None
    if (before.session, before.phase) == (transcript.session, transcript.phase):
        return draft.set(change=change.set(transcript=transcript))
    return draft.set(change=change.set(transcript=transcript, elapsed=(), shares={}, faulty=()))
