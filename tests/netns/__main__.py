"""How long a request takes on hosts that are far apart: python -m tests.netns (as root).

A client sends one signed request after the other to f + 1 replicas and waits until both have
executed it.  The least that can take is six legs: to a replica, on to the primary, three phases,
and back.
"""

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.params import MINIMAL
from chain.records.contribution import Profile, Register
from chain.records.operations import encode_operation
from tests.netns import namespace
from tests.netns.lab import REPLICAS, Lab

REQUESTS = 30
STILL = replace(MINIMAL, registration_ms=3_600_000, miners_max=1_000)
"""Nothing else is ordered meanwhile."""
PLACES = (
    (0.0, 0.0, 0.0),
    (0.005, 0.0005, 0.0),
    (0.025, 0.002, 0.0),
    (0.025, 0.002, 0.01),
    (0.050, 0.005, 0.01),
    (0.100, 0.010, 0.03),
)
"""One way: delay and jitter in seconds, share of lost frames."""


class Spell(NamedTuple):
    """What came out in one place."""

    latencies_s: list[float]
    view: int


def requests(chain_id: bytes) -> Iterator[bytes]:
    """Registrations, each of another miner."""
    profile = Profile(device=b"cpu", capacity=1_000_000, memory_bytes=1 << 30)
    operation = encode_operation(Register(cycle=1, profile=profile))
    for number in itertools.count(1):
        key = PrivateKey(number.to_bytes(32, "big"))
        yield seal_request(chain_id, key.public_key, 1, operation, key.sign)


async def submit_all(lab: Lab, sealed: list[bytes]) -> list[float]:
    """Seconds until each was executed.  Raises Unavailable."""
    found = []
    async with lab.client() as client:
        await client.statuses()  # connections are up
        for request in sealed:
            started = time.monotonic()
            verdict = await client.submit(request)
            assert verdict.code == "accepted", verdict.text
            found.append(time.monotonic() - started)
    return found


def measure(lab: Lab, place: tuple[float, float, float], source: Iterator[bytes]) -> Spell:
    """REQUESTS requests, one after the other."""
    lab.network.spread(*place)
    sealed = [next(source) for _ in range(REQUESTS)]
    latencies = lab.aside(lambda: asyncio.run(submit_all(lab, sealed)))
    return Spell(latencies, max(told["view"] for told in lab.statuses()))


def main() -> int:
    """Print a table.  2 when this machine cannot make hosts."""
    missing = namespace.missing()
    if missing is not None:
        print(missing, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gristmill-far-") as root:
        lab = Lab(Path(root), STILL)
        try:
            for index in range(REPLICAS):
                lab.start_replica(index)
            lab.until("the key", lambda told: all(one["federation_key"] for one in told))
            source = requests(lab.genesis.chain_id)
            print("round trip ms  loss %   median ms   p90 ms   max ms   legs   view")
            for place in PLACES:
                took, view = measure(lab, place, source)
                median = statistics.median(took)
                legs = f"{median / place[0]:6.1f}" if place[0] else "     -"
                print(
                    f"{2000 * place[0]:13.0f}  {100 * place[2]:6.0f}  {1000 * median:10.0f}"
                    f"{1000 * statistics.quantiles(took, n=10)[-1]:9.0f}{1000 * max(took):9.0f} "
                    f"{legs}   {view:4}"
                )
        finally:
            lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
