"""Decided batches for a replica that is too far behind for messages to help.

Every replica keeps all decided batches with their proofs; the driver reads them.  One replica is
asked at a time, and what it sends counts by its proofs alone.
Source: docs/CONSENSUS.md, "Catch-up", level 2.  Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.errors import DecodeError
from bft.ordering.batch import batch_digest, decode_batch
from bft.ordering.proof import QuorumProof
from bft.pbft import amnesia, normal, past, stable
from bft.pbft.certificates import Verifier, verify_decision
from bft.pbft.core import Core, Gap
from bft.pbft.events import Learned, Refilled, ServeHistory
from bft.pbft.messages import (
    HISTORY_BYTES_MAX,
    HISTORY_ENTRIES_MAX,
    FetchHistory,
    History,
    HistoryEntry,
    Verified,
)

REFILL_ENTRIES = 32  # a step executes them once more, beside its own work


class Entries(Record):
    """What is attached to a History."""

    entries: Annotated[tuple[HistoryEntry, ...], Meta(max_length=HISTORY_ENTRIES_MAX)]


def fetch(core: Core) -> None:
    """When others no longer hold the messages that we lack, ask one of them for history."""
    if core.history_until is not None:
        if core.now < core.history_until:
            return
        core.history_until = None
        core.history_failures += 1
    if core.transfer is not None or too_long(core):
        return
    if core.last_decided - core.last_executed >= core.config.window:
        return  # the application comes first
    ahead = [i for i in core.others if core.peers[i].low > core.last_decided]
    if not ahead:
        return
    after = [i for i in ahead if i > core.history_peer]
    core.history_peer = after[0] if after else ahead[0]
    ask(core)


def too_long(core: Core) -> bool:
    """Whether a state transfer will do better, as soon as the stable checkpoint is here."""
    if not core.others or core.gap is not None or core.now < core.transfer_rest:
        return False
    lows = sorted((core.peers[i].low for i in core.others), reverse=True)
    proven = lows[min(core.members.weak, len(lows)) - 1]  # one of weak many is correct
    return proven - core.last_decided > core.config.history_batches_max


def ask(core: Core) -> None:
    """Ask the chosen replica for the next stretch."""
    core.history_until = core.now + core.config.history_ms
    first = core.last_decided + 1
    last = min(core.peers[core.history_peer].decided, first + HISTORY_ENTRIES_MAX - 1)
    core.history_last = max(first, last)
    message = FetchHistory(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        first=first,
        last=core.history_last,
        replica=core.index,
    )
    core.send(core.history_peer, core.sign(message))


def refill(core: Core) -> None:
    """Ask for the next batches that a state transfer skipped, when nothing else is missing."""
    gap = core.gap
    if gap is None or core.transfer is not None or core.behind():
        return
    if core.refill_until is not None and core.now < core.refill_until:
        return
    if core.refill_until is not None or core.refill_peer == core.index:
        core.refill_peer = next_other(core, core.refill_peer)
    core.refill_until = core.now + core.config.history_ms
    message = FetchHistory(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        first=gap.next,
        last=min(gap.last, gap.next + REFILL_ENTRIES - 1),
        replica=core.index,
    )
    core.send(core.refill_peer, core.sign(message))


def next_other(core: Core, after: int) -> int:
    """The next other replica, round and round."""
    step = (after + 1) % core.members.n
    return step if step != core.index else (step + 1) % core.members.n


def on_refill(core: Core, found: Verified, gap: Gap) -> None:
    """Hand up what was skipped, proven and in order."""
    try:
        entries = decode(Entries, found.attachment).entries
        for entry in entries[:REFILL_ENTRIES]:
            if entry.sequence != gap.next or gap.next > gap.last:
                raise DecodeError(f"entry {entry.sequence}; {gap.next} expected")
            digest = batch_digest(entry.batch)
            verifier = verifier_of(core, entry.sequence)
            verify_decision(decode(QuorumProof, entry.proof), entry.sequence, digest, verifier)
            decode_batch(entry.batch)
            core.effects.append(Refilled(entry.sequence, entry.batch, entry.proof))
            gap.next += 1
    except DecodeError:
        return  # its author is unproven, and the next one is asked when the time is over
    core.refill_until = None
    if gap.next > gap.last:
        core.gap = None


def verifier_of(core: Core, sequence: int) -> Verifier:
    """Who decided `sequence`: the members of its epoch, as far back as we were told."""
    for era in core.config.past:
        if sequence <= era.last:
            return Verifier(era.membership)
    return core.verifier


def on_fetch(core: Core, found: Verified) -> None:
    """Have the driver read what was asked for; one reading for each replica at a time."""
    message = found.message
    assert isinstance(message, FetchHistory)
    peer = core.peers[found.sender]
    if peer.serving_ms is not None and core.now - peer.serving_ms < core.config.history_ms:
        return
    last = min(message.last, message.first + HISTORY_ENTRIES_MAX - 1, core.last_executed)
    if not 1 <= message.first <= last:
        return
    peer.serving_ms, peer.serving_past = core.now, False
    core.effects.append(
        ServeHistory(to=found.sender, from_sequence=message.first, to_sequence=last)
    )


def read(core: Core, to: int, entries: tuple[tuple[int, bytes, bytes], ...]) -> None:
    """Send as much history as one message holds, at least one entry."""
    if to not in core.peers:
        return
    core.peers[to].serving_ms = None
    chosen: list[HistoryEntry] = []
    size = 0
    for sequence, batch, proof in entries[:HISTORY_ENTRIES_MAX]:
        size += len(batch) + len(proof) + 32
        if chosen and size > HISTORY_BYTES_MAX:
            break
        chosen.append(HistoryEntry(sequence=sequence, batch=batch, proof=proof))
    if not chosen:
        return
    attached = encode(Entries(entries=tuple(chosen)))
    if core.peers[to].serving_past:
        past.send_history(core, to, chosen[0].sequence, attached)
        return
    message = History(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        first=chosen[0].sequence,
        replica=core.index,
    )
    core.send(to, core.sign(message, attached))


def on_history(core: Core, found: Verified) -> None:
    """Hand up what is next and proven; ask the same replica for more while that helps."""
    assert isinstance(found.message, History)
    gap = core.gap
    if gap is not None and core.refill_until is not None and found.message.first == gap.next:
        if found.sender == core.refill_peer:
            on_refill(core, found, gap)
        return
    if found.sender != core.history_peer or core.history_until is None:
        return  # not asked for
    full = len(found.attachment) >= HISTORY_BYTES_MAX // 2
    before = core.last_decided
    try:
        for entry in decode(Entries, found.attachment).entries:
            take_entry(core, entry)
    except DecodeError:
        pass  # its author is unproven, and the next one is asked
    normal.deliver(core)
    core.history_until = None
    core.history_failures = 0 if core.last_decided > before else core.history_failures + 1
    stable.settle(core)
    more = core.peers[found.sender].low > core.last_decided
    room = core.last_decided - core.last_executed < core.config.window
    if (full or core.last_decided >= core.history_last) and more and room:
        ask(core)  # of whoever sends less than it could, the next one is asked
    elif not more:
        core.status_at = core.now  # the rest is still in the others' logs


def learn(core: Core, event: Learned) -> None:
    """A batch that the driver found elsewhere; it counts if it is the next one and proven."""
    if core.last_decided - core.last_executed >= core.config.window:
        return  # the application comes first
    try:
        take_entry(
            core, HistoryEntry(sequence=event.sequence, batch=event.batch, proof=event.proof)
        )
    except DecodeError:
        return
    normal.deliver(core)
    stable.settle(core)


def take_entry(core: Core, entry: HistoryEntry) -> None:
    """One batch of history.

    Raises:
        DecodeError: not the next one, or its proof does not stand.
    """
    if entry.sequence <= core.last_decided:
        return
    if entry.sequence != core.last_decided + 1:
        raise DecodeError(f"entry {entry.sequence}; {core.last_decided + 1} expected")
    digest = batch_digest(entry.batch)
    proof = decode(QuorumProof, entry.proof)
    verify_decision(proof, entry.sequence, digest, core.verifier)
    amnesia.check_decision(core, proof, entry.sequence, digest)
    decode_batch(entry.batch)
    slot = core.log.find(entry.sequence)
    if slot is not None:
        if slot.decided not in (None, digest):
            core.halt(f"two decisions at {entry.sequence}: more than f replicas are faulty")
            return
        slot.decided, slot.proof = digest, proof
        slot.tidy()
        slot.bodies[digest] = entry.batch
    normal.hand_up(core, digest, entry.batch, proof, keep_proof=False)
