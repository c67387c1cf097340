"""What is confined has no network and changes no file but where it may; training works so."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bft.crypto.hashing import sha256
from bft.errors import ConfigError, Unavailable
from chain.records.contribution import WorkUnit
from miner import sandbox
from miner.sandbox import confine, require_sandbox
from miner.training.jobs import digits_job
from miner.workshop import Workshop

pytestmark = pytest.mark.integration

REFUSED = 77


def confined(writable: list[Path], action: Callable[[], object]) -> int:
    """The exit status of a child that does this in a sandbox: 0, or REFUSED."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            confine(writable)
            action()
            code = 0
        except PermissionError:
            code = REFUSED
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_a_thread(action: Callable[[], object]) -> None:
    found: list[BaseException] = []

    def work() -> None:
        try:
            action()
        except PermissionError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if found:
        raise found[0]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "units").mkdir()
    (tmp_path / "key").write_bytes(b"secret")
    return tmp_path


def test_where_it_may_write_it_writes(room: Path) -> None:
    target = room / "units" / "update"

    def work() -> None:
        target.with_suffix(".new").write_bytes(b"update")
        os.replace(target.with_suffix(".new"), target)

    assert confined([room / "units"], work) == 0
    assert target.read_bytes() == b"update"


ACTIONS: dict[str, Callable[[Path], object]] = {
    "change a file": lambda room: (room / "key").write_bytes(b"x"),
    "shorten a file": lambda room: os.truncate(room / "key", 0),
    "remove a file": lambda room: (room / "key").unlink(),
    "make a file": lambda room: (room / "new").touch(),
    "make a directory": lambda room: (room / "new").mkdir(),
    "make a link": lambda room: (room / "new").symlink_to("key"),
    "move a file out": lambda room: os.rename(room / "units", room / "gone"),
    "a socket": lambda _: socket.socket(),
    "a datagram socket": lambda _: socket.socket(type=socket.SOCK_DGRAM),
    "a local socket": lambda _: socket.socket(socket.AF_UNIX),
    "a socket in a thread": lambda _: in_a_thread(socket.socket),
    "a file in a thread": lambda room: in_a_thread((room / "new").touch),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_all_else_is_refused(room: Path, action: str) -> None:
    assert confined([room / "units"], lambda: ACTIONS[action](room)) == REFUSED
    assert (room / "key").read_bytes() == b"secret"
    assert sorted(path.name for path in room.iterdir()) == ["key", "units"]


def test_this_machine_has_a_sandbox_and_asking_confines_nobody(room: Path) -> None:
    require_sandbox()
    (room / "new").touch()
    socket.socket().close()


def test_a_machine_without_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_ARCHITECTURES", {})
    with pytest.raises(ConfigError, match="no sandbox on this machine: no system call filter"):
        require_sandbox()


async def test_a_unit_trains_in_a_sandbox_to_the_same_bytes(tmp_path: Path) -> None:
    job, snapshot = digits_job()
    base = tmp_path / "base"
    base.write_bytes(snapshot)
    unit = WorkUnit(unit=4, miner=bytes(33), segment=1, chunk=4, steps=job.steps)
    digests = []
    for confines in (False, True):
        (tmp_path / str(confines)).mkdir()
        workshop = Workshop(job, watts_per_core=10, niceness=1, sandbox=confines)
        try:
            target = tmp_path / str(confines) / "update"
            digest, _, _ = await workshop.train(base, target, sha256(b"s"), unit, lambda _: None)
            assert sha256(target.read_bytes()) == digest
            digests.append(digest)
        finally:
            workshop.close()
    assert digests[0] == digests[1]


async def test_without_its_sandbox_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError("the kernel refuses")

    monkeypatch.setattr("miner.workshop.confine", refuse)
    job, snapshot = digits_job()
    (tmp_path / "base").write_bytes(snapshot)
    workshop = Workshop(job, watts_per_core=10, niceness=1, sandbox=True)
    try:
        with pytest.raises(Unavailable, match="the kernel refuses"):
            await workshop.measure(tmp_path / "base")
    finally:
        workshop.close()
