"""Whole cycles of a federation in memory, without faults: what each one must come to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chain.records.score_log import BlockFinal, CloseReason, CycleClosed, KeyActivated, Scored
from coordinator.cycle.state import Phase
from tests.sim.miners import HONEST, Habits
from tests.sim.world import World

ROOT = Path(__file__).resolve().parents[2]


def test_three_cycles_make_three_final_blocks_that_a_stranger_can_verify() -> None:
    """Everything from the ceremony to the third block; the audit of the log accuses nobody."""
    world = World(1)
    world.run_cycles(3)
    report = world.verdict()
    assert [record.height for record in world.records() if isinstance(record, BlockFinal)] == [
        1,
        2,
        3,
    ]
    assert not report.findings
    assert {visit.phase for visit in world.checkers.visits} == set(Phase)
    assert not world.checkers.accused


def test_veterans_start_the_next_cycle_without_waiting_for_its_clock() -> None:
    """Registration runs while the cycle before runs; when all are back, nobody waits."""
    world = World(2)
    world.run_cycles(1)
    first = world.now
    world.run_cycles(3)
    assert world.now - first < world.rules.params.registration_ms


@pytest.mark.parametrize("replicas", [1, 7])
def test_a_federation_of_another_size_turns_as_well(replicas: int) -> None:
    """One replica is its own quorum; of seven, five sign."""
    world = World(3, replicas=replicas)
    world.run_cycles(1)
    assert not world.verdict().findings
    (activated,) = (r for r in world.records() if isinstance(r, KeyActivated))
    assert len(activated.federation_key.commitments) == world.rules.genesis.membership.strong
    assert world.state.tip.height == 1


def test_without_miners_cycles_close_empty_and_the_next_ones_open() -> None:
    """Paper V-A 1: nobody registered, so there is nothing to draw from."""
    world = World(4, miners=())
    world.run_cycles(3)
    world.verdict()
    closed = [record for record in world.records() if isinstance(record, CycleClosed)]
    assert {record.reason for record in closed} == {CloseReason.NO_MINERS}
    assert world.state.tip.height == 0


def test_a_miner_with_two_units_earns_for_both() -> None:
    """Work follows capacity: a machine that is twice as fast gets two units where rules allow."""
    world = World(5, miners=(HONEST, Habits(units=2)))
    world.run_cycles(1)
    world.verdict()
    (scored,) = (record for record in world.records() if isinstance(record, Scored))
    strong = world.miners[1].name
    assert sorted(row.miner == strong for row in scored.rows) == [False, True, True]


def test_one_seed_is_one_history_whatever_python_hashes_with() -> None:
    """Style rule: no set's order, no hash(), no clock reaches what replicas say."""
    command = [sys.executable, "-m", "tests.sim", "--seed", "6", "--cycles", "1"]
    outputs = [
        subprocess.run(
            [*command, "--fault", "crashes"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert "trace" in outputs[0]
    assert outputs[0] == outputs[1]
