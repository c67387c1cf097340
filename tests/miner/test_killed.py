"""A miner that is killed at any point loses at most its own unit of one cycle.

The long form is `python -m tests.miner.killed`.
"""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.miner.killed import DELAY_MS_MAX, Kill, Moment, run

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLS = st.builds(
    Kill,
    moment=st.sampled_from(Moment),
    delay_ms=st.integers(0, DELAY_MS_MAX),
    away=st.booleans(),
)


@settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.generate],  # a failure is printed as it is: to play it smaller takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(KILLS, min_size=2, max_size=2))
def test_a_miner_killed_at_any_point_loses_at_most_its_own_unit_of_one_cycle(
    kills: list[Kill],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        asyncio.run(run(Path(root), kills))


@pytest.mark.parametrize(
    "kill",
    [
        Kill(Moment.TRAINS, 0, away=False),
        Kill(Moment.COMMITTED, 0, away=True),
    ],
    ids=["in-training", "between-commitment-and-reveal"],
)
def test_the_moments_that_hurt_most(kill: Kill) -> None:
    with tempfile.TemporaryDirectory() as root:
        asyncio.run(run(Path(root), [kill]))
