"""The short form of `python -m tests.standby`: one fault of each kind, against a real etcd."""

from pathlib import Path

import pytest

from coordinator.guard.claims import Domain
from tests.deploy.etcd_server import etcd_program
from tests.standby.trial import Signed, Trial, contradictions

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.skipif(etcd_program() is None, reason="no etcd: see tests/deploy/etcd_server.py")
def test_three_processes_with_one_key_never_contradict_each_other(tmp_path: Path) -> None:
    trial = Trial(tmp_path, seed=1, ttl_s=2)
    with trial.running():
        trial.stop_holder()
        trial.kill_holder()
        trial.kill_etcd()
        trial.stop_holder()
        trial.kill_holder()
    trial.reckon()
    assert trial.report.contradictions == []
    assert trial.report.holders > 2 and trial.report.signatures > 2
    assert len(trial.report.takeovers_s) == 2


def test_the_reckoning_sees_a_contradiction() -> None:
    one = Signed("a", Domain.COMMIT, 7, (1, 0), "aa")
    same = Signed("b", Domain.COMMIT, 7, (1, 0), "aa")
    other = Signed("b", Domain.COMMIT, 7, (1, 0), "bb")
    later = Signed("b", Domain.COMMIT, 7, (1, 1), "bb")
    assert contradictions([one, same, later]) == []
    assert contradictions([one, same, other]) == ["a and b: COMMIT at slot 7, rank (1, 0)"]
