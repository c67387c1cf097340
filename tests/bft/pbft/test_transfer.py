"""State transfer: scenarios 66 to 69 and what a state root binds."""

import pytest

from bft.crypto.hashing import sha256
from bft.crypto.merkle import EMPTY_ROOT
from bft.pbft.messages import (
    CHUNK_BYTES,
    CHUNKS_MAX,
    Checkpoint,
    FetchChunk,
    FetchHistory,
    FetchState,
    History,
    StateChunk,
    StateManifest,
    Verified,
)
from bft.pbft.snapshots import missing, snapshot, split, state_root
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.disk import HOLE
from tests.bft.pbft.identities import CHAIN
from tests.bft.pbft.makers import alone, stable, tell
from tests.bft.pbft.test_catchup import load
from tests.bft.pbft.test_liveness import FAST, replica_of

FAR = {**FAST, "history_batches_max": 16}
BALLAST = b"".join(sha256(bytes([i])) for i in range(256)) * (3 * CHUNK_BYTES // 8192)


def late(cluster: Cluster, batches: int = 60) -> None:
    """Replica 3 misses everything after the fifth batch, and comes back."""
    load(cluster, 1, 5)
    cluster.crash(3)
    load(cluster, 6, batches)
    cluster.start(3)


def installed(cluster: Cluster) -> bool:
    return bool(cluster.nodes[3].installed)


def refilled(cluster: Cluster) -> bool:
    ours, theirs = [[batch for batch, _ in cluster.nodes[i].table[:60]] for i in (3, 0)]
    return HOLE not in cluster.nodes[3].table and ours == theirs


# roots


def test_the_root_binds_every_chunk_and_their_order() -> None:
    state = BALLAST
    chunks = split(state)
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES] * 3
    assert b"".join(chunks) == state
    assert len({state_root(state), state_root(state[:-1]), state_root(state[::-1])}) == 3
    assert state_root(b"") == EMPTY_ROOT


def test_a_state_at_the_bound_can_be_transferred_and_one_past_it_is_our_own_bug() -> None:
    assert len(split(bytes(CHUNK_BYTES * CHUNKS_MAX))) == CHUNKS_MAX
    with pytest.raises(AssertionError, match="cannot be transferred"):
        split(bytes(CHUNK_BYTES * CHUNKS_MAX + 1))


def test_equal_chunks_are_fetched_once() -> None:
    made = snapshot(8, bytes(CHUNK_BYTES * 3))
    assert missing(made.hashes, {made.hashes[0]: made.chunks[0]}) == ()


# transfers


def test_a_replica_that_is_far_behind_takes_a_state_and_votes_at_once() -> None:
    """Scenario 66: level 3; the batches that it skipped come afterwards."""
    cluster = Cluster(ballast=BALLAST, **FAR)
    late(cluster)
    cluster.run_until(lambda: installed(cluster), 5_000)
    assert cluster.nodes[3].installed == [56]
    cluster.run_until(lambda: cluster.executed_everywhere(1, 60), 3_000)
    assert cluster.nodes[3].app.save() == cluster.nodes[0].app.save()
    cluster.crash(0)  # now the late one is needed
    cluster.submit(1, 1, 61)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 61), 10_000)


def test_the_skipped_batches_come_afterwards_and_nothing_is_missing_then() -> None:
    cluster = Cluster(**FAR)
    late(cluster)
    cluster.run_until(lambda: installed(cluster), 5_000)
    assert HOLE in cluster.nodes[3].table
    cluster.run_until(lambda: refilled(cluster), 8_000)
    assert cluster.sent[History] > 0


def test_chunks_come_from_several_replicas() -> None:
    cluster = Cluster(ballast=BALLAST, **FAR)
    served = set()

    def watch(to: int, found: Verified) -> bool:
        if isinstance(found.message, StateChunk):
            served.add(found.sender)
        return True

    cluster.incoming = watch
    late(cluster)
    cluster.run_until(lambda: installed(cluster), 5_000)
    assert served == {0, 1, 2}


def test_a_small_gap_is_closed_by_history() -> None:
    cluster = Cluster(**FAST, history_batches_max=64)
    late(cluster)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 60), 8_000)
    assert cluster.sent[FetchState] == 0


def test_a_small_gap_is_closed_by_a_state_when_nobody_sends_history() -> None:
    """Pruned, or unreadable: after all were asked in vain."""
    cluster = Cluster(**FAST, history_batches_max=64, history_ms=500)
    cluster.incoming = lambda to, found: not isinstance(found.message, History)
    late(cluster)
    cluster.run_until(lambda: installed(cluster), 12_000)


def test_a_replica_with_a_wrong_chunk_is_not_asked_again() -> None:
    """Scenario 67: verified piece by piece; the liar costs one chunk."""
    cluster = Cluster(ballast=BALLAST, **FAR)
    cluster.byzantine = {1}
    false = 0

    def lie(source: int, to: int, data: bytes) -> list[bytes]:
        nonlocal false
        message = cluster.open(data).message
        if source == 1 and isinstance(message, StateChunk):
            false += 1
            return [cluster.forge(1, message, b"not what was asked for")]
        return [data]

    cluster.outgoing = lie
    late(cluster)
    cluster.run_until(lambda: installed(cluster), 8_000)
    assert 1 <= false <= 2
    assert cluster.nodes[3].app.save() == cluster.nodes[3].saved[1]  # type: ignore[index]


def test_replicas_that_stall_cost_only_time() -> None:
    """Scenario 67: mute about states, otherwise correct."""
    cluster = Cluster(ballast=BALLAST, **FAR)
    cluster.outgoing = lambda source, to, data: (
        []
        if source == 1 and isinstance(cluster.open(data).message, StateChunk | StateManifest)
        else [data]
    )
    late(cluster)
    cluster.run_until(lambda: installed(cluster), 10_000)


def test_a_manifest_with_another_root_convicts_its_sender() -> None:
    cluster = alone(3)
    proof = stable(16)
    core = replica_of(cluster, 3)._core
    core.target, core.history_failures = proof, 3
    cluster.run(100)
    assert replica_of(cluster, 3).transferring
    manifest = StateManifest(chain_id=CHAIN, epoch=0, proof=proof, hashes=(bytes(32),), replica=2)
    tell(cluster, 3, manifest)
    assert [a.culprit for a in cluster.nodes[3].accusations] == [2]
    assert replica_of(cluster, 3).last_decided == 0


def test_a_crash_in_the_middle_keeps_the_chunks_that_were_verified() -> None:
    """Scenario 68: the fetcher and a source crash; nothing is half installed."""
    cluster = Cluster(ballast=BALLAST, **FAR)
    got = {"chunks": 0, "most": 1}

    def one_chunk_a_life(to: int, found: Verified) -> bool:
        if to == 3 and isinstance(found.message, StateChunk):
            got["chunks"] += 1
            return got["chunks"] <= got["most"]
        return True

    cluster.incoming = one_chunk_a_life
    late(cluster)
    while not installed(cluster):
        cluster.run_until(lambda: got["chunks"] > got["most"] or installed(cluster), 8_000)
        cluster.run(10)
        cluster.crash(3)
        cluster.crash(1)
        cluster.start(3)
        cluster.start(1)
        got["chunks"], got["most"] = 0, 1
    assert cluster.sent[StateChunk] < 16
    cluster.run_until(lambda: refilled(cluster), 8_000)


def test_a_crash_while_batches_are_refilled_goes_on_where_it_was() -> None:
    cluster = Cluster(**FAR)
    late(cluster, batches=120)
    cluster.run_until(lambda: installed(cluster), 5_000)
    while HOLE in cluster.nodes[3].table:
        cluster.run(150)
        cluster.crash(3)
        cluster.start(3)
        assert cluster.now < 60_000, cluster.describe()
    assert refilled(cluster)


def test_a_state_that_somebody_fetches_is_kept_while_the_federation_goes_on() -> None:
    """Scenario 69: checkpoints come faster than chunks, and the transfer ends all the same."""
    cluster = Cluster(ballast=BALLAST, **FAR)
    cluster.delay = (1, 40)
    load(cluster, 1, 5)
    cluster.crash(3)
    load(cluster, 6, 40)
    cluster.start(3)
    for number in range(41, 400):
        cluster.submit(0, 1, number)
        cluster.run(25)
        if installed(cluster):
            break
    assert installed(cluster), cluster.describe()


def test_a_target_that_nobody_holds_any_more_is_replaced_by_a_newer_one() -> None:
    """Scenario 69: the sources restarted, and kept only their newest state."""
    cluster = Cluster(ballast=BALLAST, **FAR)
    cluster.incoming = lambda to, found: not isinstance(found.message, StateChunk)
    late(cluster)
    cluster.run_until(lambda: cluster.sent[StateChunk] > 0, 5_000)
    load(cluster, 61, 80)
    for index in range(3):
        core = replica_of(cluster, index)._core
        core.pinned, core.snapshots = {}, {s: core.snapshots[s] for s in (80,)}
    cluster.incoming = lambda to, found: True
    cluster.run_until(lambda: installed(cluster), 10_000)
    assert cluster.nodes[3].installed == [80]


def test_without_any_source_history_is_tried_again() -> None:
    """A transfer that gets nowhere does not keep a replica from what still works."""
    cluster = Cluster(**FAR, transfer_ms=200)
    cluster.incoming = lambda to, found: not isinstance(found.message, StateManifest)
    late(cluster)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 60), 20_000)
    assert not installed(cluster)
    assert cluster.sent[FetchHistory] > 0


def test_chunks_that_were_not_asked_for_change_nothing() -> None:
    cluster = alone(3)
    chunk = StateChunk(chain_id=CHAIN, epoch=0, sequence=8, index=0, replica=2)
    tell(cluster, 3, chunk, b"surprise")
    tell(cluster, 3, StateManifest(chain_id=CHAIN, epoch=0, proof=stable(8), hashes=(), replica=2))
    assert not replica_of(cluster, 3).transferring
    assert cluster.nodes[3].accusations == []


def test_one_replica_gets_few_chunks_at_a_time() -> None:
    cluster = Cluster(ballast=BALLAST, **FAR)
    cluster.byzantine = {3}
    load(cluster, 1, 10)
    cluster.crash(3)
    before = cluster.sent[StateChunk]
    ask = FetchChunk(chain_id=CHAIN, epoch=0, sequence=8, index=0, replica=3)
    for _ in range(100):
        cluster.arrive(0, cluster.forge(3, ask))
    cluster.run(20)
    assert 0 < cluster.sent[StateChunk] - before <= 8


def test_no_checkpoint_is_voted_for_by_who_only_took_the_state() -> None:
    """Section 8: who has not executed says nothing about what it came to."""
    cluster = Cluster(**FAR)
    said = []

    def watch(to: int, found: Verified) -> bool:
        if isinstance(found.message, Checkpoint) and found.sender == 3:
            said.append(found.message.sequence)
        return True

    cluster.incoming = watch
    late(cluster)
    cluster.run_until(lambda: installed(cluster), 5_000)
    cluster.run(3_000)
    assert [sequence for sequence in said if sequence > 0] == []
