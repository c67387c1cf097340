"""`python -m tests.sim --seed N --cycles K --fault ...`: one run, and a hash over all of it."""

import argparse
import sys

from tests.sim.scenarios import SCENARIOS, run


def main(arguments: list[str]) -> int:
    """0: all checks passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides everything (default 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds from there on")
    parser.add_argument("--cycles", type=int, default=3, help="cycles to close (default 3)")
    parser.add_argument("--replicas", type=int, default=4, help="replicas (default 4)")
    parser.add_argument("--fault", choices=sorted(SCENARIOS), default="none")
    options = parser.parse_args(arguments)
    for seed in range(options.seed, options.seed + options.seeds):
        world = run(options.fault, seed, replicas=options.replicas, cycles=options.cycles)
        state = world.state
        print(
            f"seed {seed} fault {options.fault}: {world.closed} cycles, height {state.tip.height}, "
            f"{state.log.size} entries, {world.now} ms, trace {world.trace.digest()}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
