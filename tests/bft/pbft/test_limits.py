"""Work that others can put on a replica, and proofs that do not fit: killers of mutants."""

from bft.pbft.view_change import ViewChanges
from bft.pbft.views import CHECK_GAP_MS
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.makers import alone, batch_of, operation, tell, view_change
from tests.bft.pbft.test_catchup import load
from tests.bft.pbft.test_liveness import FAST, replica_of


def test_of_one_replicas_view_changes_one_is_verified_in_so_much_time() -> None:
    """Scenario 63: signatures in them are many; a flood of them costs one check in 100 ms."""
    cluster = alone(0)
    kept: ViewChanges = replica_of(cluster, 0)._core.view_changes
    tell(cluster, 0, view_change(5, 3))
    for view in range(6, 16):
        tell(cluster, 0, view_change(view, 3))
    assert kept.highest(3) == 5
    cluster.run(CHECK_GAP_MS)
    tell(cluster, 0, view_change(20, 3))
    assert kept.highest(3) == 20


def test_history_with_true_proofs_of_other_batches_is_refused() -> None:
    """Scenario 67: the server keeps the proofs and exchanges what they prove."""
    cluster = Cluster(**FAST)
    cluster.byzantine = {0}  # it is asked first
    cluster.crash(3)
    load(cluster, 1, 60)
    other = batch_of(operation(7))
    cluster.nodes[0].table = [(other, proof) for _, proof in cluster.nodes[0].table]
    cluster.start(3)
    cluster.run_until(lambda: len(cluster.nodes[3].table) >= 60, 12_000)
    assert [batch for batch, _ in cluster.nodes[3].table] == [
        batch for batch, _ in cluster.nodes[1].table[: len(cluster.nodes[3].table)]
    ]
