"""What a primary that is merely slow costs: `python -m tests.bft.pbft.slow --minutes 10`.

Scenario 47.  R0 does everything right, but each of its proposals leaves so late that the oldest
request is decided just before it would be held against R0.  Clients ask for the next command when
the last one is executed, so that throughput is what latency allows.
"""

import argparse
import sys
from dataclasses import dataclass

from bft.pbft.messages import PrePrepare
from tests import keyed_signatures
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import key

POLL_MS = 5  # how soon a client sees that its command is executed


class Patient:
    """A client that asks again `pause_ms` after its last command was executed at its replica."""

    def __init__(self, cluster: Cluster, number: int, to: int, pause_ms: int) -> None:
        self.cluster, self.number, self.to, self.pause_ms = cluster, number, to, pause_ms
        self.done = 0
        self.ask()

    def ask(self) -> None:
        self.cluster.submit(self.to, self.number, self.done + 1)
        self.look()

    def look(self) -> None:
        name = key(f"client {self.number}").public_key
        if self.cluster.nodes[self.to].app.clients.high(name) > self.done:
            self.done += 1
            self.cluster.at(self.pause_ms, self.ask)
        else:
            self.cluster.at(POLL_MS, self.look)


@dataclass(frozen=True)
class Served:
    """What the clients had in the end, and in which view."""

    commands: int
    view: int


def served(slow_ms: int, duration_ms: int, clients: int, pause_ms: int, **config: int) -> Served:
    """A federation of four; R0's proposals leave `slow_ms` late, whenever it leads."""
    cluster = Cluster(checkpoint_interval=128, window=256, **config)
    cluster.byzantine = {0} if slow_ms else set()

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        found = cluster.open(data)
        if source == 0 and found.sender == 0 and isinstance(found.message, PrePrepare):
            cluster.at(slow_ms, lambda: cluster.transmit(source, to, data))
            return []
        return [data]

    if slow_ms:
        cluster.outgoing = outgoing
    asking = [Patient(cluster, number, 1 + number % 3, pause_ms) for number in range(clients)]
    cluster.run(duration_ms)
    views = [view for view in cluster.views() if view is not None]
    return Served(commands=sum(client.done for client in asking), view=max(views))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("tests.bft.pbft.slow", description=__doc__)
    parser.add_argument("--minutes", type=int, default=10, help="of virtual time")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--pause", type=int, default=100, help="milliseconds between commands")
    parser.add_argument("--slow", default="400,1900,3800", help="milliseconds, one run for each")
    options = parser.parse_args(argv)
    keyed_signatures.install()
    duration_ms = 60_000 * options.minutes
    best = served(0, duration_ms, options.clients, options.pause)
    print(f"nobody is slow: {best.commands} commands in {options.minutes} minutes", flush=True)
    worst = 100
    for slow_ms in map(int, options.slow.split(",")):
        found = served(slow_ms, duration_ms, options.clients, options.pause)
        percent = 100 * found.commands // best.commands
        worst = min(worst, percent)
        print(
            f"R0 is {slow_ms} ms late: {found.commands} commands, {percent} %; view {found.view}",
            flush=True,
        )
    return 0 if worst >= 50 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
