"""Three processes of one operator with one key, stopped and killed: `python -m tests.standby`.

    python -m tests.standby --minutes 10 [--seed N]     zero contradictions, or status 1
    python -m tests.standby --minutes 2 --lease-only    what a lease alone is worth
    python -m tests.standby --whole [--takeovers 10] [--nodes 3]    whole replicas; see whole.py

Needs an etcd: see tests/deploy/etcd_server.py.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.standby.trial import TAKEOVER_S_MAX, Trial
from tests.standby.whole import run_whole


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(
        "tests.standby", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease-only", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--takeovers", type=int, default=10)
    parser.add_argument(
        "--within", type=float, default=TAKEOVER_S_MAX, help="seconds of a takeover"
    )
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="of etcd")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and end what was started
    if given.whole:
        faults = asyncio.run(run_whole(given.takeovers, given.nodes, given.within))
        print(*faults or ["nothing was signed twice"], sep="\n")
        return 1 if faults else 0
    with tempfile.TemporaryDirectory(prefix="standby-") as home:
        trial = Trial(Path(home), given.seed, lease_only=given.lease_only)
        report = trial.run(60 * given.minutes)
    print(report.text())
    for contradiction in report.contradictions[:20]:
        print(contradiction)
    late = [took for took in report.takeovers_s if took > given.within]
    return 1 if report.contradictions or late else 0


if __name__ == "__main__":
    sys.exit(main())
