"""The report for people: findings first, each cycle with its spread and its draw, no links."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.audit.findings import CycleSummary
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
    assert text.index("PASSED: everything follows; accused: replica 3") < text.index("Findings")
    assert text.index("accusation") < text.index("Cycle by cycle")
    assert "lowest and the highest of them stand in brackets" in text
    assert re.search(r"6\d{4} \(6\d{4} to 10\d{5}\)", text), "the liar's figure is the highest"
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
