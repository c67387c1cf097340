"""`gristmill operator guard`, as an operator types it."""

import json
from pathlib import Path
from typing import Any

import pytest

from bft.pbft.config import Inherited
from chain.records.federation import MemberRecord
from coordinator.ceremony import create_identity
from coordinator.config import Home
from coordinator.guard.claims import Domain
from coordinator.guard.moving import everything_through, silence
from coordinator.guard.rules import Bound, Guarded, Reservation
from coordinator.guard.store import SqliteGuard
from coordinator.service.journal import Journal
from gristmill import exits
from gristmill.cli import main
from tests.coordinator.guard.messages import CHAIN, claim


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, Any]:
    """(exit status, data or error) of one `operator guard` command with --json."""
    status = main(["operator", "guard", *map(str, args), "--json"])
    told = json.loads(capsys.readouterr().out)
    return status, told["data"] if "data" in told else told["error"]["detail"]


class Made:
    """A home whose key has signed."""

    def __init__(self, path: Path) -> None:
        self.path, self.home = path, Home(path)
        self.member: MemberRecord = create_identity(path, "ada", "h:1", "h:2")
        guard = self.guard()
        self.reserved = Reservation().raised([claim(Domain.PREPARE, 7, "a", (0, 3))], 64)
        guard.raise_to(self.reserved)
        guard.close()

    def guard(self) -> SqliteGuard:
        return SqliteGuard(self.home.guard, self.member.key)

    def moved(self, path: Path) -> Path:
        """Another home with the same public record and no memory."""
        path.mkdir()
        for file in (self.home.member, self.home.config):
            (path / file.name).write_bytes(file.read_bytes())
        return path


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "ada")


def test_the_status_tells_bounds_and_refusals_beside_the_one_who_holds_it(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = made.guard()
    guard.refuse("double-sign", "refused to sign COMMIT at slot 7")
    status, told = run(capsys, "status", "--home", made.path)
    assert status == exits.OK
    assert told["raised"] == 1 and told["bounds"] == {"PREPARE": "through slot 71, rank 0.3"}
    assert told["refused"] == 1 and told["newest_refusals"][0]["code"] == "double-sign"
    guard.close()
    assert main(["operator", "guard", "status", "--home", str(made.path)]) == exits.OK
    assert "refused to sign COMMIT" in capsys.readouterr().out


def test_an_export_closes_here_and_binds_there(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, there = tmp_path / "guard.json", made.moved(tmp_path / "there")
    status, told = run(capsys, "export", "--home", made.path, "--output", output, "--close")
    assert status == exits.OK and told["closed"]
    assert run(capsys, "status", "--home", made.path)[0] == exits.REFUSED
    assert run(capsys, "import", output, "--home", there)[0] == exits.OK
    guard = SqliteGuard(there / "guard.db", made.member.key)
    assert guard.inherited.bounds == made.reserved.bounds == guard.reservation.bounds
    guard.close()


def test_an_export_beside_its_journal_is_exact(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(made.home.journal, CHAIN, made.member.key)
    journal.commit([Guarded(1, (claim(Domain.PREPARE, 7, "a", (0, 3)),))])
    journal.close()
    output = tmp_path / "guard.json"
    assert run(capsys, "export", "--home", made.path, "--output", output)[0] == exits.OK
    assert json.loads(output.read_bytes())["bounds"] == {"PREPARE": {"slot": 7, "rank": [0, 3]}}


def test_an_export_beside_an_older_journal_is_as_wide_as_reserved(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = made.guard()
    for _ in range(4):
        guard.raise_to(guard.reservation.raised([claim(Domain.PREPARE, 70, "a", (0, 3))], 64))
    guard.close()
    journal = Journal(made.home.journal, CHAIN, made.member.key)
    journal.commit([Guarded(1, (claim(Domain.PREPARE, 7, "a", (0, 3)),))])
    journal.close()
    output = tmp_path / "guard.json"
    assert run(capsys, "export", "--home", made.path, "--output", output)[0] == exits.OK
    assert json.loads(output.read_bytes())["bounds"]["PREPARE"]["slot"] == 134


def test_another_keys_export_is_refused(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Made(tmp_path / "bob")
    output = tmp_path / "bob.json"
    assert run(capsys, "export", "--home", other.path, "--output", output)[0] == exits.OK
    status, told = run(capsys, "import", output, "--home", made.path)
    assert status == exits.CONFIG and "expected" in told


def test_a_running_replica_is_not_exported(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = made.guard()
    output = tmp_path / "guard.json"
    status, told = run(capsys, "export", "--home", made.path, "--output", output)
    assert status == exits.CONFIG and "is held" in told and not output.exists()
    guard.close()


def test_a_standbys_guard_is_made_where_the_settings_name_an_etcd(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made.home.guard.unlink()
    status, told = run(capsys, "standby", "--home", made.path)
    assert status == exits.CONFIG and "no `standby:`" in told and not made.home.guard.exists()
    with made.home.config.open("a") as config:
        config.write('standby: {etcd: ["127.0.0.1:2379"]}\n')
    assert run(capsys, "standby", "--home", made.path)[0] == exits.OK
    guard = made.guard()
    assert guard.second
    guard.close()
    status, told = run(capsys, "standby", "--home", made.path)
    assert status == exits.CONFIG and "never overwritten" in told


RESET = ("--sequence", 900, "--view", 4, "--cycle", 12, "--epoch", 1)


def test_a_lost_memory_is_told_anew_only_by_who_says_so(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made.home.guard.unlink()
    arguments = ["operator", "guard", "reset", "--home", str(made.path), *map(str, RESET)]
    assert main(arguments) == exits.USAGE
    assert not made.home.guard.exists()
    capsys.readouterr()
    status, _ = run(capsys, "reset", "--home", made.path, *RESET, "--yes-i-stopped-the-other")
    assert status == exits.OK
    guard = made.guard()
    assert guard.inherited.covers(claim(Domain.COMMIT, 900, "a", (1, 9)))
    assert not guard.inherited.covers(claim(Domain.COMMIT, 901, "a", (1, 0)))
    assert guard.inherited.covers(claim(Domain.VIEW_CHANGE, 0, "a", (1, 4)))
    assert guard.inherited.covers(claim(Domain.CERTIFICATE, 12, "a", (0, 3)))
    guard.close()


def test_a_damaged_memory_is_set_aside_not_deleted(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made.home.guard.write_bytes(b"damaged" * 1_000)
    status, told = run(capsys, "reset", "--home", made.path, *RESET, "--yes-i-stopped-the-other")
    assert status == exits.OK
    assert Path(told["set_aside"]).read_bytes() == b"damaged" * 1_000


def test_a_good_memory_is_kept_and_only_widened(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--sequence", 5, "--view", 0, "--cycle", 0, "--epoch", 0, "--yes-i-stopped-the-other")
    assert run(capsys, "reset", "--home", made.path, *few)[0] == exits.OK
    guard = made.guard()
    assert guard.reservation.bounds[Domain.PREPARE].slot == 71
    guard.close()


def test_what_is_inherited_becomes_the_cores_silence() -> None:
    assert silence(Reservation(), 1) == Inherited()
    assert silence(everything_through(900, 4, 12, 1), 1) == Inherited(900, 4)
    assert silence(everything_through(900, 4, 12, 1), 2) == Inherited(900, 0)
    bounds = {Domain.COMMIT: Bound(70, (1, 2)), Domain.VIEW_CHANGE: Bound(1, (1, 3))}
    assert silence(Reservation(1, bounds), 1) == Inherited(70, 3)
