"""Members change while the federation works: `python -m tests.membership [--idle]`.

Real processes and the operators' commands; see tests/membership/trial.py for what must hold.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.membership.trial import Trial


def main() -> int:
    """Run it, tell how it goes; status 1 and a traceback if something does not hold."""
    parser = argparse.ArgumentParser("tests.membership", description=__doc__)
    parser.add_argument("--idle", action="store_true", help="no miners, no node, no torch")
    parser.add_argument("--home", type=Path, help="keep everything there; it must be empty")
    given = parser.parse_args()
    miners, nodes = (0, 0) if given.idle else (2, 1)
    with tempfile.TemporaryDirectory(prefix="membership-") as scratch:
        root = given.home or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        Trial(root, miners, nodes, lambda text: print(text, flush=True)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
