"""`python -m benchmarks.pbft_replica HOME`: a replica's process as operators run it, without torch.

It measures nothing, because the benchmark never comes to an evaluation.
"""

import sys
from pathlib import Path
from typing import Any

from coordinator.main import run_replica


class NoPool:
    """Stands where the evaluation pool stands; nothing is ever asked of it."""

    async def evaluate(self, *_: Any) -> Any:
        """Never called: no cycle gets so far."""
        raise AssertionError("the benchmark measures consensus, not updates")

    async def outer_step(self, *_: Any) -> Any:
        """Never called: no cycle gets so far."""
        raise AssertionError("the benchmark measures consensus, not updates")

    async def close(self) -> None:
        """There is nothing to stop."""


if __name__ == "__main__":
    sys.exit(run_replica(Path(sys.argv[1]), lambda workers: NoPool()))
