"""Winners that do not do their part, with real processes: `python -m tests.winners [--only HABIT]`.

The demonstration's federation (4 replicas, 3 miners, 2 nodes), once for each habit: the winner of
the first cycle is offline, late, sends an invalid block, or signs two.  In every run each cycle is
certified, all replicas and nodes end with one log and one tip, the audit passes, and what the rule
says happens to the winner (docs/SCENARIOS.md, "Winners, forks, finality").  About half a minute for
each habit where nothing else runs.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from bft.codec.canonical import Record, decode
from chain.audit.archive import open_archive
from chain.records.certificate import decode_certificate
from chain.records.score_log import (
    Assigned,
    BlockFinal,
    Certified,
    EvidenceShown,
    LogEntry,
    RankVoided,
    decode_leaf,
)
from gristmill.demo.plan import Fault, Plan
from gristmill.demo.run import Demonstration
from gristmill.demo.view import PlainView
from tests.winners.bent import HABITS, INVALID, LATE, OFFERED, OFFLINE, TWO, mine_badly

REPLICAS, MINERS, NODES, CYCLES = 4, 3, 2, 4
REASONS = {
    INVALID: {"reward-too-high"},
    LATE: {"no-block-due", "void-certificate"},
}
"""Codes of which replicas name one."""
R = TypeVar("R", bound=Record)


class BadDay(Demonstration):
    """The demonstration, its miners bent."""

    def __init__(self, plan: Plan, habit: str) -> None:
        super().__init__(plan, PlainView(Console(stderr=True)))
        self._habit = habit

    def _start_miner(self, index: int) -> None:
        home = self._plan.miner_home(index)
        args = (home, self._urls, self._node_urls, self._habit)
        self._fleet.start(f"miner-{index}", home / "miner.log", mine_badly, *args)


class Wrong(AssertionError):
    """Something else happened than the rule says."""


def check(holds: object, text: str) -> None:
    """Raises Wrong."""
    if not holds:
        raise Wrong(text)


def play(habit: str, home: Path) -> None:
    """One federation.  Raises Wrong or Unavailable."""
    plan = Plan(
        replicas=REPLICAS,
        miners=MINERS,
        nodes=NODES,
        cycles=CYCLES,
        fault=Fault.NONE,
        home=home,
    )
    summary = BadDay(plan, habit).run()
    check(summary["audit"]["passed"], f"the audit: {summary['audit']['findings']}")
    check(summary["agreed"], "the replicas do not agree")
    check({node["tip"] for node in summary["nodes"]} == {summary["tip"]}, "the nodes' tips")
    records, told = _records(Path(summary["archive"])), _told(plan)
    certificates = [decode_certificate(each.certificate)[0] for each in of(records, Certified)]
    bent, finals = certificates[0].winner, of(records, BlockFinal)
    voided = [(each.cycle, each.rank) for each in of(records, RankVoided)]
    check(certificates[0].rank == 0 and finals, "a winner, and a final block")
    if habit == TWO:
        check(not voided and finals[0].cycle == 1, "one of the two is final in its cycle")
        _check_barred(records, bent)
        return
    check(voided == [(1, 0)], f"rank 0 of cycle 1 is voided, and no other; {voided} are")
    check(not of(records, EvidenceShown), "nobody signed two blocks")
    check(certificates[1].rank == 1 and certificates[1].cycle == 1, "the next rank is certified")
    check(finals[0].cycle == 1 and finals[0].height == 1, "its block is final")
    if habit == OFFLINE:
        check(not told, "it offered nothing")
    else:
        most = {INVALID: 0, LATE: NODES}[habit]  # a node keeps a late one till another is final
        check(told, "it offered its block")
        check(all(each["taken"] <= most for each in told), f"no replica took it: {told}")
        check(all(set(each["refused"].split()) & REASONS[habit] for each in told), f"why: {told}")


def _check_barred(records: Sequence[Record], bent: bytes) -> None:
    (shown,) = of(records, EvidenceShown)
    check(shown.miner == bent and (shown.cycle, shown.height) == (1, 1), "against that winner")
    at = records.index(shown)
    later = [each for each in records[at:] if isinstance(each, Assigned)]
    check(later, "another cycle was assigned")
    check(
        all(unit.miner != bent for each in later for unit in each.units), "it has no work any more"
    )


def of(records: Sequence[Record], kind: type[R]) -> list[R]:
    """Those of one kind."""
    return [record for record in records if isinstance(record, kind)]


def _records(archive: Path) -> list[Record]:
    with archive.open("rb") as file:
        _, entries = open_archive(file)
        return [decode_leaf(decode(LogEntry, entry).leaf) for entry in entries]


def _told(plan: Plan) -> list[dict[str, Any]]:
    """What the bent winner told of its offers."""
    lines = []
    for index in range(plan.miners):
        text = (plan.miner_home(index) / "events.jsonl").read_text(encoding="utf-8")
        lines += [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["event"] == OFFERED]


def main() -> int:
    """Status 1 and a traceback if something does not hold."""
    parser = argparse.ArgumentParser("tests.winners", description=__doc__)
    parser.add_argument("--only", choices=HABITS, help="this habit alone")
    given = parser.parse_args()
    for habit in (given.only,) if given.only else HABITS:
        with tempfile.TemporaryDirectory(prefix="winners-") as scratch:
            play(habit, Path(scratch) / "home")
        print(f"{habit}: as the rules say", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
