"""python -m tests.deployment: every validator of deployment files that this machine has.

Each line says PASS, SKIPPED (its program is not here) or FAIL.  Exit status 1 after a failure.
The last one starts a test network as its units say, and takes half a minute on two free cores.
"""

import argparse
import sys

from tests.deployment.outcome import Verdict
from tests.deployment.validators import VALIDATORS


def main() -> int:
    """Parse, run all, print; the exit status."""
    parser = argparse.ArgumentParser(prog="tests.deployment", description=__doc__)
    parser.add_argument("--require", action="store_true", help="A skipped validator is a failure.")
    parser.add_argument("--only", default="", help="Those whose names contain this.")
    args = parser.parse_args()
    required, chosen = args.require, [one for one in VALIDATORS if args.only in one.name]
    failed = 0
    for validator in chosen:
        outcome = validator.run()
        print(f"{outcome.verdict:8} {validator.name}: {outcome.text}", flush=True)
        bad = outcome.verdict is Verdict.FAIL
        failed += bad or (required and outcome.verdict is Verdict.SKIPPED)
    print(f"{len(chosen)} validators, {failed} failures")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
