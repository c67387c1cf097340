"""Every final block of the log stands on the chain, and no block that the log does not hold."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bft.codec.canonical import Record, encode
from bft.errors import Unavailable
from chain.audit.blocks import BlockCheck, Chain
from chain.audit.replay import Auditor
from chain.audit.roots import Roots
from chain.federation.api import HEADERS, HEADERS_LIMIT_MAX
from chain.records.block import decode_block
from chain.records.peer_message import encode_certheaders
from chain.records.score_log import Aggregated, Certified, CycleClosed, LogEntry, decode_leaf
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.log_server import Answer, log_answers, served
from tests.chain.audit.mill import Mill

ENDLESS = 1 << 40
"""Entries of a log that no certificate lies beyond."""


@dataclass
class MillWithChain(Mill):
    """Keeps the certified headers of its blocks."""

    headers: list[bytes] = field(default_factory=list)

    def witness(self) -> list[str]:
        self.headers.append(decode_block(self.block()).certified_header.encode())
        return super().witness()


def fresh(cycles: int) -> MillWithChain:
    """A mill of whole cycles; whoever makes it again makes the same."""
    found = MillWithChain()
    found.found()
    for _ in range(cycles):
        found.cycle()
    return found


@cache
def mill() -> MillWithChain:
    """Of three cycles; nobody goes on with it."""
    return fresh(3)


@cache
def other() -> MillWithChain:
    """The same federation, had its first cycle been empty."""
    found = fresh(0)
    found.time_out()
    found.cycle().cycle()
    return found


def after(kind: type[Record], count: int, log: Mill) -> list[LogEntry]:
    """The mill's log up to its `count`-th leaf of this kind."""
    places = [each.index for each in log.entries if isinstance(decode_leaf(each.leaf), kind)]
    return log.entries[: places[count - 1] + 1]


def compared(
    log: list[LogEntry], headers: list[bytes], size: int = 0, roots: Roots | None = None
) -> Chain:
    """The chain of these headers beside the log; a server gives two headers at once."""
    genesis = mill().genesis
    auditor = Auditor(encode(genesis))
    check = BlockCheck(
        "there", lambda first: headers[first - 1 : first + 1], genesis, auditor.books
    )
    for entry in log:
        auditor.take(entry)
        check.after_entry()
    check.finish(size or auditor.entries, auditor.roots if roots is None else roots)
    assert auditor.report().passed
    return check.chain


def test_a_chain_with_the_blocks_of_the_log_is_the_same() -> None:
    chain = compared(mill().entries, mill().headers)
    assert (chain.state, chain.first, chain.last, chain.findings) == ("same", 1, 3, [])
    assert chain.line() == "chain at there: blocks 1 to 3 are those of the log"


def test_a_chain_may_be_behind_the_log_and_ahead_of_it() -> None:
    behind = compared(mill().entries, mill().headers[:1])
    assert (behind.state, behind.last, behind.findings) == ("shorter", 1, [])
    ahead = compared(after(CycleClosed, 2, mill()), mill().headers)
    assert (ahead.state, ahead.last, ahead.findings) == ("longer", 2, [])
    assert "block 3, certified after this copy's end" in ahead.line()


def test_a_block_whose_certificate_is_asked_for_may_be_there() -> None:
    """The federation signs, somebody was quicker than the log."""
    chain = compared(after(Aggregated, 3, mill()), mill().headers)
    assert (chain.state, chain.findings) == ("same", [])


def test_another_block_on_the_chain_is_found() -> None:
    chain = compared(mill().entries, other().headers)
    (finding,) = chain.findings
    assert (chain.state, finding.rule, finding.cycle) == ("other", "chain", 2)
    assert "block 1 of the chain is" in finding.text


def test_an_unproven_newest_block_contradicts_nothing() -> None:
    """Its rank may be voided: the next certificate says which block counts."""
    chain = compared(after(CycleClosed, 1, mill()), other().headers[:1])
    assert (chain.state, chain.findings) == ("shorter", [])


def test_a_certificate_over_another_log_is_found() -> None:
    chain = compared(after(Certified, 1, other()), mill().headers)
    (finding,) = chain.findings
    assert "the certificate of block 1 names root" in finding.text


def test_a_block_of_a_certificate_that_the_log_has_not_is_found() -> None:
    chain = compared(after(CycleClosed, 2, mill()), mill().headers, ENDLESS, Roots())
    (finding,) = chain.findings
    assert "certificate of cycle 3, rank 0 that the log has not" in finding.text
    log = fresh(1)
    for _ in range(2):
        log.time_out()  # cycles 2 and 3 are empty
    chain = compared(log.entries, mill().headers, ENDLESS, Roots())
    (finding,) = chain.findings
    assert "block 2 is proven on the chain; the log has no such block" in finding.text


@pytest.mark.parametrize("what", ["nonsense", "silence"])
def test_a_server_that_shows_no_chain_is_named_and_not_compared(what: str) -> None:
    def ask(first: int) -> list[bytes]:
        if what == "silence":
            raise Unavailable("it does not answer")
        return [b"nonsense"]

    genesis = mill().genesis
    auditor = Auditor(encode(genesis))
    check = BlockCheck("there", ask, genesis, auditor.books)
    for entry in after(CycleClosed, 1, mill()):
        auditor.take(entry)
        check.after_entry()
    check.finish(auditor.entries, auditor.roots)
    assert (check.chain.state, check.chain.last, check.chain.findings) == ("lost", 0, [])
    assert "not compared further" in check.chain.line()


def test_the_command_compares_chains_and_goes_on_from_its_last_block(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headers, asked = list(mill().headers), list[str]()
    entries = list(after(CycleClosed, 2, mill()))
    log = log_answers(encode(mill().genesis), entries)

    def answer(target: str) -> Answer:
        url = urlsplit(target)
        if url.path != HEADERS:
            return log(target)
        asked.append(target)
        first = int(parse_qs(url.query)["from"][0])
        page = headers[first - 1 : first - 1 + HEADERS_LIMIT_MAX]
        return 200, {}, encode_certheaders(tuple(page))

    with served(answer) as url:
        where = ["audit", "--from", url, "--headers", url, "--state", str(tmp_path)]
        assert main(where) == 0
        said = capsys.readouterr().out
        assert f"chain at {url}: blocks 1 to 2 are those of the log" in said
        entries += mill().entries[len(entries) :]
        asked.clear()
        assert main([*where, "--json"]) == 0
        (told,) = json.loads(capsys.readouterr().out)["data"]["chains"]
        assert (told["state"], told["first_block"], told["last_block"]) == ("same", 3, 3)
        assert not any(target.endswith("from=1") for target in asked)
        headers[:] = other().headers
        status = main([*where, "--from-scratch"])
    said = capsys.readouterr().out
    assert status == exits.VERIFICATION_FAILED and "chain: " in said and "block 1 of the" in said
