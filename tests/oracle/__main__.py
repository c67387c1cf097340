"""`python -m tests.oracle --seed N --budget SECONDS`: simulated federations' logs, derived anew.

Each seed is a bad day of `tests.sim` or, one in three, a change of members of `tests.sim.moving`.
Its log is replayed by the implementation in this directory, which knows docs/PROTOCOL.md and
docs/RECORDS.md only: every derived leaf must be what follows, every signature hold.
"""

import sys

from bft.codec.canonical import encode
from tests.oracle.replay import Replay
from tests.search import Search, arguments, command
from tests.sim.moving import Moving
from tests.sim.search import Day
from tests.sim.world import World


def replay(world: World) -> Replay:
    """The oracle's view of the longest log of a correct replica.  Raises Differs."""
    logs = [host.disk.log() for host in world.hosts if host.correct]
    longest = max(logs, key=len)
    entries = [(entry.leaf, entry.proof) for entry in longest]
    return Replay(encode(world.genesis), entries)


class WatchedDay(Day):
    """A bad day, and the oracle's view of it."""

    def run(self) -> None:
        super().run()
        replay(self._world)


class WatchedMove(Moving):
    """Members that change, and the oracle's view of it."""

    def run(self) -> None:
        super().run()
        replay(self.world)


def watched(seed: int, without: frozenset[str]) -> WatchedDay | WatchedMove:
    """Of this seed."""
    kind = WatchedMove if seed % 3 == 2 else WatchedDay
    return kind(seed, without)


SEARCH = Search("oracle", watched)

if __name__ == "__main__":
    sys.exit(command(SEARCH, arguments("tests.oracle", __doc__).parse_args()))
