"""The simulator.  `--seed N --fault NAME`: one named bad day, and a hash over all of it.

`--seed N --budget SECONDS`: a search; each seed chooses its own bad day.
"""

import sys

from tests.search import arguments, command
from tests.sim.scenarios import SCENARIOS, run
from tests.sim.search import SEARCH


def main(argv: list[str]) -> int:
    """0: all checks passed."""
    parser = arguments("tests.sim", __doc__)
    parser.add_argument("--fault", choices=sorted(SCENARIOS), help="this bad day only")
    parser.add_argument("--cycles", type=int, default=3, help="with --fault (default 3)")
    parser.add_argument("--replicas", type=int, default=4, help="with --fault (default 4)")
    options = parser.parse_args(argv)
    if options.fault is None:
        return command(SEARCH, options)
    first = options.seed or 1
    for seed in range(first, first + (options.count or 1)):
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
