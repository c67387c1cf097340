"""What one client or one liar can bring about by itself, and what a view change does not repeat."""

import pytest

from bft.codec.canonical import Record
from bft.pbft.certificates import Verifier
from bft.pbft.messages import Prepare, ViewChange
from bft.pbft.views import CHECK_GAP_MS
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import key
from tests.bft.pbft.makers import FOUR, prepared, view_change
from tests.bft.pbft.test_catchup import load
from tests.bft.pbft.test_liveness import FAST, replica_of


def test_a_replica_that_is_ahead_votes_again_and_executes_nothing_twice() -> None:
    """Scenario 26: R2 has executed 12, the new view starts from the checkpoint at 8."""
    cluster = Cluster(**FAST)
    load(cluster, 1, 8)
    cluster.run(500)
    cluster.split({0, 1, 2}, {3})
    load(cluster, 9, 12)
    assert replica_of(cluster, 2).last_decided == 12
    assert replica_of(cluster, 3).last_decided == 8
    voted: set[int] = set()

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        found = cluster.open(data)
        message = found.message
        if isinstance(message, Prepare) and found.sender == source == 2 and message.view == 1:
            voted.add(message.sequence)
        return [data]

    cluster.outgoing = outgoing
    executed = list(cluster.nodes[2].app.executed)
    cluster.crash(0)
    cluster.heal()
    cluster.submit(2, 1, 13)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 13), 10_000)
    assert voted >= {9, 10, 11, 12}
    assert cluster.nodes[2].app.executed[:-1] == executed
    assert [len(cluster.nodes[i].table) for i in (1, 2, 3)] == [13] * 3


@pytest.mark.parametrize("per_second", [20, 80])
def test_a_client_alone_brings_about_no_view_change(per_second: int) -> None:
    """Scenario 52: other requests at each replica under the same numbers, as fast as they come."""
    cluster = Cluster(**FAST)
    loud = key("client 9").public_key
    for number in range(1, 4 * per_second + 1):
        for to in range(4):
            if replica_of(cluster, to).has_room(loud, 300):
                cluster.submit(to, 9, number, b"for replica %d" % to)
        if number % (per_second // 4) == 0:
            cluster.submit(number % 4, 1, number)
        cluster.run(1_000 // per_second)
    cluster.run(5_000)
    assert cluster.sent[ViewChange] == 0
    assert [replica_of(cluster, i).pool_size for i in range(4)] == [0] * 4
    tables = [node.app.executed for node in cluster.nodes]
    assert tables == [tables[0]] * 4


class Counting(Verifier):
    """How many signatures inside of messages were looked at."""

    checked = 0

    def check(self, replica: int, record: Record, signature: bytes) -> None:
        self.checked += 1
        super().check(replica, record, signature)


def test_a_flood_of_giant_view_changes_costs_a_bounded_number_of_checks() -> None:
    """Scenario 63: a hundred a second, each full of true proofs, the last of them spoilt."""
    cluster = Cluster(**FAST)
    cluster.crash(3)
    cluster.byzantine = {3}
    window = cluster.config["window"]
    counting = [Counting(FOUR) for _ in range(3)]
    for index, verifier in enumerate(counting):
        replica_of(cluster, index)._core.verifier = verifier
    true = [prepared(0, sequence) for sequence in range(1, window)]
    spoilt = prepared(0, window, backups=(1, 2))
    wrong = spoilt.prepares[0]
    bad = type(spoilt)(
        view=spoilt.view,
        sequence=spoilt.sequence,
        digest=spoilt.digest,
        proposal=spoilt.proposal,
        prepares=(wrong, type(wrong)(replica=2, signature=wrong.signature)),
    )
    seconds = 5
    for turn in range(100 * seconds):
        giant = view_change(1 + turn, 3, *true, bad)
        twice = view_change(1 + turn, 3, *true, true[-1])
        for to in range(3):
            cluster.arrive(to, cluster.forge(3, twice if turn % 2 else giant))
        if turn % 20 == 0:
            cluster.submit(turn % 3, 1, turn + 1)
        cluster.run(10)
    cluster.run(1_000)
    assert all(cluster.executed_everywhere(1, turn + 1) for turn in range(0, 100 * seconds, 20))
    assert cluster.views()[:3] == [0] * 3
    own = 5 * cluster.now // 50  # what checkpoints and decisions of the others are worth, at most
    for verifier in counting:
        checks = 1_000 // CHECK_GAP_MS * seconds * window * FOUR.strong
        assert 0 < verifier.checked <= checks + own
