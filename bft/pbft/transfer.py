"""State transfer: the application's state from a stable checkpoint, for who is too far behind.

A strong quorum signed the state root, the root binds the chunks: so any replica may serve any
chunk, several do at once, and who sends a wrong one is not asked again.  What has been verified is
journaled and survives a restart.  Votes go on inside the watermarks; there are none beyond.
Source: docs/CONSENSUS.md, "State transfer".  Pure.
"""

from bft.crypto.merkle import leaf_hash, root_of_hashes
from bft.errors import DecodeError
from bft.pbft import amnesia, journal, normal, stable
from bft.pbft.certificates import verify_stable
from bft.pbft.core import Core, Gap, Transfer
from bft.pbft.events import InstallState
from bft.pbft.messages import (
    FetchChunk,
    FetchState,
    StableProof,
    StateChunk,
    StateManifest,
    Verified,
)
from bft.pbft.snapshots import Snapshot, missing

PARALLEL_MAX = 4  # chunks that are asked for at a time, each of another replica
FAILURES_MAX = 4  # questions without an answer, for each other replica, that end a transfer
REST_MS = 30_000  # after a transfer that failed, history is tried instead


def wanted(core: Core) -> bool:
    """Whether history is too long, or nobody sends it."""
    if core.target is None or core.gap is not None or core.now < core.transfer_rest:
        return False
    behind = core.target.sequence - core.last_decided
    unreachable = core.history_failures >= len(core.others)
    return behind > core.config.history_batches_max or (behind > 0 and unreachable)


def tick(core: Core) -> None:
    """Begin a transfer that is due; ask for what is missing of the one that runs."""
    if core.transfer is None:
        if not wanted(core):
            return
        assert core.target is not None
        core.history_until = None
        core.transfer = Transfer(sequence=core.target.sequence, turn=core.index)
    transfer = core.transfer
    if transfer.sequence <= core.last_decided:
        core.transfer = None
    elif transfer.failures > FAILURES_MAX * len(core.others):
        core.transfer, core.transfer_rest = None, core.now + REST_MS
        core.history_failures = 0
    elif transfer.proof is None:
        ask_manifest(core, transfer)
    else:
        ask_chunks(core, transfer)
        complete(core, transfer)


def next_source(core: Core, transfer: Transfer) -> int:
    """The next replica, round and round, without those that sent wrong chunks."""
    if len(transfer.banned) == len(core.others):
        transfer.banned.clear()  # it cannot be that all are faulty; perhaps a disk of ours was
    for step in range(1, core.members.n + 1):
        turn = (transfer.turn + step) % core.members.n
        if turn != core.index and turn not in transfer.banned:
            break
    transfer.turn = turn
    return turn


def ask_manifest(core: Core, transfer: Transfer) -> None:
    """Ask one replica after the other for the pieces of a stable state."""
    if core.now < transfer.until:
        return
    transfer.failures += transfer.until > 0
    transfer.until = core.now + core.config.transfer_ms
    message = FetchState(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        sequence=transfer.sequence,
        replica=core.index,
    )
    core.send(next_source(core, transfer), core.sign(message))


def ask_chunks(core: Core, transfer: Transfer) -> None:
    """Ask for missing chunks, each of another replica; again where no answer came."""
    for index in sorted(transfer.asked):
        if core.now >= transfer.asked[index][1]:
            transfer.failures += 1
            del transfer.asked[index]
    for index in missing(transfer.hashes, transfer.chunks):
        if len(transfer.asked) >= PARALLEL_MAX:
            return
        if index in transfer.asked:
            continue
        source = next_source(core, transfer)
        transfer.asked[index] = (source, core.now + core.config.transfer_ms)
        message = FetchChunk(
            chain_id=core.members.chain_id,
            epoch=core.members.epoch,
            sequence=transfer.sequence,
            index=index,
            replica=core.index,
        )
        core.send(source, core.sign(message))


def on_manifest(core: Core, found: Verified) -> None:
    """The pieces of a stable state: its proof counts, not its sender."""
    message = found.message
    assert isinstance(message, StateManifest)
    transfer = core.transfer
    if transfer is None:
        return
    first = transfer.proof is None
    if message.proof.sequence < transfer.sequence + (not first):
        return
    if not first and found.sender not in [source for source, _ in transfer.asked.values()]:
        return
    try:
        verify_stable(message.proof, core.verifier)
        if root_of_hashes(message.hashes) != message.proof.state_root:
            raise DecodeError("the chunks have another root than the quorum signed")
    except DecodeError as error:
        core.accuse(found.sender, f"invalid manifest: {error}", (found.envelope,))
        return
    amnesia.check_stable(core, message.proof)
    if first:
        aim(core, transfer, message)
        return
    transfer.newer[found.sender] = message
    for index in sorted(transfer.asked):
        if transfer.asked[index][0] == found.sender:
            del transfer.asked[index]
    # One replica may lie about what it lacks; of weak many, one is correct.
    if len(transfer.newer) >= min(core.members.weak, len(core.others)):
        newest = max(transfer.newer.values(), key=lambda manifest: manifest.proof.sequence)
        aim(core, transfer, newest)


def aim(core: Core, transfer: Transfer, manifest: StateManifest) -> None:
    """From now on this state is fetched; chunks that it shares with the one before are kept."""
    transfer.sequence, transfer.proof = manifest.proof.sequence, manifest.proof
    transfer.hashes = manifest.hashes
    transfer.chunks = {h: transfer.chunks[h] for h in manifest.hashes if h in transfer.chunks}
    transfer.asked, transfer.newer, transfer.failures = {}, {}, 0
    lsn = core.persist(journal.Targeted(proof=manifest.proof, hashes=manifest.hashes))
    transfer.first_lsn = transfer.first_lsn or lsn
    stable.on_stable(core, manifest.proof)
    ask_chunks(core, transfer)
    complete(core, transfer)


def on_chunk(core: Core, found: Verified) -> None:
    """One chunk that was asked for; its hash tells."""
    message = found.message
    assert isinstance(message, StateChunk)
    transfer = core.transfer
    if transfer is None or message.sequence != transfer.sequence:
        return
    if transfer.asked.get(message.index, (core.index, 0))[0] != found.sender:
        return
    del transfer.asked[message.index]
    hashed = leaf_hash(found.attachment)
    if hashed != transfer.hashes[message.index]:
        transfer.banned.add(found.sender)  # no evidence: attachments are not signed
    elif hashed not in transfer.chunks:
        core.persist(journal.Fetched(chunk=found.attachment))
        transfer.chunks[hashed] = found.attachment
        transfer.failures = 0
    ask_chunks(core, transfer)
    complete(core, transfer)


def complete(core: Core, transfer: Transfer) -> None:
    """Install the state when every chunk is here and the application stands still."""
    if transfer.proof is None or missing(transfer.hashes, transfer.chunks):
        return
    if transfer.sequence <= core.last_decided:
        core.transfer = None  # overtaken by decisions
    elif core.last_executed == core.last_decided:
        install(core, transfer.proof, transfer)


def install(core: Core, proof: StableProof, transfer: Transfer) -> None:
    """Everything through the checkpoint is history, and the state after it is ours."""
    sequence = proof.sequence
    assert sequence > core.last_decided
    chunks = tuple(transfer.chunks[hashed] for hashed in transfer.hashes)
    core.transfer = None
    core.gap = Gap(core.last_decided + 1, sequence)
    core.effects.append(
        InstallState(
            sequence=sequence,
            state_root=proof.state_root,
            state=b"".join(chunks),
            first_missing=core.last_decided + 1,
        )
    )
    core.last_decided = core.last_executed = sequence
    core.chain = proof.chain
    core.next_sequence = max(core.next_sequence, sequence + 1)
    core.snapshots[sequence] = Snapshot(sequence, chunks, transfer.hashes)
    core.history_until, core.history_failures = None, 0
    core.stalled_since = None
    if core.target is not None and core.target.sequence <= sequence:
        core.target = None
    core.pool.restart(core.now, core.now + core.scaled(core.config.request_ms))
    stable.advance(core, proof)
    normal.deliver(core)
