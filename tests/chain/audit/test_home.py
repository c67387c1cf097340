"""An auditor's directory: an audit goes on where the last one ended, and remembers what it saw."""

import json
from functools import cache
from pathlib import Path

import pytest

from bft.codec.canonical import encode
from chain.records.score_log import LogEntry
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.log_server import Answer, log_answers, served
from tests.chain.audit.mill import Mill


@cache
def log() -> tuple[bytes, tuple[LogEntry, ...], int]:
    """Genesis record, the log of two cycles, and its size after the first."""
    mill = Mill().found().cycle()
    first = len(mill.entries)
    mill.cycle()
    return encode(mill.genesis), tuple(mill.entries), first


class Replica:
    """Serves so many entries, and remembers from where it was asked."""

    def __init__(self, entries: list[LogEntry]) -> None:
        self.entries = entries
        self.asked: list[str] = []

    def __call__(self, target: str) -> Answer:
        self.asked.append(target)
        return log_answers(log()[0], self.entries, page=20)(target)


def test_only_new_entries_are_fetched_and_all_are_audited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, entries, first = log()
    replica = Replica(list(entries[:first]))
    with served(replica) as url:
        assert main(["audit", "--from", url, "--state", str(tmp_path), "--json"]) == 0
        capsys.readouterr()
        replica.entries, replica.asked = list(entries), []
        assert main(["audit", "--from", url, "--state", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["data"]
    assert report["entries"] == len(entries)
    assert any(f"from={first}&" in target for target in replica.asked)
    assert not any("from=0&" in target for target in replica.asked)
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert (seen["size"], seen["root"]) == (len(entries), report["log_root"])


def test_an_interrupted_audit_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last entry was half written when the power went."""
    _, entries, first = log()
    with served(Replica(list(entries[:first]))) as url:
        assert main(["audit", "--from", url, "--state", str(tmp_path)]) == 0
    archive = tmp_path / "log.grist"
    archive.write_bytes(archive.read_bytes()[:-3])
    (tmp_path / "seen.json").unlink()
    replica = Replica(list(entries))
    with served(replica) as url:
        assert main(["audit", "--from", url, "--state", str(tmp_path)]) == 0
    assert any(f"from={first - 1}&" in target for target in replica.asked)


def test_a_rewritten_history_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both logs follow from the genesis record; but they are not one log."""
    genesis, entries, _ = log()
    with served(Replica(list(entries))) as url:
        assert main(["audit", "--from", url, "--state", str(tmp_path)]) == 0
    (tmp_path / "log.grist").unlink()
    mill = Mill().found()
    mill.time_out()
    mill.cycle().cycle()
    assert encode(mill.genesis) == genesis and len(mill.entries) > len(entries)
    capsys.readouterr()
    with served(Replica(mill.entries)) as url:
        status = main(["audit", "--from", url, "--state", str(tmp_path)])
    out = capsys.readouterr().out
    assert status == exits.VERIFICATION_FAILED and "rewritten: when you last audited" in out


def test_a_log_that_became_shorter_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, entries, first = log()
    with served(Replica(list(entries))) as url:
        assert main(["audit", "--from", url, "--state", str(tmp_path)]) == 0
    (tmp_path / "log.grist").unlink()
    with served(Replica(list(entries[:first]))) as url:
        status = main(["audit", "--from", url, "--state", str(tmp_path)])
    assert status == exits.VERIFICATION_FAILED
    assert f"shorter: the log ends after {first} entries" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["{", '{"size": 1}', "[]"])
def test_a_damaged_directory_is_said_to_be_so(tmp_path: Path, damage: str) -> None:
    (tmp_path / "seen.json").write_text(damage)
    with served(Replica(list(log()[1]))) as url:
        assert main(["audit", "--from", url, "--state", str(tmp_path)]) == exits.CONFIG
