"""The mill does not stop: scenarios 30 to 48, whole federations."""

import pytest

from bft.codec.canonical import decode
from bft.pbft.core import FORGIVING_BATCHES
from bft.pbft.messages import (
    Commit,
    ForwardedRequests,
    NewView,
    PrePrepare,
    RequestBundle,
    Status,
    Verified,
    ViewChange,
)
from bft.pbft.replica import Replica
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.makers import alone, tell, view_change

FAST = {"request_ms": 1_500, "view_change_ms": 1_500, "progress_ms": 1_000}


def replica_of(cluster: Cluster, index: int) -> Replica:
    replica = cluster.nodes[index].replica
    assert replica is not None
    return replica


def test_a_federation_of_one_decides_alone() -> None:
    cluster = Cluster(n=1)
    for number in range(1, 20):
        cluster.submit(0, 1, number)
        cluster.run(20)
    assert cluster.executed_everywhere(1, 19)
    assert replica_of(cluster, 0).low_watermark > 0
    cluster.crash(0)
    cluster.start(0)
    cluster.submit(0, 1, 20)
    cluster.run(100)
    assert cluster.executed_everywhere(1, 20)


def test_an_idle_federation_orders_nothing_and_changes_no_view() -> None:
    """No heartbeats in the log: a STATUS is sign of life enough."""
    cluster = Cluster()
    cluster.run(60_000)
    assert cluster.views() == [0, 0, 0, 0]
    assert [len(node.table) for node in cluster.nodes] == [0, 0, 0, 0]
    assert set(cluster.sent) == {Status}


def test_a_dead_primary_costs_one_timeout_and_no_request() -> None:
    """Scenario 31: steady load, the primary is killed."""
    cluster = Cluster(**FAST)
    for number in range(1, 61):
        if number == 20:
            cluster.crash(0)
        cluster.submit(1 + number % 3, number % 3, number)
        cluster.run(50)
    cluster.run_until(
        lambda: all(cluster.executed_everywhere(i % 3, i) for i in range(20, 61)), 3_000
    )
    assert cluster.views()[1:] == [1, 1, 1]


def test_two_dead_primaries_in_a_row() -> None:
    """Scenario 32: n = 7, f = 2."""
    cluster = Cluster(n=7, **FAST)
    cluster.crash(0)
    cluster.crash(1)
    cluster.submit(3, 1, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 10_000)
    assert cluster.views()[2:] == [2] * 5


def test_f_replicas_alone_start_no_view_change() -> None:
    """Scenario 33: VIEW-CHANGEs for views 1 to 1000 from one replica; two of them are kept."""
    cluster = Cluster()
    cluster.crash(3)
    cluster.byzantine = {3}
    for view in range(1, 1_001):
        for to in (0, 1, 2):
            cluster.arrive(to, cluster.forge(3, view_change(view, 3)))
        if view % 10 == 0:
            cluster.run(110)
    assert cluster.views()[:3] == [0, 0, 0]
    assert all(replica_of(cluster, i).active for i in range(3))
    assert all(len(replica_of(cluster, i)._core.view_changes) <= 2 for i in range(3))


def test_f_plus_1_view_changes_take_the_others_along() -> None:
    """Scenario 34: R3's own timer has not fired."""
    cluster = alone(3)
    tell(cluster, 3, view_change(1, 1))
    assert replica_of(cluster, 3).active
    tell(cluster, 3, view_change(1, 2))
    assert replica_of(cluster, 3).pending_view == 1


def test_a_view_in_the_far_future_is_no_place_to_go() -> None:
    """Scenario 35."""
    cluster = alone(3)
    tell(cluster, 3, view_change(2**40, 1))
    assert replica_of(cluster, 3).active
    tell(cluster, 3, view_change(5, 2))
    assert replica_of(cluster, 3).pending_view == 5


def test_replicas_in_different_views_meet() -> None:
    """Scenario 36: R2's VIEW-CHANGE(1) is lost, it has moved on to 2; R0 is dead."""
    cluster = Cluster(**FAST)
    cluster.crash(0)

    def incoming(to: int, found: Verified) -> bool:
        """Nobody ever hears that R2 was in view 1."""
        message = found.message
        if found.sender != 2:
            return True
        if isinstance(message, Status):
            return message.pending_view != 1
        return not (isinstance(message, ViewChange) and message.view == 1)

    cluster.incoming = incoming
    for to in (1, 2, 3):
        cluster.submit(to, 1, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 30_000)
    assert min(v or 0 for v in cluster.views()[1:]) >= 2


def test_a_federation_that_stood_still_for_half_an_hour_goes_on_by_itself() -> None:
    """Scenario 37: two of four down, then restarted; nobody restarts the others."""
    cluster = Cluster(**FAST)
    cluster.submit(0, 1, 1)
    cluster.run(500)
    cluster.crash(2)
    cluster.crash(3)
    cluster.submit(0, 1, 2)
    cluster.submit(1, 1, 3)
    cluster.run(30 * 60_000)
    assert max(replica_of(cluster, i).pending_view for i in (0, 1)) <= 2
    cluster.start(2)
    cluster.start(3)
    cluster.run_until(lambda: all(cluster.executed_everywhere(1, i) for i in (1, 2, 3)), 10_000)


def test_a_primary_that_ignores_one_replica_is_told_by_the_others() -> None:
    """Scenario 42: the client knows R3 only, and R0 does not listen to R3."""
    cluster = Cluster(**FAST)
    cluster.incoming = lambda to, found: (
        not (to == 0 and isinstance(found.message, ForwardedRequests) and found.sender == 3)
    )
    cluster.submit(3, 1, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 10_000)


def test_a_replica_that_suspects_alone_stays_useful() -> None:
    """Scenario 43: R3 leaves view 0 alone, learns by certificates, and is there when it counts."""
    cluster = Cluster(**FAST)
    deaf = {"on": True}
    cluster.incoming = lambda to, found: (
        not (deaf["on"] and to == 3 and isinstance(found.message, PrePrepare | Commit))
    )
    cluster.submit(3, 1, 1)
    cluster.run(200)
    for number in range(2, 30):
        cluster.submit(1, 1, number)
        cluster.run(100)
    cluster.run(2_000)
    assert cluster.executed_everywhere(1, 29)
    deaf["on"] = False
    cluster.crash(0)
    cluster.submit(1, 1, 30)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 30), 10_000)


@pytest.mark.parametrize("seed", range(4))
def test_halves_that_cannot_talk_agree_when_they_can(seed: int) -> None:
    """Scenario 44."""
    cluster = Cluster(seed=seed, **FAST)
    for turn in range(3):
        cluster.split({0, 1}, {2, 3}) if turn % 2 else cluster.split({0, 3}, {1, 2})
        cluster.submit(turn, 1, 2 * turn + 1)
        cluster.submit(3 - turn, 1, 2 * turn + 2)
        cluster.run(20_000)
        cluster.heal()
        cluster.run(300)
    cluster.run_until(lambda: all(cluster.executed_everywhere(1, i) for i in range(1, 7)), 30_000)


@pytest.mark.parametrize("seed", range(6))
def test_a_view_change_survives_the_restart_of_everyone(seed: int) -> None:
    """Scenario 46: all sent VIEW-CHANGE(1) and crashed; the same bytes are sent again."""
    cluster = Cluster(seed=seed, **FAST)
    cluster.crash(0)
    cluster.incoming = lambda to, found: not isinstance(found.message, NewView)
    cluster.submit(1, 1, 1)
    cluster.submit(2, 1, 2)
    cluster.run_until(
        lambda: all(replica_of(cluster, i).pending_view >= 1 for i in (1, 2, 3)), 9_000
    )
    cluster.run(20)
    asked = {i: replica_of(cluster, i).pending_view for i in (1, 2, 3)}
    for index in (1, 2, 3):
        cluster.crash(index)
    cluster.incoming = lambda to, found: True
    for index in cluster.random.sample((1, 2, 3), 3):
        cluster.start(index)
        assert replica_of(cluster, index).pending_view >= asked[index] - 1
        cluster.run(cluster.random.randrange(2_000))
    cluster.submit(1, 1, 1)
    cluster.submit(2, 1, 2)
    cluster.run_until(
        lambda: cluster.executed_everywhere(1, 1) and cluster.executed_everywhere(1, 2), 20_000
    )


def test_a_primary_that_serves_all_but_one_is_replaced() -> None:
    """Scenario 48: progress of others does not reset a request's own deadline."""
    cluster = Cluster(**FAST)
    cluster.byzantine = {0}
    unwanted: set[bytes] = set()

    def incoming(to: int, found: Verified) -> bool:
        if to != 0 or not isinstance(found.message, ForwardedRequests):
            return True
        return unwanted.isdisjoint(decode(RequestBundle, found.attachment).requests)

    cluster.incoming = incoming
    cluster.run(10)
    unwanted.add(cluster.submit(2, 9, 1))
    asked = cluster.now
    number = 0
    while not cluster.executed_everywhere(9, 1):
        number += 1
        cluster.submit(1, 1, number)
        cluster.run(100)
        assert cluster.now - asked < 4_000
    assert replica_of(cluster, 1).view == 1


def test_the_timeout_doubles_while_views_fail_and_returns_after_progress() -> None:
    """6.8: T_vc(k) = min(T_base 2^k, T_max); lasting progress brings k back, one by one."""
    cluster = Cluster(**FAST)
    core = replica_of(cluster, 1)._core
    assert core.scaled(1_000) == 1_000
    core.pending_view = 1
    assert core.scaled(1_000) == 1_000
    core.pending_view = 4
    assert core.scaled(1_000) == 8_000
    core.pending_view = 2**40
    assert core.scaled(1_000) == 60_000
    core.pending_view = core.view = 3
    assert core.scaled(1_000) == 4_000
    for expected in (2_000, 1_000, 1_000):
        for _ in range(FORGIVING_BATCHES):
            core.made_progress()
        assert core.scaled(1_000) == expected


def test_a_status_from_a_liar_stops_nobody() -> None:
    """One replica's word that it is far ahead makes nobody catch up instead of judging."""
    cluster = alone(1)
    tell(
        cluster,
        1,
        Status(
            chain_id=cluster.members.chain_id,
            epoch=0,
            view=0,
            pending_view=0,
            wished_view=0,
            low=8_000,
            decided=8_000,
            helper=1,
            slots=(),
            replica=3,
        ),
    )
    assert not replica_of(cluster, 1).catching_up
    cluster.submit(1, 1, 1)
    cluster.run(5_000)
    assert replica_of(cluster, 1)._core.wished_view == 1
