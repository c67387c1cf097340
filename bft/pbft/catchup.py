"""Helping those who lack something, and getting what we lack: votes, decisions, batches.

Nothing is sent again unless a STATUS shows that it is missing.  What is large is asked of one
replica at a time.  Source: docs/CONSENSUS.md, "Retransmission".  Pure.
"""

from collections.abc import Iterable

from bft.errors import DecodeError
from bft.pbft import amnesia, history, normal, stable, transfer, views
from bft.pbft.certificates import verify_decision, verify_stable
from bft.pbft.core import Core
from bft.pbft.log import Slot
from bft.pbft.messages import (
    STATUS_SLOTS_MAX,
    BatchBody,
    Decision,
    FetchBatch,
    SlotStatus,
    Stable,
    Status,
    Verified,
)

GRACE_MS = 200  # what is younger may still be on its way
RESEND_BYTES_MAX = 2 * 1024 * 1024  # in answer to one STATUS
ANSWER_GAP_MS = 100  # between two STATUSes of one replica that we answer
BODIES_MAX = 16  # batches for one replica within fetch_ms
ALL_VOTES = 2**63 - 1


def tick(core: Core) -> None:
    """Say where we are; ask for what we lack; take up proposals that were held."""
    tell(core)
    for slot in core.log.above(core.last_decided):
        normal.consider(core, slot)
    if core.now >= core.fetch_at:
        core.fetch_at = core.now + core.config.fetch_ms
        fetch_bodies(core)
    transfer.tick(core)
    history.fetch(core)
    history.refill(core)


def tell(core: Core) -> None:
    """Say where we are, from time to time."""
    if core.now >= core.status_at and core.others:
        core.status_at = core.now + core.config.status_ms
        send_status(core)


def next_helper(core: Core, after: int) -> int:
    """The next other replica, round and round."""
    return (
        (after + 1) % core.members.n
        if (after + 1) % core.members.n != core.index
        else ((after + 2) % core.members.n)
    )


def send_status(core: Core) -> None:
    """Tell all others what we have."""
    core.helper = next_helper(core, core.helper)
    slots: list[SlotStatus] = []
    for slot in core.log.above(core.last_decided):
        if len(slots) == STATUS_SLOTS_MAX:
            break
        slots.append(slot_status(core, slot))
    core.send(
        None,
        core.sign(
            Status(
                chain_id=core.members.chain_id,
                epoch=core.members.epoch,
                view=core.view,
                pending_view=core.pending_view,
                wished_view=core.wished_view,
                low=core.log.low,
                decided=core.last_decided,
                helper=core.helper,
                slots=tuple(slots),
                replica=core.index,
            )
        ),
    )


def slot_status(core: Core, slot: Slot) -> SlotStatus:
    """What we hold for one slot."""
    if slot.decided is not None:
        body = slot.body(slot.decided) is not None
        return SlotStatus(
            sequence=slot.sequence, body=int(body), prepares=ALL_VOTES, commits=ALL_VOTES
        )
    proposal = slot.proposal(core.view)
    body = proposal is not None and slot.body(proposal.digest) is not None
    prepared = slot.prepared is not None and slot.prepared.view == core.view
    return SlotStatus(
        sequence=slot.sequence,
        body=int(body),
        prepares=ALL_VOTES if prepared else slot.prepares.mask(core.view),
        commits=slot.commits.mask(core.view),
    )


def on_status(core: Core, found: Verified) -> None:
    """Learn where another replica stands, and send what it lacks."""
    status = found.message
    assert isinstance(status, Status)
    peer = core.peers[found.sender]
    peer.low, peer.decided = status.low, status.decided
    peer.view = max(peer.view, status.pending_view)
    peer.wished_view = status.wished_view
    core.heard.add(found.sender)
    views.follow(core)
    if peer.answered_ms is not None and core.now - peer.answered_ms < ANSWER_GAP_MS:
        return
    peer.answered_ms = core.now
    asked = status.helper == core.index
    if status.pending_view <= core.view > status.view and (asked or core.primary == core.index):
        views.send_new_view(core, found.sender)
    if status.low < core.log.low and core.stable is not None:
        send_stable(core, found.sender)
    amnesia.show(core, found.sender, status)
    for sequence in sorted(core.own_checkpoints):
        if sequence > status.low:
            core.send(found.sender, *core.own_checkpoints[sequence])
    together = core.active and status.view == status.pending_view == core.view
    resend(core, found.sender, status, asked=asked, together=together)


def send_stable(core: Core, to: int) -> None:
    """Our stable checkpoint, which convinces by itself."""
    assert core.stable is not None
    message = Stable(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        proof=core.stable[0],
        replica=core.index,
    )
    core.send(to, core.sign(message))


def resend(core: Core, to: int, status: Status, *, asked: bool, together: bool) -> None:
    """Decisions, proposals and our own votes that `to` lacks, within one answer's budget."""
    theirs = {slot.sequence: slot for slot in status.slots}
    budget = RESEND_BYTES_MAX
    slots = list(core.log.above(max(core.log.low, status.decided)))[:STATUS_SLOTS_MAX]
    for slot in slots:
        if core.now - slot.since_ms < GRACE_MS:
            continue
        has = theirs.get(slot.sequence)
        for message, lsn in missing(core, slot, has, asked=asked, together=together):
            budget -= len(message.envelope) + len(message.attachment)
            if budget < 0:
                return
            core.send(to, message, lsn)


def missing(
    core: Core, slot: Slot, has: SlotStatus | None, *, asked: bool, together: bool
) -> Iterable[tuple[Verified, int]]:
    """What a replica that has `has` of this slot should get from us."""
    has_body = has is not None and has.body == 1
    if slot.decided is not None and slot.proof is not None:
        known = has is not None and has.commits == ALL_VOTES
        body = slot.body(slot.decided)
        if body is not None and (asked or has_body) and not (known and has_body):
            yield decision(core, slot, b"" if has_body else body), 0
        if has_body or asked:
            return
    if not together or not slot.accepted or slot.proposal(core.view) is None:
        return
    if not has_body and (asked or core.primary == core.index):
        yield normal.with_body(slot), slot.header_lsn
    if slot.own_prepare is not None and not (has and has.prepares >> core.index & 1):
        yield slot.own_prepare
    if slot.own_commit is not None and not (has and has.commits >> core.index & 1):
        yield slot.own_commit


def decision(core: Core, slot: Slot, body: bytes) -> Verified:
    """The slot's decision, which convinces by itself."""
    assert slot.decided is not None
    assert slot.proof is not None
    message = Decision(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        sequence=slot.sequence,
        digest=slot.decided,
        proof=slot.proof,
        replica=core.index,
    )
    return core.sign(message, body)


def on_decision(core: Core, found: Verified) -> None:
    """A decided batch from a peer: its proof counts, not its sender."""
    message = found.message
    assert isinstance(message, Decision)
    if not core.log.holds(message.sequence):
        return
    slot = core.log.slot(message.sequence, core.now)
    if slot.decided is None:
        try:
            verify_decision(message.proof, message.sequence, message.digest, core.verifier)
        except DecodeError as error:
            core.accuse(found.sender, f"invalid decision: {error}", (found.envelope,))
            return
        amnesia.check_decision(core, message.proof, message.sequence, message.digest)
        normal.learn(core, slot, message.digest, message.proof)
    normal.take_body(core, slot, found.attachment)
    if core.peers[found.sender].decided > core.last_decided:
        core.status_at = min(core.status_at, core.now + GRACE_MS)


def on_stable(core: Core, found: Verified) -> None:
    """A stable checkpoint from a peer: its proof counts, not its sender."""
    message = found.message
    assert isinstance(message, Stable)
    if message.proof.sequence <= core.log.low:
        return
    if core.target is not None and message.proof.sequence <= core.target.sequence:
        return
    try:
        if message.proof.sequence % core.config.checkpoint_interval:
            raise DecodeError(f"there is no checkpoint at {message.proof.sequence}")
        verify_stable(message.proof, core.verifier)
    except DecodeError as error:
        core.accuse(found.sender, f"invalid stable checkpoint: {error}", (found.envelope,))
        return
    amnesia.check_stable(core, message.proof)
    stable.on_stable(core, message.proof)


def fetch_bodies(core: Core) -> None:
    """Ask the next replica for batches that hold up a vote or the execution."""
    asked = False
    for slot in core.log.above(core.last_decided):
        if core.now - slot.since_ms < core.config.fetch_ms:
            continue
        proposal = slot.proposal(core.view)
        wanted = slot.decided or (None if proposal is None else proposal.digest)
        if wanted is None or slot.body(wanted) is not None:
            continue
        if not asked:
            core.helper = next_helper(core, core.helper)
            asked = True
        message = FetchBatch(
            chain_id=core.members.chain_id,
            epoch=core.members.epoch,
            sequence=slot.sequence,
            digest=wanted,
            replica=core.index,
        )
        core.send(core.helper, core.sign(message))


def on_fetch_batch(core: Core, found: Verified) -> None:
    """Send the batch if we hold it."""
    message = found.message
    assert isinstance(message, FetchBatch)
    slot = core.log.find(message.sequence)
    body = None if slot is None else slot.body(message.digest)
    peer = core.peers[found.sender]
    if core.now - peer.bodies_ms >= core.config.fetch_ms:
        peer.bodies_ms, peer.bodies = core.now, 0
    if body is None or peer.bodies == BODIES_MAX:
        return
    peer.bodies += 1
    answer = BatchBody(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        sequence=message.sequence,
        digest=message.digest,
        replica=core.index,
    )
    core.send(found.sender, core.sign(answer, body))


def on_batch_body(core: Core, found: Verified) -> None:
    """A batch that we may have asked for; its digest tells."""
    message = found.message
    assert isinstance(message, BatchBody)
    slot = core.log.find(message.sequence)
    if slot is not None:
        normal.take_body(core, slot, found.attachment)
