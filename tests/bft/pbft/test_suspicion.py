"""Wishing for another primary, and the end of a reign: what pushes a primary out, and what not."""

import pytest

from bft.pbft.messages import Commit, PrePrepare, ViewChange
from bft.pbft.suspicion import BUSY_MS, PACE_SAMPLES_MIN, PACES, view_change_ms
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.makers import alone, status, tell, view_change
from tests.bft.pbft.slow import served
from tests.bft.pbft.test_liveness import FAST, replica_of

# wishes


def test_f_plus_1_wishes_end_a_view_and_f_do_not() -> None:
    """A VIEW-CHANGE counts as the wish that it is."""
    cluster = alone(3)
    tell(cluster, 3, status(1, 1))
    cluster.run(1_000)
    assert replica_of(cluster, 3).active
    tell(cluster, 3, view_change(1, 2))
    assert replica_of(cluster, 3).pending_view == 1
    assert cluster.sent[ViewChange] == 1


def test_a_wish_that_is_taken_back_counts_no_more() -> None:
    cluster = alone(3)
    tell(cluster, 3, status(1, 1))
    tell(cluster, 3, status(1, 0))
    tell(cluster, 3, status(2, 1))
    cluster.run(1_000)
    assert replica_of(cluster, 3).active


def test_a_liars_wish_for_a_far_view_moves_nobody_further_than_a_correct_one() -> None:
    """Scenario 35 for wishes."""
    cluster = alone(3)
    tell(cluster, 3, status(1, 2**40))
    assert replica_of(cluster, 3).active
    tell(cluster, 3, status(2, 1))
    assert replica_of(cluster, 3).pending_view == 1


def test_who_alone_loses_sight_of_the_primary_goes_on_to_vote() -> None:
    """Scenario 43: its wish binds it to nothing, so the next fault finds a quorum at once."""
    cluster = Cluster(**FAST)
    cluster.cut = {(0, 3)}
    for number in range(1, 41):
        cluster.submit(3 if number == 1 else 1, number % 4, number)
        cluster.run(100)
    core = replica_of(cluster, 3)._core
    assert core.active, "it must not leave its view alone"
    cluster.cut = set()
    cluster.run(2_000)
    assert core.wished_view == 0, "the reason is gone, and so is the wish"
    cluster.crash(2)
    cluster.submit(1, 5, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(5, 1), FAST["request_ms"] // 2)
    assert cluster.sent[ViewChange] == 0


def test_a_replica_that_wishes_votes_in_its_view_until_it_leaves() -> None:
    """Wishes are no promises: VIEW-CHANGEs are."""
    cluster = Cluster(**FAST)
    voted: set[int] = set()

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        found = cluster.open(data)
        if isinstance(found.message, Commit) and found.sender == source == 3:
            voted.add(found.message.sequence)
        return [data]

    cluster.outgoing = outgoing
    replica_of(cluster, 3)._core.suspect("a test")
    for number in range(1, 11):
        cluster.submit(1, 1, number)
        cluster.run(100)
    assert replica_of(cluster, 3)._core.wished_view == 1
    assert len(voted) == 10
    replica_of(cluster, 2)._core.suspect("a test")
    cluster.run_until(lambda: cluster.views() == [1] * 4, 2_000)


# reigns


@pytest.mark.parametrize("n", [4, 7])
def test_a_primary_that_is_used_leads_for_its_reign_and_no_longer(n: int) -> None:
    cluster = Cluster(n=n, **FAST, reign_ms=3_000)
    for number in range(1, 121):
        cluster.submit(number % n, number % 8, number)
        cluster.run(100)
    cluster.run_until(
        lambda: all(cluster.executed_everywhere(i % 8, i) for i in range(1, 121)), 5_000
    )
    assert min(v or 0 for v in cluster.views()) in (3, 4)
    core = replica_of(cluster, 1)._core
    assert core.failed() == 0, "a reign that is over has not failed"


def test_nobody_wears_out_an_idle_primary() -> None:
    """Low load: every request keeps the view used for about BUSY_MS."""
    cluster = Cluster(**FAST, reign_ms=10 * BUSY_MS)
    for number in range(1, 6):
        cluster.submit(number % 4, 1, number)
        cluster.run(60_000)
    assert cluster.views() == [0] * 4
    assert max(replica_of(cluster, i)._core.reign_ms for i in range(4)) < 6 * BUSY_MS


def test_a_federation_of_one_has_one_primary() -> None:
    cluster = Cluster(n=1, reign_ms=1_000)
    for number in range(1, 40):
        cluster.submit(0, 1, number)
        cluster.run(100)
    assert cluster.views() == [0]


def test_a_reign_that_passes_to_a_dead_replica_costs_one_view_change() -> None:
    cluster = Cluster(**FAST, reign_ms=3_000)
    cluster.crash(1)
    for number in range(1, 81):
        cluster.submit((0, 2, 3)[number % 3], number % 4, number)
        cluster.run(100)
    cluster.run_until(
        lambda: all(cluster.executed_everywhere(i % 4, i) for i in range(1, 81)), 5_000
    )
    assert min(v or 0 for i, v in enumerate(cluster.views()) if i != 1) >= 2


@pytest.mark.parametrize("slow_ms", [200, 1_200])
def test_a_primary_that_is_just_not_too_slow_costs_its_share_of_the_time_only(slow_ms: int) -> None:
    """Scenario 47, in small: twelve reigns, of which R0 has three.

    200 ms: shorter than forward_ms, so that only the client's own replica knows of its request.
    `python -m tests.bft.pbft.slow` plays ten minutes with the real timeouts.
    """
    config = {**FAST, "reign_ms": 1_500}
    best = served(0, 18_000, 1, 20, **config)
    found = served(slow_ms, 18_000, 1, 20, **config)
    assert found.view >= 9
    assert 2 * found.commands >= best.commands


# how long a view may take to start


def test_the_timeout_of_a_view_follows_what_our_own_decisions_took() -> None:
    """PACES times the slowest of a hundred, between the two configured bounds."""
    cluster = Cluster(view_change_ms=4_000, view_change_ms_min=500)
    core = replica_of(cluster, 1)._core
    assert view_change_ms(core) == 4_000
    core.paces.extend([100] * (PACE_SAMPLES_MIN - 1))
    assert view_change_ms(core) == 4_000
    core.paces.append(100)
    assert view_change_ms(core) == 100 * PACES
    core.paces.extend([10_000] * 10)
    assert view_change_ms(core) == 4_000
    core.paces.extend([1] * 500)
    assert view_change_ms(core) == 500


def test_a_primary_that_holds_its_proposals_back_does_not_lengthen_our_timeout() -> None:
    """The pace runs from our own vote, not from the request."""
    late = 300
    cluster = Cluster(request_ms=4_000)
    cluster.byzantine = {0}

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        found = cluster.open(data)
        if source == 0 and isinstance(found.message, PrePrepare):
            cluster.at(late, lambda: cluster.transmit(source, to, data))
            return []
        return [data]

    cluster.outgoing = outgoing
    for number in range(1, 11):
        cluster.submit(1, 1, number)
        cluster.run(500)
    paces = replica_of(cluster, 1)._core.paces
    assert len(paces) == 10
    assert max(paces) < late
