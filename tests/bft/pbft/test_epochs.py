"""Members come, go and are replaced while the mill runs: scenario 78, with all its parts."""

from collections.abc import Sequence

import pytest

from bft.ordering.batch import NULL_BATCH, NULL_DIGEST, batch_digest
from bft.ordering.proof import verify_quorum_proof
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    History,
    NewView,
    Prepare,
    PrePrepare,
    Stable,
    Status,
    Verified,
    ViewChange,
)
from tests.bft.pbft.disk import App, Node
from tests.bft.pbft.federation import Federation
from tests.bft.pbft.identities import membership, opened, request
from tests.bft.pbft.makers import batch_of
from tests.bft.pbft.moving import Moving
from tests.bft.pbft.test_liveness import FAST, replica_of

OLD = (0, 1, 2, 3)
ADDED = (0, 1, 2, 3, 4)
REPLACED = (0, 1, 2, 4)


def federation(n: int = 4, seed: int = 0, **config: int) -> Federation:
    return Federation(n, seed, spare=8 - n, **{**FAST, **config})


def works(cluster: Federation, to: int = 0, client: int = 1) -> None:
    """New requests are executed by every machine that is up."""
    first = cluster.now + 1  # a cseq that was never used
    for number in range(first, first + 10):
        cluster.submit(to, client, number)
        cluster.run(60)
    cluster.run_until(lambda: cluster.executed_everywhere(client, number), 30_000)


def moves(cluster: Federation, machines: Sequence[int], to: int = 0) -> None:
    """These are the members of the next epoch, and it works."""
    following = cluster.epoch + 1
    cluster.change(to, machines)
    up = [i for i in machines if cluster.nodes[i].up]
    cluster.run_until(lambda: cluster.in_epoch(following, up), 30_000)
    works(cluster, up[0])


def until_executed(cluster: Federation, sequence: int, machine: int = 0) -> None:
    """Stop as soon as this machine has executed so far."""
    while len(cluster.nodes[machine].table) < sequence:
        cluster.run(1)
        assert cluster.now < 60_000, cluster.describe()


def deaf_to_the_end(cluster: Federation, last: int) -> None:
    """From now on nobody hears a CHECKPOINT for the epoch's last sequence, nor a proof of it."""

    def incoming(to: int, found: Verified) -> bool:
        message = found.message
        if isinstance(message, Stable):
            return message.proof.sequence != last
        return not (isinstance(message, Checkpoint) and message.sequence == last)

    cluster.incoming = incoming


def at_the_end(machines: Sequence[int], seed: int = 0) -> tuple[Federation, int]:
    """All have executed an epoch's last batch; nobody can prove its state."""
    cluster = federation(seed=seed)
    works(cluster)
    cluster.change(0, machines)
    cluster.run_until(lambda: cluster.nodes[0].app.last is not None, 5_000)
    last = cluster.nodes[0].app.last
    assert last is not None
    deaf_to_the_end(cluster, last)
    cluster.run_until(lambda: all(len(cluster.nodes[i].table) == last for i in OLD), 10_000)
    return cluster, last


def heal_ears(cluster: Federation) -> None:
    cluster.incoming = lambda to, found: True


# add, replace, remove, refresh


@pytest.mark.parametrize(
    "machines",
    [ADDED, REPLACED, (0, 1, 2), (3,), OLD, (3, 2, 1, 0), (0, 1, 2, 3, 4, 5, 6), (4, 5, 6, 7)],
    ids=["add", "replace", "remove", "one", "refresh", "reorder", "grow", "all new"],
)
def test_the_list_changes_and_the_mill_goes_on(machines: tuple[int, ...]) -> None:
    """Scenario 78: whoever stays, comes or goes; machines that are no members only read."""
    cluster = federation()
    works(cluster)
    moves(cluster, machines)
    assert cluster.lists[1] == machines
    assert {node.index for node in cluster.nodes if node.replica is not None} == set(machines)


def test_one_becomes_four_and_then_seven_and_four_again() -> None:
    """Scenario 78: one epoch after the other; leavers come back."""
    cluster = federation(1)
    for machines in ((0, 1, 2, 3), (0, 1, 2, 3, 4, 5, 6), (0, 4, 5, 6), (0, 4, 5, 6), (1, 4, 5, 6)):
        moves(cluster, machines, to=cluster.lists[cluster.epoch][0])
    assert cluster.epoch == 5


def test_an_idle_federation_comes_to_the_end_of_its_epoch() -> None:
    """Scenario 78: null batches drive to the boundary, as many as are missing and no more."""
    cluster = federation()
    cluster.change(0, ADDED)
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 5_000)
    batches = [batch for batch, _ in cluster.nodes[0].table]
    assert cluster.ends == {0: 24} and len(batches) == 24
    assert batches[1:] == [NULL_BATCH] * 23
    cluster.run(10_000)
    assert len(cluster.nodes[0].table) == 24
    assert cluster.sent[ViewChange] == 0


def test_a_new_quorum_is_needed_and_enough() -> None:
    """Scenario 78: liveness with the strong quorum of the new epoch, and with no less."""
    cluster = federation()
    moves(cluster, (0, 1, 2, 3, 4, 5, 6))
    cluster.crash(0)
    cluster.crash(1)
    works(cluster, to=4)
    cluster.crash(2)
    cluster.submit(4, 2, 1)
    cluster.run(20_000)
    assert not cluster.executed_everywhere(2, 1), "four of seven decide nothing"
    cluster.start(2)
    cluster.run_until(lambda: cluster.executed_everywhere(2, 1), 30_000)


# a Byzantine primary at the boundary


def test_a_lying_primary_carries_no_epoch_beyond_its_end() -> None:
    """Scenario 78, add R4 while B is primary: it proposes behind the boundary in epoch 0."""
    cluster = federation()
    cluster.byzantine = {0}
    asked = request(77, 1)
    cluster.submitted.add(asked)
    beyond = batch_of(asked)
    forged = [0]

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        last = cluster.ends.get(0) or cluster.nodes[0].app.last
        if source != 0 or last is None:
            return [data]
        forged[0] += 1
        header = PrePrepare(
            chain_id=cluster.members.chain_id,
            epoch=0,
            view=0,
            sequence=last + 1 + forged[0] % 8,
            digest=batch_digest(beyond),
            replica=0,
        )
        return [data, cluster.forge(0, header, beyond)]

    cluster.outgoing = outgoing
    cluster.change(1, ADDED)
    cluster.run_until(lambda: cluster.in_epoch(1, (1, 2, 3, 4)), 30_000)
    works(cluster, to=1)
    assert forged[0] > 0
    assert beyond not in [batch for batch, _ in cluster.nodes[1].table]


def test_a_primary_that_does_not_finish_the_epoch_is_replaced() -> None:
    """Scenario 78, add R4 while B is primary: it proposes no null batch, and nobody asks."""
    cluster = federation()
    cluster.byzantine = {0}

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        message = cluster.open(data).message
        idle = isinstance(message, PrePrepare) and message.digest == NULL_DIGEST
        return [] if source == 0 and idle else [data]

    cluster.outgoing = outgoing
    cluster.change(1, ADDED)
    cluster.run_until(lambda: cluster.in_epoch(1, (1, 2, 3, 4)), 30_000)
    assert cluster.sent[NewView] > 0
    works(cluster, to=1)


def test_a_null_batch_convicts_nobody_before_we_know_better_and_is_refused_then() -> None:
    """Only an epoch that ends has null batches; who has not executed so far cannot tell."""
    cluster = federation(progress_ms=60_000)
    cluster.byzantine = {0}
    cluster.split({0}, {1}, {2}, {3})
    wishes: list[int] = []

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        message = cluster.open(data).message
        if source == 1 and isinstance(message, Status):
            wishes.append(message.wished_view)
        return [data]

    cluster.outgoing = outgoing
    for sequence, wished in ((2, 0), (1, 1)):
        header = PrePrepare(
            chain_id=cluster.members.chain_id,
            epoch=0,
            view=0,
            sequence=sequence,
            digest=NULL_DIGEST,
            replica=0,
        )
        cluster.arrive(1, cluster.forge(0, header, NULL_BATCH))
        cluster.run(600)
        assert cluster.sent[Prepare] == 0
        assert wishes[-1] == wished


# partitions, crashes and late replicas


@pytest.mark.parametrize("moment", range(-3, 2))
def test_a_partition_over_the_boundary_heals(moment: int) -> None:
    """Scenario 78, partition across b: some may have the proof of the last state, some not."""
    cluster = federation(seed=moment + 3)
    cluster.delay = (1, 40)
    works(cluster)
    cluster.change(0, ADDED)
    cluster.run_until(lambda: cluster.nodes[0].app.last is not None, 5_000)
    last = cluster.nodes[0].app.last
    assert last is not None
    until_executed(cluster, last + min(moment, 0))
    if moment > 0:
        cluster.run(10)
    cluster.split({0, 1, 4}, {2, 3})
    cluster.run(8_000)
    cluster.heal()
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 30_000)
    works(cluster)


def test_a_member_that_is_still_in_the_old_epoch_is_shown_its_end() -> None:
    """Scenario 78, late R3 still in e: the proof of the last state, and the batches before it."""
    cluster = federation()
    works(cluster)
    cluster.split({0, 1, 2, 4}, {3})
    cluster.change(0, ADDED)
    cluster.run_until(lambda: cluster.in_epoch(1, (0, 1, 2, 4)), 10_000)
    cluster.published = False  # its peers alone must do
    assert cluster.running(cluster.nodes[3]) == 0
    cluster.heal()
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 10_000)
    assert cluster.sent[Stable] > 0
    assert cluster.sent[History] > 0
    assert cluster.sent[ViewChange] == 0
    cluster.published = True
    cluster.crash(1)
    works(cluster)


def test_also_after_a_restart_a_member_shows_the_end_of_the_old_epoch() -> None:
    """Scenario 78, late R3: checkpoints of the new epoch prune the old one's records, not this."""
    cluster = federation()
    cluster.crash(3)
    moves(cluster, ADDED)
    works(cluster)
    works(cluster)
    cluster.published = False
    for index in (0, 1, 2):
        cluster.crash(index)
        cluster.start(index)
    cluster.start(3)
    assert cluster.running(cluster.nodes[3]) == 0
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 10_000)
    cluster.published = True
    works(cluster)


def test_who_is_two_epochs_behind_reads_what_is_published() -> None:
    """Scenario 78, late R3: nobody answers in its epoch any more; proofs convince from anywhere."""
    cluster = federation()
    works(cluster)
    cluster.crash(3)
    moves(cluster, ADDED)
    moves(cluster, (0, 1, 2, 3, 4, 5), to=1)
    moves(cluster, (0, 1, 2, 3), to=1)
    cluster.start(3)
    assert cluster.running(cluster.nodes[3]) == 0
    cluster.run_until(lambda: cluster.in_epoch(3, OLD), 20_000)
    works(cluster)


def test_a_new_member_that_crashes_before_its_first_checkpoint_comes_back() -> None:
    """Scenario 78, crash of R4: with nothing but its first records on disk."""
    cluster = federation()
    works(cluster)
    cluster.change(0, ADDED)
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 10_000)
    for number in (1, 2, 3):
        cluster.submit(0, 2, number)
        cluster.run(60)
    assert cluster.nodes[4].journal and replica_of(cluster, 4).low_watermark == cluster.ends[0]
    cluster.crash(4)
    works(cluster)
    cluster.start(4)
    assert cluster.running(cluster.nodes[4]) == 1
    works(cluster)
    cluster.crash(3)
    works(cluster)  # four of five, R4 among them


@pytest.mark.parametrize("seed", range(3))
def test_all_crash_at_the_boundary_and_still_end_their_epoch(seed: int) -> None:
    """Scenario 78: executed everywhere, proven nowhere; their CHECKPOINTs are still owed."""
    cluster, _ = at_the_end(ADDED, seed)
    for index in OLD:
        cluster.crash(index)
    for index in OLD:
        cluster.start(index)
    assert cluster.in_epoch(0, OLD)
    cluster.run(3_000)
    heal_ears(cluster)
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 10_000)
    works(cluster)


def test_who_leaves_gives_its_last_vote_to_everyone() -> None:
    """Scenario 78: R3 leaves, R2 is dead; R0 and R1 need the CHECKPOINT of R3."""
    cluster = federation()
    works(cluster)
    cluster.crash(2)
    cluster.change(0, REPLACED)
    cluster.run_until(lambda: cluster.nodes[0].app.last is not None, 5_000)
    last = cluster.nodes[0].app.last

    def incoming(to: int, found: Verified) -> bool:
        message = found.message
        silenced = isinstance(message, Checkpoint) and message.sequence == last
        return not (silenced and found.sender == 3)

    cluster.incoming = incoming
    cluster.run_until(lambda: cluster.in_epoch(1, (0, 1, 4)), 10_000)
    works(cluster)
    assert cluster.nodes[3].replica is None, "it went when the next epoch had a checkpoint"


def test_a_restarted_leaver_answers_until_the_next_epoch_stands() -> None:
    """Scenario 78: the same, and R3 restarts in between."""
    cluster, _ = at_the_end(REPLACED)
    heal_ears(cluster)
    cluster.incoming = lambda to, found: to == 3 or not isinstance(found.message, Stable)
    cluster.split({3}, {0}, {1}, {2})
    cluster.run(1_000)
    cluster.crash(3)
    cluster.start(3)
    assert cluster.running(cluster.nodes[3]) == 0
    heal_ears(cluster)
    cluster.heal()
    cluster.run_until(lambda: cluster.in_epoch(1, REPLACED), 10_000)
    works(cluster)


# votes and requests over the boundary


def test_no_vote_of_an_epoch_counts_in_the_next() -> None:
    """Scenario 78: everything that was said in epoch 0 is said again in epoch 1."""
    cluster = federation()
    heard: list[bytes] = []

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        if cluster.open(data).message.epoch == 0:
            heard.append(data)
        return [data]

    cluster.outgoing = outgoing
    works(cluster)
    cluster.change(0, REPLACED)
    cluster.run_until(lambda: cluster.in_epoch(1, REPLACED), 10_000)
    before = [replica_of(cluster, i).last_decided for i in REPLACED]
    for kind in (Prepare, Commit, Checkpoint, NewView, ViewChange):
        cluster.sent[kind] = 0
    for data in list(dict.fromkeys(heard)):
        for to in REPLACED:
            cluster.arrive(to, data)
    cluster.run(2_000)
    assert [replica_of(cluster, i).last_decided for i in REPLACED] == before
    assert not any(cluster.sent[k] for k in (Prepare, Commit, Checkpoint, NewView, ViewChange))
    works(cluster)


def test_who_has_left_is_a_stranger() -> None:
    """Scenario 78: R3 is no member of epoch 1, whatever it signs for it."""
    cluster = federation()
    works(cluster)
    moves(cluster, REPLACED)
    cluster.byzantine = {3}
    vote = Commit(
        chain_id=cluster.members.chain_id,
        epoch=1,
        view=0,
        sequence=len(cluster.nodes[0].table) + 1,
        digest=NULL_DIGEST,
        replica=3,
    )
    assert opened(cluster.forge(3, vote), membership(1, REPLACED)) is None


def test_what_waits_at_the_end_is_executed_once_in_the_next_epoch() -> None:
    """Scenario 78: no primary is to blame for what has no place before the boundary."""
    cluster, _ = at_the_end(ADDED)
    for number in range(1, 6):
        cluster.submit(number % 4, 3, number)
    cluster.run(20_000)
    assert not cluster.executed_everywhere(3, 1)
    assert cluster.sent[ViewChange] == 0
    heal_ears(cluster)
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 10_000)
    cluster.run_until(lambda: cluster.executed_everywhere(3, 5), 10_000)


def following(node: Node, cluster: Federation) -> tuple[int, ...]:
    """The members as a client learns them that knows the first list and reads this log."""
    app = App.load(cluster.opening)
    for sequence, (batch, proof) in enumerate(node.table, 1):
        listed = membership(app.epoch, app.machines)
        verify_quorum_proof(proof, listed, sequence, batch_digest(batch))
        app.execute(sequence, batch)
    return app.machines


def test_a_client_with_the_old_list_follows_to_the_new_one() -> None:
    """Scenario 78, client with the old list: all whom it knows have left."""
    cluster = federation()
    works(cluster)
    moves(cluster, (4, 5, 6, 7))
    assert cluster.nodes[3].replica is None, "nobody takes its request there"
    machines = following(cluster.nodes[3], cluster)
    assert machines == (4, 5, 6, 7)
    cluster.submit(machines[0], 3, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(3, 1), 5_000)


def test_a_log_with_a_gap_is_filled_over_the_boundary() -> None:
    """R3 took a state in epoch 0; what it skipped comes in epoch 1, and is proven by epoch 0."""
    cluster = federation(history_batches_max=8)
    works(cluster)
    cluster.crash(3)
    for _ in range(3):
        works(cluster)
    cluster.start(3)
    cluster.incoming = lambda to, found: to != 3 or not isinstance(found.message, History)
    cluster.run_until(lambda: bool(cluster.nodes[3].installed), 20_000)
    cluster.change(0, ADDED)
    cluster.run_until(lambda: cluster.in_epoch(1, ADDED), 20_000)
    whole = [batch for batch, _ in cluster.nodes[0].table[: cluster.ends[0]]]
    ours = cluster.nodes[3].table
    assert [batch for batch, _ in ours[: len(whole)]] != whole
    heal_ears(cluster)
    cluster.run_until(lambda: [batch for batch, _ in ours[: len(whole)]] == whole, 20_000)


@pytest.mark.parametrize("first", range(0, 8, 4))
def test_random_faults_while_the_list_changes_break_nothing(first: int) -> None:
    """Scenario 78: agreement over all epochs, one end of each, and every request in the end."""
    for seed in range(first, first + 4):
        Moving(seed).run()
