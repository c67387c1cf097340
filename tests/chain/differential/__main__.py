"""`python -m tests.chain.differential --minutes 10`: our Bitcoin rules beside Core's and btclib's.

Transactions, scripts, signed spends, digests, addresses, headers with Merkle proofs: random, and
nearly right.  The first difference ends the run with status 1 and says how to see it again.
"""

import argparse
import secrets
import sys
import time

from tests.chain.differential.oracle import Difference
from tests.chain.differential.search import run, run_one
from tests.chain.differential.subjects import SUBJECTS


def main(arguments: list[str]) -> int:
    """0 no difference, 1 one was found, 2 no such subject."""
    parser = argparse.ArgumentParser(prog="python -m tests.chain.differential", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; 0.2 is 12 seconds")
    parser.add_argument("--subject", choices=sorted(SUBJECTS), help="only one of them")
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one")
    parser.add_argument("--number", type=int, default=None, help="only this input of --subject")
    given = parser.parse_args(arguments)
    seed = secrets.randbits(32) if given.seed is None else given.seed
    names = [given.subject] if given.subject else list(SUBJECTS)
    end = time.monotonic() + 60 * given.minutes
    print(f"seed {seed}, {', '.join(names)}, {given.minutes:g} minutes", flush=True)
    try:
        if given.number is not None:
            for name in names:
                run_one(name, seed, given.number)
            return 0
        counts = run(names, seed, lambda number: time.monotonic() < end)
    except Difference as error:
        print(f"DIFFERENCE {error}", file=sys.stderr)
        return 1
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"no difference in {sum(counts.values())} inputs: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
