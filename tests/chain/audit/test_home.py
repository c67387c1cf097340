"""An auditor's directory: an audit goes on where the last one ended, and remembers what it saw."""

import itertools
import json
import os
import signal
import time
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.errors import Unavailable
from chain.audit.archive import frame, start_archive
from chain.audit.bookmark_file import BOOKMARK, BookmarkFile
from chain.audit.replay import Auditor
from chain.audit.run import Options, run
from chain.records.score_log import LogEntry
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.log_server import Answer, log_answers, problem, served
from tests.chain.audit.mill import Mill
from tests.patience import PATIENCE_S


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
    assert any(f"from={first - 1}&" in target for target in replica.asked)
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
    assert any(f"from={first - 2}&" in target for target in replica.asked)


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


def audited(url: str, state: Path, *more: str) -> int:
    """The status of an audit of this replica, with this directory."""
    return main(["audit", "--from", url, "--state", str(state), *more])


def other_log() -> list[LogEntry]:
    """Of the same federation, with another past; longer."""
    mill = Mill().found()
    mill.time_out()
    return mill.cycle().cycle().entries


def test_only_new_entries_are_replayed_and_the_report_is_about_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, entries, first = log()
    replica = Replica(list(entries[:first]))
    with served(replica) as url:
        assert audited(url, tmp_path) == 0
        replica.entries = list(entries)
        capsys.readouterr()
        assert audited(url, tmp_path, "--json") == 0
        resumed = json.loads(capsys.readouterr().out)["data"]
        assert audited(url, tmp_path, "--json", "--from-scratch") == 0
        whole = json.loads(capsys.readouterr().out)["data"]
        assert audited(url, tmp_path) == 0
    assert "cycles 1 to 2: audited before, on 20" in capsys.readouterr().out
    before = resumed.pop("before")
    assert (before["entries"], before["cycles"], before["passed"]) == (first, 1, True)
    assert whole.pop("before") is None
    assert [cycle["cycle"] for cycle in resumed["cycles"]] == [2]
    assert resumed.pop("cycles") == whole.pop("cycles")[1:]
    assert resumed == whole


def test_without_an_archive_an_audit_goes_on_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, entries, first = log()
    replica = Replica(list(entries[:first]))
    with served(replica) as url:
        assert audited(url, tmp_path, "--no-archive") == 0
        replica.entries, replica.asked = list(entries), []
        assert audited(url, tmp_path, "--no-archive") == 0
        assert not any("from=0&" in target for target in replica.asked)
        replica.entries = other_log()
        capsys.readouterr()
        assert audited(url, tmp_path, "--no-archive") == exits.VERIFICATION_FAILED
        assert "rewritten: another entry stands at" in capsys.readouterr().out
        replica.entries = list(entries[: first + 1])
        assert audited(url, tmp_path, "--no-archive") == exits.VERIFICATION_FAILED
        assert "shorter: the log ends after" in capsys.readouterr().out
        replica.entries = list(entries)
        assert audited(url, tmp_path, "--no-archive") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"bookmark.grist", "lock", "seen.json"}


def test_an_archive_that_is_here_is_kept_up(tmp_path: Path) -> None:
    with served(Replica(list(log()[1]))) as url:
        assert audited(url, tmp_path) == 0
        assert audited(url, tmp_path, "--no-archive") == exits.CONFIG


@pytest.mark.parametrize("damage", ["cut", "flipped", "release"])
def test_a_bookmark_that_does_not_serve_is_said_and_all_is_replayed(
    tmp_path: Path,
    damage: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with served(Replica(list(log()[1]))) as url:
        assert audited(url, tmp_path) == 0
        path = tmp_path / BOOKMARK
        data = path.read_bytes()
        if damage == "cut":
            path.write_bytes(data[:-1])
        elif damage == "flipped":
            path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        else:
            monkeypatch.setattr("chain.audit.bookmark_file.release", lambda: "99.0")
        capsys.readouterr()
        assert audited(url, tmp_path) == 0
        said = capsys.readouterr()
        assert "note: the audit begins at the first entry: the bookmark: " in said.err
        assert ("release" in said.err) == (damage == "release")
        assert "audited before" not in said.out and "cycle 1: " in said.out
        assert audited(url, tmp_path) == 0
    assert "audited before" in capsys.readouterr().out


def test_a_file_with_another_past_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of a file is there to be hashed again, and so a change before the bookmark is seen."""
    genesis, entries, first = log()

    def archive(kept: list[LogEntry]) -> str:
        path = tmp_path / "copy.grist"
        with path.open("wb") as file:
            start_archive(file, genesis)
            for entry in kept:
                file.write(frame(encode(entry)))
        return str(path)

    state = str(tmp_path / "state")
    assert main(["audit", archive(list(entries[:first])), "--state", state]) == 0
    capsys.readouterr()
    changed = replace(entries[3], leaf=entries[4].leaf)
    wrong = archive([*entries[:3], changed, *entries[4:]])
    assert main(["audit", wrong, "--state", state]) == exits.VERIFICATION_FAILED
    assert "rewritten: when you last audited" in capsys.readouterr().out
    short = archive(list(entries[: first - 1]))
    assert main(["audit", short, "--state", state]) == exits.VERIFICATION_FAILED
    assert f"shorter: the log ends after {first - 1} entries" in capsys.readouterr().out
    assert main(["audit", archive(list(entries)), "--state", state]) == 0


def test_a_first_audit_that_is_interrupted_goes_on_with_the_replay(tmp_path: Path) -> None:
    _, entries, first = log()
    honest = log_answers(log()[0], list(entries), page=first)

    def goes_down(target: str) -> Answer:
        """After the first page."""
        return honest(target) if f"from={first}&" not in target else problem(410, "gone")

    with served(goes_down) as url:
        options = Options(urls=(url,), state=tmp_path, quiet=True, bookmark_cycles=1)
        with pytest.raises(Unavailable), run(options):
            pass
    with served(honest) as url, run(Options(urls=(url,), state=tmp_path, quiet=True)) as result:
        before = result.report.before
        assert before is not None and not before.passed and 0 < before.entries <= first
        assert result.report.passed and result.report.entries == len(entries)


def test_what_does_not_follow_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One replica served nonsense; the next audit asks another, and passes."""
    _, entries, first = log()
    replica = Replica(list(entries[:first]))
    with served(replica) as url:
        assert audited(url, tmp_path) == 0
        replica.entries = [*entries[: first + 2], *entries[first + 3 :]]
        assert audited(url, tmp_path) == exits.VERIFICATION_FAILED
        assert f"note: entries from {first} on are not kept" in capsys.readouterr().err
        replica.entries = list(entries)
        assert audited(url, tmp_path) == 0


def test_cycles_before_the_bookmark_are_explained_from_the_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, entries, _ = log()
    miner = Mill().miners[0].public_key.hex()
    with served(Replica(list(entries))) as url:
        assert audited(url, tmp_path) == 0
        where = ["--from", url, "--state", str(tmp_path)]
        for cycle in ("1", "2"):
            assert main(["audit", "explain", miner, "--cycle", cycle, *where]) == 0
        evidence = tmp_path / "evidence"
        assert audited(url, tmp_path, "--evidence", str(evidence)) == 0
        assert audited(url, tmp_path, "--save", str(tmp_path / "copy.grist")) == 0
    assert main(["audit", str(tmp_path / "copy.grist")]) == 0
    assert f"{len(entries)} entries" in capsys.readouterr().out


def test_a_bookmark_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    """A process that writes two bookmarks in turns, killed at any time, leaves one of them."""
    genesis, entries, first = log()
    short, long = Auditor(genesis), Auditor(genesis)
    for entry in entries:
        long.take(entry)
        if entry.index < first:
            short.take(entry)
    writer = BookmarkFile(tmp_path)
    writer.write(short, passed=True)
    sizes = set()
    for round_ in range(12):
        child = os.fork()
        if not child:
            try:
                for auditor in itertools.cycle((long, short)):
                    writer.write(auditor, passed=True)
            finally:
                os._exit(1)
        written = (tmp_path / BOOKMARK).stat().st_ino
        deadline = time.monotonic() + PATIENCE_S
        while (tmp_path / BOOKMARK).stat().st_ino == written:
            assert time.monotonic() < deadline
        for _ in range(round_ * 1_000):
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = BookmarkFile(tmp_path).read(long.chain_id)
        assert found is not None
        sizes.add(found.walk.entries)
    assert sizes <= {first, len(entries)}
