"""`python -m tests.api --budget 60 [--seed N]`: the HTTP APIs keep what their documents say.

Four real replicas with a certified cycle, on loopback, and a node with blocks.  Schemathesis sends
what fits the document and what does not, at every route, and checks every answer against it; then
clients that are slow, endless or lie about their bytes come to a replica of their own.  Ends with 1
where an answer was not as described, a server error among them.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from bft.crypto.hashing import sha256
from tests.api import contract, hostile, nodes, uploads
from tests.coordinator.service.beacon_mill import UPDATE, Beaming, beaming

PART = 0.2
"""Of the budget, for a node and for uploads each: they have few routes."""


def examples(found: Beaming) -> dict[str, object]:
    """Parameters of what is there, by their names in the document's components."""
    state = found.mill.state()
    return {
        "Cycle": found.cycle,
        "Miner": state.units[0].miner.hex(),
        "Digest": sha256(UPDATE).hex(),
        "Round": found.rounds[0],
        "From": 0,
    }


async def run(seed: int, budget_s: float) -> bool:
    """Whether all was well."""
    with tempfile.TemporaryDirectory(prefix="gristmill-api-") as name:
        root = Path(name)
        async with beaming(root / "federation") as found:
            url = found.mill.urls[0]
            share_s = budget_s * (1 - 2 * PART)
            kept = await contract.check(url, examples(found), root, seed, share_s)
        for check in (nodes.check, uploads.check):
            kept = await check(root, seed, budget_s * PART) and kept
        (root / "victim").mkdir()
        wrong = await hostile.check(root / "victim")
    for line in wrong:
        print(f"WRONG {line}")
    return kept and not wrong


def main(arguments: list[str]) -> int:
    """0: all was as described; 1: something was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.api", description=__doc__)
    parser.add_argument("--budget", type=float, default=60, help="seconds of schemathesis")
    parser.add_argument("--seed", type=int, help="a fresh one if not given")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    return 0 if asyncio.run(run(seed, options.budget)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
