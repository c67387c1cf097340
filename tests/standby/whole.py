"""Whole replicas: `python -m tests.standby --whole [--takeovers N] [--nodes 1|3]`.

Four `gristmill operator run`, the last one as a pair on a real etcd.  The holder is killed time and
again; then etcd dies, comes back, and is set back to an old copy.
"""

import tempfile
import time
from pathlib import Path

from coordinator.main import CONFIG
from tests.standby.cluster import Cluster
from tests.standby.federation import Pair, Replica

LEASE_S = 5
"""The default of `standby.lease_s`."""


async def run_whole(takeovers: int, nodes: int, within_s: float) -> list[str]:
    """What went wrong; prints what was measured.

    Args:
        within_s: from the holder's death to its heir's signature under a decision, at most.
    """
    with tempfile.TemporaryDirectory(prefix="standby-whole-") as home:
        cluster = Cluster(Path(home) / "etcd", nodes)
        pair = Pair(Path(home) / "federation", cluster.endpoints, LEASE_S)
        try:
            cluster.start()
            await pair.open()
            took = await kill_holders(pair, takeovers, within_s)
            holder = pair.twins[takeovers % 2]
            if nodes > 1:
                took.append(await lose_one_node(pair, cluster))
            await lose_etcd(pair, cluster, holder)
            await set_etcd_back(pair, cluster)
            for twin in pair.twins:
                twin.kill()
                pair.reckon(twin)
            print(f"{len(pair.signed)} promises of the pair compared, 3 other journals read")
            return [
                *(f"took over in {s:.1f} s" for s in took if s > within_s),
                *pair.faults(),
            ]
        finally:
            pair.close()
            cluster.close()


async def kill_holders(pair: Pair, takeovers: int, within_s: float) -> list[float]:
    """Seconds of each."""
    took = []
    for number in range(takeovers):
        holder, heir = pair.twins[number % 2], pair.twins[1 - number % 2]
        took.append(await pair.take_over(holder, heir))
        print(f"holder {number + 1} killed: its heir signs after {took[-1]:.1f} s", flush=True)
    ordered = sorted(took)
    print(f"took over {takeovers} times, median {ordered[takeovers // 2]:.1f} s, longest ", end="")
    print(f"{ordered[-1]:.1f} s; at most {within_s:.0f} s are allowed", flush=True)
    return took


async def lose_one_node(pair: Pair, cluster: Cluster) -> float:
    """One of three: the pair goes on, whoever of it holds the key then.  Seconds."""
    cluster.kill(0)
    killed = time.monotonic()
    await pair.until_signs(await pair.size())
    took = time.monotonic() - killed
    cluster.start(0)
    print(f"one of three etcd nodes killed: the pair signs after {took:.1f} s", flush=True)
    return took


async def lose_etcd(pair: Pair, cluster: Cluster, holder: Replica) -> None:
    """All of it: the federation goes on, the pair says why it does not; then it comes back."""
    before = [twin.log() for twin in pair.twins]
    cluster.kill()
    cluster.copy()
    first, second = pair.twins
    await pair.until_says(holder, " no more", before[pair.twins.index(holder)])
    for twin, said in zip((first, second), before, strict=True):
        await pair.until_says(twin, "standby: etcd at", said)
    await pair.grows()
    print("etcd is dead: the federation goes on, both processes say so", flush=True)
    cluster.start()
    await pair.until_signs(await pair.size())
    print("etcd is back: the pair signs", flush=True)


async def set_etcd_back(pair: Pair, cluster: Cluster) -> None:
    """An old copy of etcd: whoever raised the bounds since ends with status 3, and says why.

    The other twin has nothing by which it could tell; if it were first, it would be found out by
    what the federation shows it, and observe for ever.
    """
    holder = pair.holder()
    for twin in pair.twins:
        if twin is not holder:
            twin.kill()
            pair.reckon(twin)
    said = holder.log()
    cluster.kill()
    cluster.set_back()
    cluster.start()

    async def refused() -> bool:
        told = holder.log()[len(said) :]
        return (
            holder.process is not None
            and holder.process.poll() == CONFIG
            and "It was restored" in told
            and "gristmill operator guard reset --help" in told
        )

    await pair.until("somebody who refuses the old copy", refused)
    await pair.grows()
    print("etcd was set back: refused with status 3, the federation goes on", flush=True)
