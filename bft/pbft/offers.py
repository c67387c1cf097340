"""Serving states: which are kept, and what a replica that is far behind gets of them.

Source: docs/CONSENSUS.md, "State transfer".  Pure.
"""

from bft.pbft.core import Core
from bft.pbft.messages import FetchChunk, FetchState, StateChunk, StateManifest, Verified
from bft.pbft.snapshots import Snapshot

PINNED_MAX = 2  # older states that are kept because somebody fetches them
SERVED_MAX = 8  # chunks for one replica within transfer_ms


def keep(core: Core, made: Snapshot) -> None:
    """A state of our own at a checkpoint: it may be asked for once it is stable."""
    core.snapshots[made.sequence] = made
    forget(core)


def forget(core: Core) -> None:
    """Keep the stable state and later ones, and of the older those that somebody fetches."""
    core.pinned = {s: until for s, until in core.pinned.items() if until > core.now}
    pinned = sorted(s for s in core.pinned if s < core.log.low)[-PINNED_MAX:]
    core.snapshots = {
        s: core.snapshots[s] for s in sorted(core.snapshots) if s >= core.log.low or s in pinned
    }


def on_fetch_state(core: Core, found: Verified) -> None:
    """Show the pieces of our stable state."""
    message = found.message
    assert isinstance(message, FetchState)
    if message.sequence <= core.log.low and may_serve(core, found.sender):
        send_manifest(core, found.sender)


def may_serve(core: Core, to: int) -> bool:
    """Whether `to` has not had its share of this time."""
    peer = core.peers[to]
    if core.now - peer.chunks_ms >= core.config.transfer_ms:
        peer.chunks_ms, peer.chunks = core.now, 0
    peer.chunks += 1
    return peer.chunks <= SERVED_MAX


def send_manifest(core: Core, to: int) -> None:
    """The stable state's pieces, if that state is here."""
    if core.stable is None or core.log.low not in core.snapshots:
        return
    core.pinned[core.log.low] = core.now + core.config.pin_ms
    message = StateManifest(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        proof=core.stable[0],
        hashes=core.snapshots[core.log.low].hashes,
        replica=core.index,
    )
    core.send(to, core.sign(message))


def on_fetch_chunk(core: Core, found: Verified) -> None:
    """Send one chunk of a state that is stable, or say which one we have instead."""
    message = found.message
    assert isinstance(message, FetchChunk)
    if not may_serve(core, found.sender):
        return
    kept = core.snapshots.get(message.sequence)
    if kept is None or message.sequence > core.log.low:
        if message.sequence < core.log.low:
            send_manifest(core, found.sender)
        return
    if message.index >= len(kept.chunks):
        return
    core.pinned[message.sequence] = core.now + core.config.pin_ms
    answer = StateChunk(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        sequence=message.sequence,
        index=message.index,
        replica=core.index,
    )
    core.send(found.sender, core.sign(answer, kept.chunks[message.index]))
