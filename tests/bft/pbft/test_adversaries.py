"""Liars and floods that the other files leave out: scenarios 4, 8, 21, 27, 30, 39, 41 and 62."""

from itertools import combinations

import pytest

from bft.errors import DecodeError
from bft.ordering.batch import batch_digest
from bft.pbft.certificates import Verifier
from bft.pbft.core import FORGIVING_BATCHES
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    ForwardedRequests,
    NewView,
    PrePrepare,
    Stable,
    Verified,
    ViewChange,
)
from bft.pbft.view_change import check_new_view, plan_new_view
from bft.quorum import faults, strong
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.disk import Node
from tests.bft.pbft.identities import CHAIN
from tests.bft.pbft.makers import (
    D1,
    D2,
    FOUR,
    alone,
    batch_of,
    commit,
    header,
    new_view,
    operation,
    prepare,
    prepared,
    tell,
    view_change,
)
from tests.bft.pbft.test_catchup import load
from tests.bft.pbft.test_liveness import FAST, replica_of


def forget(node: Node) -> None:
    """An empty disk, under the same key."""
    fresh = Node(index=node.index)
    for name in ("journal", "table", "roots", "durable", "saved"):
        if hasattr(fresh, name):
            setattr(node, name, getattr(fresh, name))


@pytest.mark.parametrize("seed", range(3))
def test_a_replica_that_forgets_everything_again_and_again_forks_nobody(seed: int) -> None:
    """Scenario 4: every 5 s it starts from nothing, and votes anew where it had voted."""
    cluster = Cluster(seed=seed, **FAST)
    cluster.byzantine = {2}
    for number in range(1, 61):
        cluster.submit((0, 1, 3)[number % 3], number % 4, number)
        cluster.run(250)
        if number % 20 == 0:
            cluster.crash(2)
            forget(cluster.nodes[2])
            cluster.start(2)
        if number == 30:
            cluster.crash(0)
            cluster.start(0)
    cluster.run_until(
        lambda: all(cluster.executed_everywhere(i % 4, i) for i in range(1, 61)), 60_000
    )


# quorums


def test_two_strong_quorums_share_a_correct_replica_also_where_n_is_not_3f_plus_1() -> None:
    """Scenario 8: with 2F + 1 of n = 6 two quorums may share nobody."""
    for n in range(4, 30):
        f = faults(n)
        assert 2 * strong(n) - n > f
        assert strong(n) <= n - f
    assert 2 * (2 * faults(6) + 1) - 6 == 0


@pytest.mark.parametrize("n", [5, 6, 7])
def test_liars_in_both_halves_make_no_two_decisions(n: int) -> None:
    """Scenario 8: the halves cannot talk; the liars lead in both, and vote for both batches."""
    cluster = Cluster(n=n, **FAST)
    f = faults(n)
    liars = {0} if f == 1 else {0, n - 1}
    for liar in sorted(liars):
        cluster.crash(liar)
    cluster.byzantine = liars
    honest = [i for i in range(n) if i not in liars]
    halves = (honest[: len(honest) // 2], honest[len(honest) // 2 :])
    cluster.split(*(set(half) for half in halves))
    for number, half in enumerate(halves, 1):
        data = operation(number)
        cluster.submitted.add(data)
        batch = batch_of(data)
        digest = batch_digest(batch)
        for to in half:
            proposal = PrePrepare(
                chain_id=CHAIN, epoch=0, view=0, sequence=1, digest=digest, replica=0
            )
            cluster.arrive(to, cluster.forge(0, proposal, batch))
            for liar in sorted(liars):
                for make in (prepare, commit):
                    cluster.arrive(to, cluster.forge(liar, make(0, 1, digest, liar)))
    cluster.run(1_000)
    assert len({node.table[0][0] for node in cluster.correct() if node.table}) <= 1
    cluster.heal()
    for to in honest:
        cluster.submit(to, 9, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(9, 1), 60_000)


# new views


def test_whatever_view_changes_a_new_primary_picks_a_committed_batch_is_in_them() -> None:
    """Scenario 21: committed means prepared at a strong quorum; any other shares one with it."""
    for holders in combinations(range(4), 3):
        changes = [view_change(1, i, *([prepared(0, 1)] if i in holders else [])) for i in range(4)]
        for chosen in combinations(changes, 3):
            assert plan_new_view(chosen).proposals == ((1, D1),)


def test_what_only_one_replica_had_prepared_may_legally_be_left_behind() -> None:
    """Scenario 21: hiding the only holder is no violation, and nothing was committed."""
    hidden = (view_change(1, 0), view_change(1, 1), view_change(1, 2))
    plan, _ = check_new_view(new_view(1, hidden, ()), Verifier(FOUR), window=16, interval=8)
    assert plan.proposals == ()


def test_a_new_view_by_digests_of_view_changes_is_none() -> None:
    """Scenario 39 cannot occur: a NEW-VIEW carries the VIEW-CHANGEs themselves, never hashes."""
    quorum = (view_change(1, 0), view_change(1, 1), view_change(1, 2))
    proper = new_view(1, quorum, ())
    hashes = NewView(
        chain_id=CHAIN, epoch=0, view=1, view_changes=(D1, D1, D2), proposals=(), replica=1
    )
    check_new_view(proper, Verifier(FOUR), window=16, interval=8)
    with pytest.raises(DecodeError):
        check_new_view(hashes, Verifier(FOUR), window=16, interval=8)
    cluster = alone(3)
    for replica in (0, 2):
        tell(cluster, 3, view_change(1, replica))
    tell(cluster, 3, hashes)
    assert replica_of(cluster, 3).pending_view == 2


def test_a_new_primary_that_missed_the_last_checkpoint_assigns_nothing_twice() -> None:
    """Scenario 27: R1 knows neither the checkpoint nor the batches before it."""
    cluster = Cluster(**FAST)
    cluster.split({0, 2, 3}, {1})
    load(cluster, 1, 12)
    assert replica_of(cluster, 0).low_watermark == 8
    assert replica_of(cluster, 1).last_decided == 0
    cluster.crash(0)
    assigned: list[int] = []

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        message = cluster.open(data).message
        if isinstance(message, PrePrepare) and message.replica == 1:
            assigned.append(message.sequence)
        return [data]

    cluster.outgoing = outgoing
    cluster.incoming = lambda to, found: (
        not (to == 1 and isinstance(found.message, Checkpoint | Stable))
    )
    cluster.heal()
    for number in (13, 14, 15):
        cluster.submit(2, 1, number)
    cluster.run_until(lambda: all(cluster.executed_everywhere(1, i) for i in (13, 14, 15)), 60_000)
    assert all(sequence > 12 for sequence in assigned)


def test_a_primary_that_hears_of_its_end_proposes_nothing_more() -> None:
    """Scenario 30: f + 1 VIEW-CHANGEs reach a correct, slow primary."""
    cluster = alone(0)
    cluster.submit(0, 1, 1)
    cluster.run(20)
    assert cluster.sent[PrePrepare] == 1
    tell(cluster, 0, view_change(1, 1))
    tell(cluster, 0, view_change(1, 2))
    assert cluster.sent[ViewChange] == 1
    for number in range(2, 6):
        cluster.submit(0, number, number)
        cluster.run(200)
    assert cluster.sent[PrePrepare] == 1


def test_long_timeouts_that_an_attacker_brought_about_protect_no_slow_primary() -> None:
    """Scenario 41: views fail until the timeout is at its maximum; then R0 leads and lets wait."""
    longest = 8_000
    cluster = Cluster(**FAST, view_change_ms_max=longest)
    cluster.byzantine = {0}
    attack = {"on": True}
    led: set[int] = set()

    def incoming(to: int, found: Verified) -> bool:
        message = found.message
        if isinstance(message, NewView) and found.sender == 0 and not attack["on"]:
            led.add(message.view)
        if attack["on"]:
            return not isinstance(message, NewView)
        return not (to == 0 and isinstance(message, ForwardedRequests))

    cluster.incoming = incoming
    cluster.submit(1, 1, 1)
    cluster.crash(0)
    cluster.start(0)
    cluster.split({1, 2, 3}, {0})
    cluster.run_until(lambda: replica_of(cluster, 1).pending_view >= 8, 200_000)
    core = replica_of(cluster, 1)._core
    assert core.scaled(1_000) == longest
    attack["on"] = False
    cluster.heal()
    began = cluster.now
    while replica_of(cluster, 1).view % 4 != 0 or not replica_of(cluster, 1).active:
        cluster.submit(1, 1, 1)
        cluster.run(500)
        if cluster.executed_everywhere(1, 1):
            break
        assert cluster.now - began < 20 * longest
    assert led, "R0 was to lead"
    number = 1
    while core.scaled(1_000) > 1_000:
        number += 1
        cluster.submit(1 + number % 3, number % 5, number)
        cluster.run(100)
        assert number < 40 * FORGIVING_BATCHES, "lasting progress did not bring the timeout back"
    cluster.run_until(lambda: cluster.executed_everywhere(number % 5, number), 10 * longest)


# floods


def test_what_a_liar_sends_ahead_takes_no_honest_vote_away() -> None:
    """Scenario 62: R2 fills every slot of the coming view; R0's early vote is still there."""
    cluster = alone(3)
    tell(cluster, 3, prepare(1, 1, D1, 0))
    for round_ in range(20):
        for sequence in range(1, 17):
            for view in (1, 1 + round_):
                digest = bytes([round_]) * 32
                cluster.arrive(3, cluster.forge(2, prepare(view, sequence, digest, 2)))
                cluster.arrive(3, cluster.forge(2, commit(view, sequence, digest, 2)))
            cluster.arrive(3, cluster.forge(2, header(2, sequence, D2)))
    cluster.run(10)
    slots = list(replica_of(cluster, 3)._core.log)
    assert len(slots) == 16
    assert all(len(slot.prepares._of) <= 3 for slot in slots)
    changes = (view_change(1, 0, prepared(0, 1)), view_change(1, 1), view_change(1, 2))
    tell(cluster, 3, new_view(1, changes, ((1, D1),)))
    assert cluster.sent[Commit] == 1
