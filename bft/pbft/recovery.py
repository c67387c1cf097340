"""A replica after a restart: a pure function of its journal and of what its application holds.

Source: docs/CONSENSUS.md, "Persistence".  Pure.
"""

from bft.errors import ConfigError
from bft.ordering.batch import batch_digest
from bft.pbft import epoch, normal, stable, views
from bft.pbft.config import Config, Recovered
from bft.pbft.core import Core, Gap, Transfer
from bft.pbft.journal import Memory, recall
from bft.pbft.messages import Checkpoint, NewView, PrePrepare, ViewChange
from bft.pbft.snapshots import snapshot


def restore(config: Config, recovered: Recovered) -> Core:
    """The replica as it was when its last record became durable.

    Raises:
        ConfigError: records are damaged or missing; such a replica must not vote again.
    """
    core = Core(config)
    memory = recall(recovered.records, config.membership, config.first)
    core.lsn = core.durable = memory.last_lsn
    epoch.begin(core, memory)
    restore_checkpoint(core, memory)
    restore_execution(core, memory, recovered.executed)
    core.inherited = recovered.inherited
    core.muted = core.silent
    restore_view(core, memory)
    restore_slots(core, memory)
    restore_votes(core)
    restore_transfer(core, memory, recovered)
    if recovered.last is not None:
        epoch.learn(core, recovered.last)
    if core.halted:
        raise ConfigError("the application and the journal know different ends of this epoch")
    stable.tell_end(core)
    return core  # what it says again goes out with its first step


def restore_checkpoint(core: Core, memory: Memory) -> None:
    """Low watermark, and our own checkpoint votes above it."""
    if memory.stable is not None:
        core.stable = memory.stable
        core.log.advance(memory.stable[0].sequence)
        core.checkpoints.advance(memory.stable[0].sequence)
        core.chain = memory.stable[0].chain
        if memory.stable[0].last:
            epoch.learn(core, memory.stable[0].last)
    for sequence in sorted(memory.checkpoints):
        vote, lsn = memory.checkpoints[sequence]
        assert isinstance(vote.message, Checkpoint)
        if sequence > core.log.low:
            core.own_checkpoints[sequence] = (vote, lsn)
            core.chains[sequence] = vote.message.chain
            core.checkpoints.add(vote)


def restore_execution(core: Core, memory: Memory, executed: int) -> None:
    """What was handed up, as far as the application still holds it."""
    low = core.log.low
    if executed < low:
        raise ConfigError(f"the application holds batches through {executed}, below {low}")
    for sequence in sorted(memory.delivered):
        record, lsn = memory.delivered[sequence]
        if low < sequence <= executed:
            core.delivered[sequence] = lsn
            core.chain = record.chain
            if sequence % core.config.checkpoint_interval == 0:
                core.chains[sequence] = record.chain
    if executed > low and executed not in core.delivered:
        raise ConfigError(f"the application holds batch {executed}; the journal does not know it")
    core.last_decided = core.last_executed = executed


def restore_view(core: Core, memory: Memory) -> None:
    """Installed and awaited view, with the exact bytes that announced them."""
    if memory.new_view is not None:
        core.new_view = memory.new_view
        message = memory.new_view[0].message
        assert isinstance(message, NewView)
        core.view = core.pending_view = message.view
        views.adopt_own(core, message)
    if memory.view_change is not None:
        left = memory.view_change[0].message
        assert isinstance(left, ViewChange)
        if left.view > core.view:
            core.view_change = memory.view_change
            core.pending_view = left.view
            core.view_changes.add(memory.view_change[0], left.view)
    core.good_view = max(0, core.pending_view - 1)


def restore_slots(core: Core, memory: Memory) -> None:
    """Proposals, prepared proofs, decisions and batches between the watermarks."""
    for sequence in sorted(memory.first_lsn):
        if not core.log.holds(sequence):
            continue
        slot = core.log.slot(sequence, core.now)
        slot.first_lsn = memory.first_lsn[sequence]
        if sequence in memory.headers:
            slot.header, slot.header_lsn = memory.headers[sequence]
            slot.accepted = True
        if sequence in memory.prepared:
            slot.prepared = memory.prepared[sequence][0]
        if sequence in memory.delivered:
            record = memory.delivered[sequence][0]
            slot.decided = record.digest if record.proof else None
            slot.proof = next(iter(record.proof), None)
        slot.bodies = {batch_digest(batch): batch for batch in memory.bodies.get(sequence, ())}
        slot.tidy()
        proposal = slot.proposal(core.view)
        if proposal is not None:
            core.next_sequence = max(core.next_sequence, sequence + 1)


def restore_votes(core: Core) -> None:
    """Our own votes of the installed view, rebuilt: signing the same again gives the same bytes."""
    if not core.active:
        return
    stable.carry(core)
    for slot in core.log:
        proposal = slot.proposal(core.view)
        if proposal is None or not slot.accepted:
            continue
        assert isinstance(proposal, PrePrepare)
        if core.primary != core.index and slot.own_prepare is None:
            normal.prepare(core, slot, proposal, slot.header_lsn)
        if slot.prepared is not None and slot.prepared.view == core.view:
            normal.commit(core, slot, slot.header_lsn)
        else:
            normal.try_prepare(core, slot)


def restore_transfer(core: Core, memory: Memory, recovered: Recovered) -> None:
    """The state that can be served, the one that was being fetched, and what was skipped."""
    if recovered.state is not None and recovered.state[0] >= core.log.low:
        kept = snapshot(*recovered.state)
        core.snapshots[kept.sequence] = kept
    if recovered.gap is not None:
        core.gap = Gap(*recovered.gap)
    if memory.targeted is None:
        return
    record, lsn = memory.targeted
    if record.proof.sequence <= core.last_decided:
        return
    core.target = record.proof
    core.transfer = Transfer(
        sequence=record.proof.sequence,
        proof=record.proof,
        hashes=record.hashes,
        chunks={h: memory.chunks[h][0] for h in record.hashes if h in memory.chunks},
        turn=core.index,
        first_lsn=min([lsn, *(lsn for _, lsn in memory.chunks.values())]),
    )
