"""The report for people: findings first, each cycle with its spread and its draw, no links."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace as replace_report
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.audit.findings import CycleSummary, Figure, Finding, Severity, Throw, UnitScore
from chain.audit.html import pages
from chain.audit.replay import Auditor
from chain.audit.spool import Spool
from gristmill.cli import main
from tests.chain.audit.log_server import log_answers, served
from tests.chain.audit.mill import Mill, make_genesis


class Reader(HTMLParser):
    """The page's text, and every address in it."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(mill: Mill, path: Path) -> tuple[int, Reader]:
    with served(log_answers(encode(mill.genesis), mill.entries)) as url:
        status = main(["audit", "--from", url, "--html", str(path)])
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == [] and reader.links == []
    return status, reader


def test_a_board_member_can_read_it(tmp_path: Path) -> None:
    mill = Mill().found().to_aggregation(liar=3)
    mill.aggregate()
    mill.sign()
    mill.witness()
    mill.sign()
    status, page = read(mill, tmp_path / "report.html")
    text = " ".join(page.text)
    assert status == 0
    verdict = text.index("PASSED, with accusations against replica 3")
    assert verdict < text.index("You can rely on the results") < text.index("Findings")
    assert text.index("Accusation: evaluation, signed by replica 3") < text.index("Cycle by cycle")
    assert "lowest and the highest of them stand in brackets" in text
    assert re.search(r"0\.06\d{4} \(0\.06\d{4} to 1\.0\d{5}\)", text), "the liar's is the highest"
    assert "nobody could know before the scores were fixed" in text


def test_what_a_federation_calls_itself_is_no_markup(tmp_path: Path) -> None:
    mill = Mill(replace(make_genesis(), name=b"<script>alert(1)</script>")).found()
    _, page = read(mill, tmp_path / "report.html")
    assert "script" not in page.open
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_details_say_where_the_point_fell(capsys: pytest.CaptureFixture[str]) -> None:
    mill = Mill().found().cycle()
    auditor = Auditor(encode(mill.genesis), details=True)
    for entry in mill.entries:
        auditor.take(entry)
    (cycle,) = auditor.report().cycles
    first = cycle.throws[0]
    assert first.miner == cycle.winner and first.total == cycle.tickets_total
    assert first.first <= first.point < first.first + first.tickets
    for score in cycle.scores:
        for figure in score.figures:
            assert figure.lowest <= figure.median <= figure.highest
    gains = [f for s in cycle.scores for f in s.figures if f.name == "gain"]
    assert gains and all(gain.highest - gain.lowest == 3 for gain in gains)


def test_cycles_leave_the_auditor_one_by_one() -> None:
    mill = Mill().found().cycle().cycle().cycle()
    plain = Auditor(encode(mill.genesis))
    for entry in mill.entries:
        plain.take(entry)
    with Spool() as spool:
        told: list[CycleSummary] = []

        def take(cycle: CycleSummary) -> None:
            told.append(cycle)
            spool.write(cycle)

        auditor = Auditor(encode(mill.genesis), take)
        for entry in mill.entries:
            auditor.take(entry)
        left = auditor.report().cycles
        assert len(left) == 1 and [cycle.cycle for cycle in told] == [1, 2]
        assert (*spool, *left) == plain.report().cycles
        assert tuple(spool) == tuple(told), "and may be read twice"


def test_json_is_one_object_with_all_cycles(capsys: pytest.CaptureFixture[str]) -> None:
    mill = Mill().found().cycle().cycle()
    with served(log_answers(encode(mill.genesis), mill.entries)) as url:
        assert main(["audit", "--from", url, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and [cycle["cycle"] for cycle in told["data"]["cycles"]] == [1, 2]
    assert told["data"]["cycles"][0]["throws"][0]["tickets"] > 0


def many(count: int, units: int) -> Iterator[CycleSummary]:
    """Cycles with all that a detailed audit tells."""
    gain = Figure(name="gain", median=440_716, lowest=-4_559_284, highest=440_716)
    throw = Throw(miner=b"\2" * 33, tickets=3, first=4, point=5, total=9)
    for number in range(1, count + 1):
        yield CycleSummary(
            cycle=number,
            closed="block",
            winner=b"\2" * 33,
            tickets=3,
            tickets_total=9,
            height=number,
            certified_s=60 * number,
            scores=tuple(
                UnitScore(unit=unit, miner=b"\3" * 33, segment=1, tickets=3, figures=(gain,))
                for unit in range(units)
            ),
            throws=(throw,),
        )


def page_of(mill: Mill, findings: list[Finding], count: int = 1, units: int = 1) -> str:
    auditor = Auditor(encode(mill.genesis))
    for entry in mill.entries:
        auditor.take(entry)
    report = replace_report(auditor.report(), findings=tuple(findings))
    told = pages(report, many(count, units), [], [], str, pinned=False)
    return "".join(told)


def test_a_long_log_makes_a_page_that_opens() -> None:
    """Details of the newest cycles and of those with findings; the others are a line in a group."""
    accused = Finding(
        severity=Severity.ACCUSATION, entry=9, sequence=1, cycle=7, rule="snapshot", text="told"
    )
    page = page_of(Mill().found(), [accused], count=1_000, units=100)
    assert len(page) < 2_000_000
    assert page.count("Scores, as measured by") // 2 == page.count("The draw, rank") // 2 == 21
    assert "<summary>Cycles 901 to 980</summary>" in page
    assert "<summary>Cycle 1000 (60000): block 1000 by miner" in page


def test_one_mistake_made_often_is_told_once() -> None:
    accused = [
        Finding(
            severity=Severity.ACCUSATION,
            entry=10 * number,
            sequence=number,
            cycle=number,
            rule="evaluation",
            text=f"told {number}",
            replicas=(3,),
        )
        for number in range(1, 200)
    ]
    page = page_of(Mill().found(), accused)
    assert page.count("<h3>") == 1 and ", 199 times</h3>" in page
    assert page.count("<li>") == 49 and "And 149 more" in page
    assert page.index("cycle 1, entry 10: told 1") < page.index("cycle 50, entry 500: told 50")
    assert "Nobody told this audit which chain to expect" in page
