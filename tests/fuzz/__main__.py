"""`python -m tests.fuzz --budget SECONDS [--target NAME] [--seed N]`: fuzz for longer.

Uses atheris (coverage-guided) where it can be imported, for one target at a time; else
the project's own mutations.  Prints the seed, and a failing input made small, as hex.
"""

import argparse
import importlib
import importlib.util
import logging
import secrets
import sys

from tests.fuzz.loop import Failure, run
from tests.fuzz.table import table
from tests.fuzz.target import Target, try_input

BUDGET_S_DEFAULT = 60


def with_atheris(target: Target, seed: int, budget_s: int) -> None:
    """Hand over to libFuzzer, which ends the process and writes a failing input to a file."""
    atheris = importlib.import_module("atheris")

    def one(data: bytes) -> None:
        try_input(target, data)
        if target.wrap is not None:
            try_input(target, target.wrap(data))

    atheris.instrument_all()
    arguments = [sys.argv[0], f"-max_total_time={budget_s}", f"-seed={seed % 2**32}"]
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def tell(failure: Failure, seed: int) -> None:
    """What broke, and how to see it again."""
    print(f"BROKEN {failure.target} (seed {seed})")
    print(f"  {failure.reason[:2000]}")
    print(f"  {len(failure.data)} bytes: {failure.data.hex()}")
    print(f"  again: python -m tests.fuzz --target {failure.target} --seed {seed}")


def main(arguments: list[str]) -> int:
    """0 nothing found, 1 something broke, 2 no such target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--budget", type=int, default=BUDGET_S_DEFAULT, help="seconds in all")
    parser.add_argument("--target", help="one target, or the beginning of several names")
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one")
    parser.add_argument("--list", action="store_true", help="names of the targets")
    parser.add_argument("--own", action="store_true", help="own mutations, even where atheris is")
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    seed = secrets.randbits(32) if given.seed is None else given.seed
    chosen = [target for name, target in table().items() if name.startswith(given.target or "")]
    if not chosen:
        print(f"no target begins with {given.target!r}; --list names them", file=sys.stderr)
        return 2
    if given.list:
        print("\n".join(target.name for target in chosen))
        return 0
    print(f"seed {seed}, {len(chosen)} targets, {given.budget} s", flush=True)
    if len(chosen) == 1 and not given.own and importlib.util.find_spec("atheris"):
        with_atheris(chosen[0], seed, given.budget)
        return 0
    total, broken = 0, 0
    for target in chosen:
        tried, failure = run(target, seed, given.budget / len(chosen))
        total += tried
        if failure is not None:
            broken += 1
            tell(failure, seed)
    print(f"{total} inputs, {broken} of {len(chosen)} targets broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
