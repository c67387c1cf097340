"""`python -m tests.coordinator.one_replica HOME`: a replica's process that measures nothing."""

import sys
from pathlib import Path

from coordinator.main import run_replica
from tests.coordinator.service.mill import NoPool

if __name__ == "__main__":
    sys.exit(run_replica(Path(sys.argv[1]), lambda workers: NoPool()))
