"""Self-evidence: our own signature under what our journal does not know.

A replica that lost its journal, or runs on an old copy of it, has forgotten promises that count in
other replicas' certificates.  It must never vote again under its key.  It finds out by what others
show it: its own votes, sent back in answer to a STATUS, and certificates that hold its signature.
So that it hears of them before it contradicts them, it votes only after a probation.
Source: docs/CONSENSUS.md, "Amnesia".  Pure.
"""

from typing import Any

from bft.ordering.proof import QuorumProof
from bft.pbft import journal
from bft.pbft.core import Core
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    StableProof,
    Status,
    Verified,
    ViewChange,
    read_own,
)

ADVICE = (
    "This replica has forgotten what it promised (its directory was lost, or replaced by an old "
    "copy), so it must not vote under its key again.  Put back its newest journal if that still "
    "exists; otherwise make a new identity and have the federation replace this member"
)


def found_out(core: Core, what: str) -> None:
    """Never vote again, not even after a restart."""
    reason = f"our own key signed {what}, of which our journal knows nothing.  {ADVICE}"
    core.persist(journal.Forgot(reason=reason.encode()))
    core.halt(reason)


def forgotten(records: tuple[tuple[int, bytes], ...]) -> str | None:
    """Why this replica never votes again in its epoch, if its journal's records say so.

    Raises:
        DecodeError: a record is damaged.
    """
    reason: str | None = None
    for _, data in records:
        record = journal.decode_entry(data)
        if isinstance(record, journal.Forgot):
            reason = record.reason.decode("utf-8", "replace")
        elif isinstance(record, journal.Began):
            reason = None  # no vote of an earlier epoch counts any more
    return reason


def on_own(core: Core, found: Verified) -> None:
    """A message under our own key, from somebody else: did we say it?"""
    message = found.message
    if isinstance(message, PrePrepare | Prepare | Commit):
        check_vote(core, message)
    elif isinstance(message, Checkpoint):
        if message.sequence > max(core.last_executed, core.inherited.sequence):
            found_out(core, f"a CHECKPOINT at {message.sequence}")
    elif isinstance(message, ViewChange | NewView) and message.view <= core.inherited.view:
        pass
    elif isinstance(message, ViewChange):
        known = None if core.view_change is None else core.view_change[0].message
        if message.view > core.pending_view or (
            isinstance(known, ViewChange) and known.view == message.view and known != message
        ):
            found_out(core, f"a VIEW-CHANGE to {message.view}")
    elif isinstance(message, NewView) and message.view > core.view:
        found_out(core, f"a NEW-VIEW of {message.view}")


def check_vote(core: Core, vote: PrePrepare | Prepare | Commit) -> None:
    """Is this vote of ours one that the journal knows, or too old to be still in it?"""
    if not knows(core, vote):
        found_out(core, f"{vote.TAG} at ({vote.view}, {vote.sequence})")


def knows(core: Core, vote: PrePrepare | Prepare | Commit) -> bool:
    """Whether we may have signed `vote`, as far as our journal still tells.

    A PRE-PREPARE of a view that we left, beyond our watermarks, is let pass, also if it is in truth
    forgotten.  Nobody gains by that.  A replica never goes back to a view, so it cannot contradict
    that proposal; and what a later VIEW-CHANGE must not leave out is a prepared proof, which only
    a COMMIT speaks of: that is found out in every view, down to our low watermark.
    """
    if core.inherited.covers(vote.sequence, vote.view):
        return True
    if vote.view > core.view:
        return False  # we never entered that view
    if vote.sequence <= core.log.low:
        return True
    slot = core.log.find(vote.sequence)
    if isinstance(vote, Commit):
        return slot is not None and slot.prepared is not None and slot.prepared.view >= vote.view
    if vote.view < core.view:
        # The newer view's proposal stands in its place.  Beyond our watermarks none does: there we
        # proposed what the NEW-VIEW of a view of ours had to carry over, while we lagged behind.
        beyond = isinstance(vote, PrePrepare) and vote.sequence > core.log.high
        return beyond or core.log.holds(vote.sequence)
    carried = core.carried.get(vote.sequence)
    proposal = None if slot is None or not slot.accepted else slot.proposal(core.view)
    known = [] if proposal is None else [proposal.digest]
    if carried is not None and isinstance(carried.message, PrePrepare):
        known.append(carried.message.digest)
    return vote.digest in known


def check_decision(core: Core, proof: QuorumProof, sequence: int, digest: bytes) -> None:
    """A checked proof of a decision: is our COMMIT in it one that we know?"""
    if any(entry.replica == core.index for entry in proof.signatures):
        vote = Commit(view=proof.view, sequence=sequence, digest=digest, **_ours(core))
        check_vote(core, vote)


def check_prepared(core: Core, proof: PreparedProof) -> None:
    """A checked prepared proof: is our vote in it one that we know?"""
    given: dict[str, Any] = {"view": proof.view, "sequence": proof.sequence, "digest": proof.digest}
    if core.members.primary(proof.view) == core.index:
        check_vote(core, PrePrepare(**given, **_ours(core)))
    elif any(entry.replica == core.index for entry in proof.prepares):
        check_vote(core, Prepare(**given, **_ours(core)))


def check_stable(core: Core, proof: StableProof) -> None:
    """A checked stable checkpoint: have we been there if our CHECKPOINT is in it?"""
    signers = [entry.replica for entry in proof.signatures]
    known = max(core.last_executed, core.inherited.sequence)
    if core.index in signers and proof.sequence > known:
        found_out(core, f"a CHECKPOINT at {proof.sequence}")


def check_view_changes(core: Core, message: NewView) -> None:
    """A checked NEW-VIEW: have we asked for it if our VIEW-CHANGE is in it?"""
    for envelope in message.view_changes:
        found = read_own(envelope, core.members)  # its signature is checked
        if found.sender == core.index:
            on_own(core, found)


def _ours(core: Core) -> dict[str, Any]:
    return {
        "chain_id": core.members.chain_id,
        "epoch": core.members.epoch,
        "replica": core.index,
    }


# What we remember for others.


def remember(core: Core, found: Verified) -> None:
    """Keep what each replica signed for its highest sequence, to show it to its author.

    Its highest COMMIT is kept beside a PREPARE above it: it is the promise that no VIEW-CHANGE may
    leave out, also when the view of that PREPARE is over and nothing hangs on it any more.
    """
    message = found.message
    if not isinstance(message, Prepare | Commit | Checkpoint):
        return
    peer = core.peers[found.sender]
    if message.sequence >= peer.vote_sequence:
        peer.vote, peer.vote_sequence = found, message.sequence
    if isinstance(message, Commit) and message.sequence >= peer.commit_sequence:
        peer.commit, peer.commit_sequence = found, message.sequence


def show(core: Core, to: int, status: Status) -> None:
    """Send `to` what it has signed and does not seem to know."""
    peer = core.peers[to]
    for vote in (peer.vote, peer.commit if peer.commit is not peer.vote else None):
        if vote is not None and unaware(vote, status):
            core.send(to, vote)
    asked = core.view_changes.highest(to)
    if asked > status.pending_view:
        left = core.view_changes.get(to, asked)
        if left is not None:
            core.send(to, left)


def unaware(vote: Verified, status: Status) -> bool:
    """Whether the author of `vote` speaks as if it had never given it."""
    message = vote.message
    if isinstance(message, Checkpoint):
        return message.sequence > status.decided
    assert isinstance(message, Prepare | Commit)
    if message.sequence <= status.decided:
        return False
    if message.view < status.view:
        return isinstance(message, Commit)  # which counts in every view
    if message.view > status.view:
        return True
    seen = {slot.sequence: slot.prepares | slot.commits for slot in status.slots}
    return not seen.get(message.sequence, 0) >> vote.sender & 1


# Probation.


def on_probation(core: Core) -> bool:
    """Whether this replica, lately started, still listens for what it may have forgotten."""
    if core.probation and len(core.heard) >= core.members.weak:
        if core.probation_until is None:
            core.probation_until = core.now + core.config.probation_ms
        core.probation = core.now < core.probation_until
    return core.probation
