"""A few random sessions, and every seed that ever failed."""

import os
import subprocess
import sys

import pytest

from tests.bft.dkg.chaos import Chaos
from tests.search import known

SEEDS = (0, 3, 7, 11, 240)
FIXED = 11


@pytest.mark.parametrize("seed", sorted({*SEEDS, *known("dkg")}))
def test_a_random_session_keeps_every_promise(seed: int) -> None:
    Chaos(seed).run()


def test_a_seed_is_one_history_whatever_the_order_of_hashes() -> None:
    program = (
        "from tests.bft.dkg.chaos import Chaos\n"
        f"chaos = Chaos({FIXED})\nchaos.run()\nprint(chaos.faults, chaos.story)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            check=True,
            capture_output=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(told) == 1


def test_a_fault_that_is_left_out_does_not_happen() -> None:
    chaos = Chaos(FIXED)
    chaos.run()
    left_out = chaos.faults[0]
    smaller = Chaos(FIXED, frozenset({left_out}))
    smaller.run()
    assert left_out not in smaller.faults
