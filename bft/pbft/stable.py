"""Checkpoints: our own, those of others, the low watermark, and what the journal may forget.

Source: PBFT (OSDI 1999) section 4.3.  Pure.
"""

from bft.codec.canonical import encode
from bft.errors import ProtocolViolation
from bft.ordering.batch import decode_batch
from bft.pbft import epoch, journal, normal, offers
from bft.pbft.core import Core
from bft.pbft.events import EpochEnded, Executed, StableCheckpoint
from bft.pbft.messages import Checkpoint, StableProof, Verified
from bft.pbft.snapshots import snapshot


def on_executed(core: Core, event: Executed) -> None:
    """The application has executed `sequence`; at a checkpoint, say what state it came to."""
    sequence, state_root = event.sequence, event.state_root
    if event.state is not None:
        made = snapshot(sequence, event.state)
        assert made.root == state_root, "a state with another root than its own"
        offers.keep(core, made)
    assert sequence <= core.last_decided, "executed what was never decided"
    core.last_executed = max(core.last_executed, sequence)
    chain = core.chains.get(sequence)
    unsaid = sequence > core.inherited.sequence and sequence not in core.own_checkpoints
    if chain is not None and sequence > core.log.low and unsaid:
        vote = core.sign(
            Checkpoint(
                chain_id=core.members.chain_id,
                epoch=core.members.epoch,
                sequence=sequence,
                chain=chain,
                state_root=state_root,
                last=event.last or 0,
                replica=core.index,
            )
        )
        lsn = core.persist(journal.Reached(envelope=vote.envelope))
        core.own_checkpoints[sequence] = (vote, lsn)
        core.vote(vote, lsn)
    if event.last is not None and epoch.learn(core, event.last):
        normal.finish(core)
    settle(core)


def on_checkpoint(core: Core, vote: Verified) -> None:
    """Count one CHECKPOINT."""
    try:
        proof = core.checkpoints.add(vote)
    except ProtocolViolation as violation:
        core.convict(violation)
        return
    assert isinstance(vote.message, Checkpoint)
    if proof is not None:
        on_stable(core, proof)
    elif core.checkpoints.divided(vote.message.sequence):
        core.halt(
            f"replicas are divided about the state at {vote.message.sequence}: no quorum can sign "
            "it any more, so more than f replicas are faulty or their software differs"
        )


def on_stable(core: Core, proof: StableProof) -> None:
    """A checked stable checkpoint: adopt it now, or when we have executed so far."""
    if proof.last:
        epoch.learn(core, proof.last)
    known = core.log.low if core.target is None else core.target.sequence
    if proof.sequence > max(known, core.log.low):
        core.target = proof
    settle(core)


def settle(core: Core) -> None:
    """Advance the low watermark to the target, if our own state is there and the same."""
    proof = core.target
    if proof is None or core.last_executed < proof.sequence:
        return
    own = core.own_checkpoints.get(proof.sequence)
    if own is not None:
        message = own[0].message
        assert isinstance(message, Checkpoint)
        same = (message.chain, message.state_root, message.last) == (
            proof.chain,
            proof.state_root,
            proof.last,
        )
    else:  # executed before a restart; the order is what we can compare
        same = core.chains.get(proof.sequence, proof.chain) == proof.chain
    if not same:
        core.halt(f"our state at {proof.sequence} is not the one that a quorum signed")
        return
    core.target = None
    advance(core, proof)


def advance(core: Core, proof: StableProof) -> None:
    """Everything through the stable checkpoint is history."""
    if proof.last:
        epoch.learn(core, proof.last)
    core.stable = (proof, core.persist(journal.Stabilised(proof=proof)))
    epoch.write_again(core)
    if core.new_view is not None:  # written again, so that older records can go
        entered = core.new_view[0]
        core.new_view = (entered, core.persist(journal.Entered(envelope=entered.envelope)))
    if core.view_change is not None:
        left = core.view_change[0]
        core.view_change = (left, core.persist(journal.Left(envelope=left.envelope)))
    low = proof.sequence
    core.log.advance(low)
    core.checkpoints.advance(low)
    core.chains = {s: chain for s, chain in core.chains.items() if s > low}
    core.delivered = {s: lsn for s, lsn in core.delivered.items() if s > low}
    core.own_checkpoints = {s: vote for s, vote in core.own_checkpoints.items() if s > low}
    offers.forget(core)
    core.effects.append(
        StableCheckpoint(sequence=low, state_root=proof.state_root, proof=encode(proof))
    )
    tell_end(core)
    core.prunes.append((core.lsn, oldest_needed(core) - 1))
    carry(core)
    normal.propose(core)


def tell_end(core: Core) -> None:
    """If the proof of the epoch's last state is here, the driver can go on to the next epoch."""
    if core.stable is not None and epoch.over(core):
        proof = core.stable[0]
        core.effects.append(
            EpochEnded(sequence=proof.sequence, state_root=proof.state_root, proof=encode(proof))
        )


def oldest_needed(core: Core) -> int:
    """The lowest lsn that recovery needs."""
    needed = [slot.first_lsn for slot in core.log if slot.first_lsn]
    needed += [lsn for _, lsn in core.own_checkpoints.values()]
    needed += core.delivered.values()
    if core.transfer is not None and core.transfer.first_lsn:
        needed.append(core.transfer.first_lsn)
    for item in (core.began, core.stable, core.new_view, core.view_change):
        if item is not None:
            needed.append(item[1])
    return min(needed, default=core.lsn + 1)


def carry(core: Core) -> None:
    """Accept the NEW-VIEW's proposals that lie between the watermarks, without judging them.

    Their batches may be missing: a prepared proof says that weak many correct replicas hold them.
    """
    if not core.active or core.new_view is None:
        return
    lsn = core.new_view[1]
    for sequence in sorted(core.carried):
        if not core.log.holds(sequence) or core.inherited.covers(sequence, core.view):
            continue
        slot = core.log.slot(sequence, core.now)
        if slot.proposal(core.view) is not None and slot.accepted:
            continue
        normal.set_header(core, slot, core.carried[sequence])
        slot.accepted = True
        slot.header_lsn = lsn
        proposal = slot.proposal(core.view)
        assert proposal is not None
        body = slot.body(proposal.digest)
        if body is not None:
            for request in decode_batch(body).requests:
                core.pool.propose(request)
        if core.primary != core.index:
            normal.prepare(core, slot, proposal, lsn)
        normal.try_prepare(core, slot)
