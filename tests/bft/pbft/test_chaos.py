"""Random schedules: safety on every one, progress when the network heals, the same each time."""

import os
import subprocess
import sys

import pytest

from tests.bft.pbft.chaos import run_seed
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.test_liveness import FAST

SEEDS = 40  # the search of this name, which CI runs too, takes as many as you like
CHUNK = 10


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_random_faults_break_nothing(first: int) -> None:
    """Agreement, order, at most once, no vote against a promise; every request in the end."""
    for seed in range(first, first + CHUNK):
        run_seed(seed)


def test_a_seed_replays_everything_whatever_the_hash_seed() -> None:
    program = "from tests.bft.pbft.chaos import run_seed; print(run_seed(5).trace().hex())"
    traces = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(done.stdout)
    assert len(traces) == 1


def test_ten_per_cent_loss_makes_no_storm_of_view_changes() -> None:
    """Scenario 40: n = 7, delays near half the timeout; a stable view in the end."""
    cluster = Cluster(n=7, seed=3, **FAST)
    cluster.loss = 10
    cluster.delay = (50, 700)
    for number in range(1, 121):
        cluster.submit(number % 7, number % 5, number)
        cluster.run(1_000)
    cluster.run_until(
        lambda: all(cluster.executed_everywhere(i % 5, i) for i in range(1, 121)), 120_000
    )
    assert max(v or 0 for v in cluster.views()) <= 12, cluster.describe()
