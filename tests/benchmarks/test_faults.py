"""The short forms of benchmarks/failover.py and stopped.py; the long ones are run by hand."""

from pathlib import Path

import pytest

from benchmarks import failover, stopped

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def test_a_dead_primary_costs_one_view_change_and_no_acknowledged_command(
    tmp_path: Path,
) -> None:
    """Scenario 31, under load: every command that was answered stands in everybody's log."""
    result = await failover.run(n=4, trials=1, clients=8, directory=tmp_path)
    assert result.holds, failover.show(result)
    assert result.acknowledged > 0


async def test_a_stopped_replica_costs_the_others_no_memory_and_catches_up(tmp_path: Path) -> None:
    """Scenario 66, at full load: long enough for its links to fill and to be given up."""
    result = await stopped.run(n=4, seconds=10.0, clients=64, directory=tmp_path)
    assert result.holds, stopped.show(result)
    assert result.missed > 0
