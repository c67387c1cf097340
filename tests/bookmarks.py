"""`python -m tests.bookmarks --seed N --budget SECONDS`: audits of simulated logs, cut everywhere.

Each seed is a bad day of `tests.sim` or, one in three, a change of members of `tests.sim.moving`.
Its log is audited twice: in one go, and by an auditor that is made anew from a bookmark after
every entry where that can be.  States and reports must be the same.
"""

import sys

from bft.codec.canonical import encode
from tests.chain.audit.cuts import cut_everywhere
from tests.search import Search, arguments, command
from tests.sim.moving import Moving
from tests.sim.search import Day
from tests.sim.world import World


def check(world: World) -> None:
    """The longest log of a correct replica passes, and can be cut.  Raises AssertionError."""
    log = max((host.disk.log() for host in world.hosts if host.correct), key=len)
    report, cuts = cut_everywhere(encode(world.genesis), log)
    assert report.passed, report.to_text()
    assert cuts > len(log) // 4


class CutDay(Day):
    """A bad day, and its audits."""

    def run(self) -> None:
        super().run()
        check(self._world)


class CutMove(Moving):
    """Members that change, and the audits of their log."""

    def run(self) -> None:
        super().run()
        check(self.world)


def audited(seed: int, without: frozenset[str]) -> CutDay | CutMove:
    """Of this seed."""
    kind = CutMove if seed % 3 == 2 else CutDay
    return kind(seed, without)


SEARCH = Search("bookmarks", audited)

if __name__ == "__main__":
    sys.exit(command(SEARCH, arguments("tests.bookmarks", __doc__).parse_args()))
