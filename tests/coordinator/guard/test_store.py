"""The bounds on disk: durable, of one key, in one process, and never guessed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bft.errors import ConfigError
from coordinator.guard.claims import Domain
from coordinator.guard.rules import Bound, Reservation
from coordinator.guard.store import REFUSALS_KEPT, GuardError, SqliteGuard
from coordinator.guard.text import TEXT_BYTES_MAX, read_memory, write_memory
from tests.coordinator.guard.messages import OWNER

RAISED = Reservation(3, {Domain.PREPARE: Bound(64, (1, 2)), Domain.BEACON: Bound(9, (0, 0))})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a new guard that is closed."""
    path = tmp_path / "guard.db"
    SqliteGuard(path, OWNER, create=True).close()
    return path


@pytest.fixture
def guard(path: Path) -> Iterator[SqliteGuard]:
    opened = SqliteGuard(path, OWNER)
    yield opened
    opened.close()


def test_what_was_raised_is_there_when_it_is_opened_again(path: Path) -> None:
    guard = SqliteGuard(path, OWNER)
    assert guard.reservation == Reservation()
    guard.raise_to(RAISED)
    assert guard.reservation == RAISED
    guard.close()
    again = SqliteGuard(path, OWNER)
    assert again.reservation == RAISED
    again.close()


def test_a_raise_outlives_a_kill(path: Path) -> None:
    """The process dies as soon as it has said that it is done."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from coordinator.guard.store import SqliteGuard\n"
        "from tests.coordinator.guard.messages import OWNER\n"
        "from tests.coordinator.guard.test_store import RAISED\n"
        "SqliteGuard(Path(sys.argv[1]), OWNER).raise_to(RAISED)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=os.getcwd(), check=False)
    assert done.returncode == -signal.SIGKILL
    guard = SqliteGuard(path, OWNER)
    assert guard.reservation == RAISED
    guard.close()


def test_two_processes_never_hold_one_guard(path: Path, guard: SqliteGuard) -> None:
    with pytest.raises(ConfigError, match="another process signs with this key"):
        SqliteGuard(path, OWNER)


def test_a_lost_guard_is_not_made_anew(path: Path) -> None:
    path.unlink()
    with pytest.raises(ConfigError, match="nobody knows what this key has signed"):
        SqliteGuard(path, OWNER)


def test_a_guard_is_not_overwritten(path: Path) -> None:
    with pytest.raises(ConfigError, match="never overwritten"):
        SqliteGuard(path, OWNER, create=True)


def test_a_guard_is_of_one_key(path: Path) -> None:
    with pytest.raises(ConfigError, match="expected"):
        SqliteGuard(path, b"\x03" + bytes(32))


def test_a_damaged_guard_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:4096], b"x" * len(whole)):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError):
            SqliteGuard(path, OWNER)
    path.write_bytes(whole)
    SqliteGuard(path, OWNER).close()


def test_an_inheritance_is_kept_and_raises_the_bounds(path: Path) -> None:
    guard = SqliteGuard(path, OWNER)
    guard.raise_to(Reservation(5, {Domain.PREPARE: Bound(10, (1, 9))}))
    guard.inherit(RAISED)
    guard.close()
    again = SqliteGuard(path, OWNER)
    assert again.inherited == RAISED
    assert again.reservation.number == 5
    assert again.reservation.bounds[Domain.PREPARE] == Bound(64, (1, 9))
    again.close()


def test_a_disk_that_refuses_raises_nothing(guard: SqliteGuard) -> None:
    guard._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(GuardError, match="nothing more was signed"):
        guard.raise_to(RAISED)
    assert guard.reservation == Reservation()


def test_refusals_are_counted_and_the_newest_kept(guard: SqliteGuard) -> None:
    guard._connection.execute("PRAGMA synchronous=OFF")
    for number in range(REFUSALS_KEPT + 5):
        guard.refuse("double-sign", f"refusal {number}")
    count, newest = guard.refusals()
    assert count == REFUSALS_KEPT + 5 and len(newest) == REFUSALS_KEPT
    assert newest[0].text == f"refusal {REFUSALS_KEPT + 4}"


def test_a_memory_comes_back_as_it_was_written() -> None:
    assert read_memory(write_memory(OWNER, RAISED), OWNER, "here") == RAISED


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b'"number":3', b'"number":-3', "number"),
        (b'"number":3', b'"number":3,"more":1', "unknown field"),
        (b"PREPARE", b"PREPARED", "'PREPARED' is unknown"),
        (b'"slot":64', b'"slot":9223372036854775808', "slot"),
        (b"[1,2]", b"[1,2,3]", "rank"),
        (b"guard/v1", b"guard/v2", "format"),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(before: bytes, after: bytes, told: str) -> None:
    data = write_memory(OWNER, RAISED)
    assert before in data
    with pytest.raises(ConfigError, match=told):
        read_memory(data.replace(before, after), OWNER, "here")


def test_a_memory_has_a_bound() -> None:
    with pytest.raises(ConfigError, match="longer than"):
        read_memory(b" " * (TEXT_BYTES_MAX + 1), OWNER, "here")
    with pytest.raises(ConfigError):
        read_memory(b"[" * TEXT_BYTES_MAX, OWNER, "here")
