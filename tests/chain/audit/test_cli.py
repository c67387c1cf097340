"""`gristmill audit`: where the log comes from, what is printed, and the exit status."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.audit import cli
from chain.records.score_log import Drawn, LogEntry, decode_leaf, encode_leaf
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.log_server import log_answers, served
from tests.chain.audit.mill import Mill, make_genesis


@cache
def log() -> tuple[bytes, tuple[LogEntry, ...]]:
    mill = Mill().found().cycle()
    return encode(mill.genesis), tuple(mill.entries)


CHAIN_ID = make_genesis().chain_id.hex()


def forged() -> list[LogEntry]:
    """The log with a draw in which the first two ranks changed places."""
    entries = list(log()[1])
    for entry in entries:
        leaf = decode_leaf(entry.leaf)
        if isinstance(leaf, Drawn):
            ranks = (leaf.ranks[1], leaf.ranks[0], *leaf.ranks[2:])
            swapped = encode_leaf(replace(leaf, ranks=ranks))
            entries[entry.index] = replace(entry, leaf=swapped)
    return entries


def test_the_exit_statuses_are_those_of_the_root() -> None:
    assert (cli.PASSED, cli.FAILED) == (exits.OK, exits.VERIFICATION_FAILED)


def test_a_sound_log_passes(capsys: pytest.CaptureFixture[str]) -> None:
    genesis, entries = log()
    with served(log_answers(genesis, list(entries), page=7)) as url:
        assert main(["audit", "--from", url, "--chain-id", CHAIN_ID.upper()]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"chain {CHAIN_ID} (test mill), 4 replicas"
    assert lines[-1] == "PASSED: everything follows from the genesis record and signed entries"
    assert err == ""


def test_an_unpinned_genesis_record_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    genesis, entries = log()
    with served(log_answers(genesis, list(entries))) as url:
        assert main(["audit", "--from", url]) == 0
    assert "pin it by --chain-id or --genesis" in capsys.readouterr().err


def test_a_forged_log_fails_with_the_entry_named(capsys: pytest.CaptureFixture[str]) -> None:
    with served(log_answers(log()[0], forged())) as url:
        assert main(["audit", "--from", url]) == exits.VERIFICATION_FAILED
    out = capsys.readouterr().out
    assert "drawn: ranks[0].miner is " in out
    assert out.splitlines()[-1] == "FAILED: 2 findings break the log"


def test_what_was_saved_is_audited_again_from_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genesis, entries = log()
    archive, trusted = tmp_path / "log.grist", tmp_path / "genesis.bin"
    trusted.write_bytes(genesis)
    with served(log_answers(genesis, list(entries))) as url:
        assert main(["audit", "--from", url, "--save", str(archive), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["ok"] is True
    assert main(["audit", str(archive), "--genesis", str(trusted), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert first["ok"] is True and first["data"]["copies"] == []
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["genesis.bin", "log.grist"]


def test_copies_are_compared_and_a_silent_replica_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    genesis, entries = log()
    with served(log_answers(genesis, list(entries))) as gone:
        pass
    with (
        served(log_answers(genesis, list(entries))) as one,
        served(log_answers(genesis, list(entries[:-3]))) as two,
    ):
        args = ["audit", "--from", gone, "--from", one, "--from", two, "--from", one]
        assert main(args) == 0
    out, err = capsys.readouterr()
    assert f"{two}: shorter; {len(entries) - 3} entries in common" in out
    assert f"note: not compared: {gone} does not answer" in err


def test_a_split_view_fails_and_names_the_replicas(capsys: pytest.CaptureFixture[str]) -> None:
    genesis, entries = log()
    with (
        served(log_answers(genesis, list(entries))) as one,
        served(log_answers(genesis, forged())) as two,
    ):
        status = main(["audit", "--from", one, "--from", two, "--json"])
    answer = json.loads(capsys.readouterr().out)
    report = answer["data"]
    assert status == exits.VERIFICATION_FAILED and answer["ok"] is False
    (finding,) = report["findings"]
    assert finding["rule"] == "split-view" and one in finding["text"] and two in finding["text"]
    assert report["copies"][0]["state"] == "split"


def test_nobody_who_answers_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    with served(lambda _: (200, {}, b"")) as url:
        pass
    assert main(["audit", "--from", url]) == exits.UNAVAILABLE
    assert f"{url} does not answer: Connection refused" in capsys.readouterr().err
    assert main(["audit", "--from", url, "--from", f"{url}/copy"]) == exits.UNAVAILABLE
    assert "none of 2 addresses has a log to give" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--chain-id", "00"], "--chain-id '00': 64 hex digits are expected"),
        (["one.grist"], "give either PATH or --from URL; both came"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anybody_is_asked(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--from", "127.0.0.1:1", *options]) == exits.USAGE
    assert told in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_the_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "nowhere" / "report.html"
    assert main(["audit", "--from", "127.0.0.1:1", "--html", str(place)]) == exits.CONFIG
    assert f"there is no directory {place.parent}" in capsys.readouterr().err


def test_another_chain_than_the_pinned_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genesis, entries = log()
    other = tmp_path / "other.bin"
    other.write_bytes(encode(make_genesis(7)))
    with served(log_answers(genesis, list(entries))) as url:
        assert main(["audit", "--from", url, "--chain-id", "00" * 32]) == exits.CONFIG
        assert main(["audit", "--from", url, "--genesis", str(other)]) == exits.CONFIG
        with served(log_answers(other.read_bytes(), [])) as foreign:
            assert main(["audit", "--from", url, "--from", foreign]) == exits.CONFIG
    err = capsys.readouterr().err
    assert f"the log is of chain {CHAIN_ID}; --chain-id is 0000" in err
    assert "serve different genesis records" in err


def test_wrong_input_is_told_apart_from_a_wrong_log(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"nonsense")
    assert main(["audit"]) == exits.USAGE
    assert main(["audit", str(nonsense), "--from", "a:1"]) == exits.USAGE
    assert main(["audit", str(nonsense)]) == exits.CONFIG
    assert main(["audit", str(tmp_path / "absent")]) == exits.NOT_FOUND
    assert main(["audit", "--from", "a:1", "--genesis", str(nonsense)]) == exits.CONFIG
    assert main(["audit", "--from", "ftp://a"]) == exits.CONFIG


def test_a_failed_audit_leaves_no_half_archive(tmp_path: Path) -> None:
    genesis, _ = log()
    target = tmp_path / "log.grist"

    def breaking_off(path: str) -> tuple[int, dict[str, str], bytes]:
        return (200, {}, genesis) if "genesis" in path else (200, {}, b"no page")

    with served(breaking_off) as url:
        status = main(["audit", "--from", url, "--save", str(target)])
    assert status == exits.VERIFICATION_FAILED
    assert list(tmp_path.iterdir()) == []
    with served(log_answers(genesis, [])) as url:
        absent = tmp_path / "absent" / "log.grist"
        assert main(["audit", "--from", url, "--save", str(absent)]) == exits.CONFIG


def test_an_audit_needs_neither_torch_nor_a_server() -> None:
    code = (
        "import sys, chain.audit.cli;"
        "print(sorted({'torch', 'aiohttp', 'numpy', 'coordinator', 'bft.pbft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
