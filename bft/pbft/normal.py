"""The normal case: PRE-PREPARE, PREPARE, COMMIT, and delivery in order.

Source: PBFT (OSDI 1999) section 4.2; learning from commit certificates alone as in
docs/CONSENSUS.md, "Commit".  Pure.
"""

from bft.codec.canonical import encode
from bft.errors import DecodeError, ProtocolViolation
from bft.ordering.batch import NULL_BATCH, Batch, batch_digest, decode_batch
from bft.ordering.proof import QuorumProof
from bft.pbft import epoch, journal, suspicion
from bft.pbft.certificates import pre_prepare, signatures
from bft.pbft.checkpoint import chain_after
from bft.pbft.core import Core
from bft.pbft.events import Decided
from bft.pbft.log import Slot
from bft.pbft.messages import Commit, Message, Prepare, PreparedProof, PrePrepare, Verified


def propose(core: Core) -> None:
    """As primary, assign sequence numbers to waiting requests while the pipeline has room.

    Null batches bring an epoch to its end when nothing waits.
    """
    config = core.config
    while core.active and core.primary == core.index:
        if not core.pool.waiting and not epoch.ending(core):
            return
        core.next_sequence = max(core.next_sequence, core.last_decided + 1)
        in_flight = core.next_sequence - 1 - core.last_decided
        if in_flight >= config.pipeline or not core.log.holds(core.next_sequence):
            return
        full = core.pool.waiting >= config.batch_requests
        waited = core.now - core.pool.waiting_since_ms
        if core.pool.waiting and in_flight and not full and waited < gathering_ms(core):
            return
        requests = core.pool.take(config.batch_requests, config.batch_bytes, core.now)
        batch = NULL_BATCH
        if requests:
            core.last_timestamp = max(core.last_timestamp, core.wall)
            batch = encode(Batch(timestamp_ms=core.last_timestamp, requests=requests))
        elif not epoch.ending(core):
            return
        digest = batch_digest(batch)
        header = core.sign(pre_prepare(core.members, core.view, core.next_sequence, digest), batch)
        slot = core.log.slot(core.next_sequence, core.now)
        core.next_sequence += 1
        set_header(core, slot, header)
        slot.proposed_ms = core.now
        slot.bodies[digest] = batch
        accept(core, slot)


def gathering_ms(core: Core) -> int:
    """How long a batch that is not full waits for more requests while others are under way.

    Each costs the same votes, however small it is: the slower decisions come, the fewer and larger
    batches are worth it.
    """
    config = core.config
    return max(config.batch_ms, min(core.decision_ms // 2, config.batch_ms_max))


def set_header(core: Core, slot: Slot, header: Verified) -> None:
    """`header` is now what its view proposes in this slot.  Its batch may still be missing."""
    slot.header = Verified(
        header.sender, header.message, header.envelope, header.signature
    )  # the batch is kept once, among the bodies
    slot.accepted = slot.rejected = False
    slot.own_prepare = slot.own_commit = None
    slot.since_ms = core.now
    slot.tidy()


def on_pre_prepare(core: Core, found: Verified) -> None:
    """Take the primary's proposal; keep it for later when its view has not started here."""
    message = found.message
    assert isinstance(message, PrePrepare)
    if found.sender != core.members.primary(message.view) or not core.log.holds(message.sequence):
        return
    if core.view < message.view <= core.pending_view + 1:
        slot = core.log.slot(message.sequence, core.now)
        early = slot.early.message if slot.early is not None else None
        if early is None or (isinstance(early, PrePrepare) and early.view < message.view):
            slot.early = found
        return
    if message.view != core.view or not core.active:
        return
    slot = core.log.slot(message.sequence, core.now)
    known = slot.proposal(core.view)
    if known is None:
        set_header(core, slot, found)
    elif known.digest != message.digest:
        assert slot.header is not None
        core.accuse(
            found.sender,
            f"two PRE-PREPAREs at ({message.view}, {message.sequence})",
            (slot.header.envelope, found.envelope),
        )
        return
    take_body(core, slot, found.attachment)


def take_body(core: Core, slot: Slot, batch: bytes) -> None:
    """Keep `batch` if the slot lacks it, whoever it came from; go on with what waited for it."""
    if batch and any(slot.body(d) is None for d in slot.wanted()):
        digest = batch_digest(batch)
        if digest in slot.wanted():
            slot.bodies[digest] = batch
    consider(core, slot)
    deliver(core)


def consider(core: Core, slot: Slot) -> None:
    """As backup, accept the view's proposal if its batch is here, valid and timely."""
    proposal = slot.proposal(core.view)
    if proposal is None or slot.accepted or slot.rejected or not core.active:
        return
    if core.inherited.covers(slot.sequence, core.view):
        return  # decided; somebody else with our key may have voted there
    body = slot.body(proposal.digest)
    if body is None:
        return
    null = epoch.fills(core, slot, proposal.digest)
    if null:
        accept(core, slot)
    if null or null is None:
        return  # held, if we do not know: when we have executed more we ask again
    try:
        batch = decode_batch(body)
        for request in batch.requests:
            core.pool.verify(request)
    except DecodeError as error:
        slot.rejected = True
        assert slot.header is not None
        core.accuse(core.primary, f"invalid batch: {error}", (slot.header.envelope, body))
        return
    if not batch.requests:  # otherwise only a NEW-VIEW may; its proposals do not come this way
        slot.rejected = True
        core.suspect("an empty batch was proposed")
        return
    if not core.wall - core.config.lag_ms <= batch.timestamp_ms <= core.wall + core.config.skew_ms:
        return  # held: the next tick asks again, and the slot's timer runs
    accept(core, slot)


def finish(core: Core) -> None:
    """The epoch's last sequence is known: null batches may be proposed, and were perhaps held."""
    for slot in core.log.above(core.last_decided):
        consider(core, slot)
    propose(core)


def accept(core: Core, slot: Slot) -> None:
    """Promise this digest for this (view, sequence), durably; tell the others."""
    assert slot.header is not None
    proposal = slot.proposal(core.view)
    assert proposal is not None
    body = slot.body(proposal.digest)
    assert body is not None
    lsn = core.persist(journal.Accepted(envelope=slot.header.envelope, batch=body))
    slot.journaled(lsn)
    slot.accepted = True
    slot.header_lsn = lsn
    for request in decode_batch(body).requests:
        core.pool.propose(request)
    if core.primary == core.index:
        core.send(None, with_body(slot), lsn)
    else:
        prepare(core, slot, proposal, lsn)
    try_prepare(core, slot)


def with_body(slot: Slot) -> Verified:
    """The slot's PRE-PREPARE with its batch attached, if that is here."""
    header = slot.header
    assert header is not None
    assert isinstance(header.message, PrePrepare)
    body = slot.body(header.message.digest) or b""
    return Verified(header.sender, header.message, header.envelope, header.signature, body)


def prepare(core: Core, slot: Slot, proposal: PrePrepare, lsn: int) -> None:
    """Send our PREPARE once the journal is durable through `lsn`."""
    vote = core.sign(
        Prepare(
            chain_id=proposal.chain_id,
            epoch=proposal.epoch,
            view=proposal.view,
            sequence=proposal.sequence,
            digest=proposal.digest,
            replica=core.index,
        )
    )
    slot.own_prepare = (vote, lsn)
    core.vote(vote, lsn)


def on_prepare(core: Core, found: Verified) -> None:
    """Count one PREPARE."""
    message = found.message
    assert isinstance(message, Prepare)
    if not core.view <= message.view <= core.pending_view + 1:
        return
    if not core.log.holds(message.sequence):
        return
    if found.sender == core.members.primary(message.view):
        return
    slot = core.log.slot(message.sequence, core.now)
    try:
        slot.prepares.add(message, found)
    except ProtocolViolation as violation:
        core.convict(violation)
        return
    try_prepare(core, slot)


def try_prepare(core: Core, slot: Slot) -> None:
    """When the proposal is prepared for the first time: keep the proof, send COMMIT."""
    proposal = slot.proposal(core.view)
    if proposal is None or not slot.accepted or not core.active or slot.own_commit is not None:
        return
    if slot.prepared is not None and slot.prepared.view >= core.view:
        return
    if core.inherited.covers(slot.sequence, core.view):
        return
    votes = slot.prepares.matching(core.view, proposal.digest)
    votes.pop(core.primary, None)
    needed = core.members.strong - 1
    if len(votes) < needed:
        return
    assert slot.header is not None
    slot.prepared = PreparedProof(
        view=core.view,
        sequence=slot.sequence,
        digest=proposal.digest,
        proposal=slot.header.signature,
        prepares=signatures(votes, needed),
    )
    lsn = core.persist(journal.Prepared(proof=slot.prepared))
    slot.journaled(lsn)
    commit(core, slot, lsn)


def commit(core: Core, slot: Slot, lsn: int) -> None:
    """Send our COMMIT for what is prepared, once that is durable."""
    assert slot.prepared is not None
    assert core.active
    assert slot.prepared.view == core.view
    vote = core.sign(
        Commit(
            chain_id=core.members.chain_id,
            epoch=core.members.epoch,
            view=core.view,
            sequence=slot.sequence,
            digest=slot.prepared.digest,
            replica=core.index,
        )
    )
    slot.own_commit = (vote, lsn)
    core.vote(vote, lsn)


def on_commit(core: Core, found: Verified) -> None:
    """Count one COMMIT, of whatever view: a strong quorum of them decides by itself."""
    message = found.message
    assert isinstance(message, Commit)
    if not core.log.holds(message.sequence) or message.view > core.pending_view + 1:
        return
    slot = core.log.slot(message.sequence, core.now)
    try:
        slot.commits.add(message, found)
    except ProtocolViolation as violation:
        core.convict(violation)
        return
    votes = slot.commits.matching(message.view, message.digest)
    if len(votes) >= core.members.strong:
        proof = QuorumProof(view=message.view, signatures=signatures(votes, core.members.strong))
        learn(core, slot, message.digest, proof)


def needless(core: Core, message: Message) -> bool:
    """Whether nothing follows from a vote, even if its signature stands: its quorum is complete.

    A vote for something else is never needless, for it may convict its author.
    """
    if not isinstance(message, Prepare | Commit):
        return False
    slot = core.log.find(message.sequence)
    if slot is None:
        return False
    voted = (message.view, message.digest)
    if isinstance(message, Prepare):
        prepared = slot.prepared
        return prepared is not None and (prepared.view, prepared.digest) == voted
    return slot.proof is not None and (slot.proof.view, slot.decided) == voted


def learn(core: Core, slot: Slot, digest: bytes, proof: QuorumProof) -> None:
    """`digest` is decided in this slot."""
    if slot.decided is None:
        suspicion.decided(core, slot)
        slot.decided, slot.proof, slot.since_ms = digest, proof, core.now
        slot.tidy()
        deliver(core)
    elif slot.decided != digest:
        core.halt(f"two decisions at {slot.sequence}: more than f replicas are faulty")


def deliver(core: Core) -> None:
    """Hand decided batches to the application, in order, as far as they are here."""
    before = core.last_decided
    while True:
        slot = core.log.find(core.last_decided + 1)
        if slot is None or slot.decided is None:
            break
        body = slot.body(slot.decided)
        if body is None:
            break
        assert slot.proof is not None
        hand_up(core, slot.decided, body, slot.proof, keep_proof=True)
    if core.last_decided > before:
        propose(core)


def hand_up(
    core: Core, digest: bytes, body: bytes, proof: QuorumProof, *, keep_proof: bool
) -> None:
    """The next decided batch goes up: exactly once, never out of order."""
    sequence = core.last_decided + 1
    core.last_decided = sequence
    core.chain = chain_after(core.chain, digest)
    lsn = core.persist(
        journal.Delivered(
            sequence=sequence,
            digest=digest,
            chain=core.chain,
            proof=(proof,) if keep_proof else (),
        )
    )
    core.delivered[sequence] = lsn
    slot = core.log.find(sequence)
    if slot is not None:
        slot.journaled(lsn)
        if slot.proposed_ms is not None:
            core.decision_ms = core.now - slot.proposed_ms
    checkpoint = sequence % core.config.checkpoint_interval == 0
    if checkpoint:
        core.chains[sequence] = core.chain
    core.effects.append(
        Decided(sequence=sequence, batch=body, proof=encode(proof), checkpoint=checkpoint)
    )
    batch = decode_batch(body)
    core.last_timestamp = max(core.last_timestamp, batch.timestamp_ms)
    for request in batch.requests:
        core.pool.done(request)
    core.stalled_since = None
    if proof.view == core.view and core.active:
        core.made_progress()
