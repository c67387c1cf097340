"""`python -m tests.tamper --count 10000 --seed N`: single bytes change; each is named.

Bytes of a score log, certificates, blocks, evidence, receipts, published files and artifacts.
Each must be named by a rule, or be one on which by a written rule nothing depends (published.py).
Prints which rule took how many; ends with 1 if a change went unnoticed, was blamed on something
else, or crashed a checker.
"""

import argparse
import itertools
import random
import re
import sys
import time
from collections import Counter

from tests.tamper.changes import changes
from tests.tamper.subject import Crashed, Missed


def kind(name: str) -> str:
    """`log entry 7 (Ordered)` -> `log entry (Ordered)`."""
    return re.sub(r" \d+", "", name)


def main(arguments: list[str]) -> int:
    """0: all were named; 1: some were not."""
    parser = argparse.ArgumentParser(prog="python -m tests.tamper", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, help="a fresh one if not given")
    parser.add_argument("--budget", type=int, help="seconds")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    began, end = time.monotonic(), options.budget or float("inf")
    named: Counter[tuple[str, str]] = Counter()
    wrong = 0
    for change in itertools.islice(changes(seed), options.count):
        if time.monotonic() - began > end:
            break
        try:
            named[kind(change.subject.name), change.judged()] += 1
        except (Missed, Crashed) as error:
            wrong += 1
            print(f"{type(error).__name__.upper()} {error}", flush=True)
    for (what, rule), count in sorted(named.items()):
        print(f"{count:6}  {what:40} {rule}")
    took = time.monotonic() - began
    print(f"seed {seed}: {named.total()} changes named, {wrong} not, {took:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
