"""The played balance of a cheating machine: the real rules on made-up outcomes."""

import pytest
from msgspec.structs import replace

from benchmarks.cheating_measure import Run
from benchmarks.cheating_play import PARAMS, Outcome, Pool, played
from benchmarks.cheating_strategies import STRATEGIES
from chain.params import MINIMAL
from chain.records.job import SPARSE
from chain.rules.scoring import ONE, initial_references
from tests.miner.training.training_run import GENESIS, JOB

FULL = Outcome(gain=ONE, advantage=ONE, replay=ONE)
POOL: Pool = {
    "honest": [FULL],
    "half": [Outcome(gain=ONE, advantage=ONE, replay=PARAMS.audit_cosine - 1)],
}
WORK = {"honest": 1.0, "half": 0.5}
AUDITED = replace(PARAMS, audit_share=1 << 12, trial_audits=2)


@pytest.mark.parametrize("policy", ["waits", "returns", "works first"])
def test_cheating_does_not_pay_under_any_policy(policy: str) -> None:
    found = played(JOB, AUDITED, POOL, WORK, policy, 1, 120)
    assert found["honest", 1][0] > 0.8
    for keys in (1, 4):
        tickets, work, strikes = found["half", keys]
        assert strikes and tickets < work


def test_without_trials_a_fresh_key_restores_the_income() -> None:
    found = played(JOB, replace(AUDITED, trial_audits=0), POOL, WORK, "returns", 1, 100)
    tickets, work, _ = found["half", 4]
    assert tickets > 1.5 * work


def test_without_audits_cheating_pays() -> None:
    job = replace(JOB, compression=SPARSE, keep=64, value_bits=4)
    tickets, work, strikes = played(job, AUDITED, POOL, WORK, "waits", 1, 50)["half", 1]
    assert tickets > 1.5 * work and not strikes


def test_measured_outcomes_tell_honest_work_from_all_else() -> None:
    job = replace(JOB, steps=8)
    run = Run(job, MINIMAL, b"seed", GENESIS, initial_references(MINIMAL, job), {})
    found = run.cycle(2)
    assert set(found) == set(STRATEGIES)
    assert {one.replay for one in found["honest"]} == {ONE}
    for name in ("75 %, scaled to the cap", "copy of another unit", "x 10", "noise"):
        assert all(one.replay < MINIMAL.audit_cosine for one in found[name])
