"""A process tells its service manager what sd_notify(3) asks for, over a real socket."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bft.errors import ConfigError
from chain.service_manager import ServiceManager, at_work
from tests.patience import PATIENCE_S


@contextlib.contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """systemd's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(PATIENCE_S)
        yield listener


async def heard(listener: socket.socket) -> str:
    return (await asyncio.to_thread(listener.recv, 64)).decode()


async def test_ready_then_signs_of_life_then_stopping(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}
    with manager(path) as listener:
        async with at_work(environ):
            assert [await heard(listener) for _ in range(4)] == ["READY=1", *3 * ["WATCHDOG=1"]]
        while (last := await heard(listener)) == "WATCHDOG=1":
            pass  # beaten between
        assert last == "STOPPING=1"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(64)


async def test_an_abstract_socket_is_one_too(tmp_path: Path) -> None:
    name = f"gristmill-{os.getpid()}-{tmp_path.name}"
    with manager(f"\0{name}") as listener:
        async with at_work({"NOTIFY_SOCKET": f"@{name}"}):
            assert await heard(listener) == "READY=1"
        assert await heard(listener) == "STOPPING=1"


async def test_nobody_is_told_where_nobody_asked_and_nobody_is_waited_for(tmp_path: Path) -> None:
    async with at_work({}):
        pass
    async with at_work({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000"}):
        await asyncio.sleep(0)


def test_a_period_for_another_process_is_not_ours() -> None:
    told = {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "17"}
    assert ServiceManager(told, 17).period_s == 5
    assert ServiceManager(told, 18).period_s is None


@pytest.mark.parametrize(
    "environ", [{"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "@"}, {"WATCHDOG_USEC": "soon"}]
)
def test_what_systemd_does_not_say_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        ServiceManager(environ, 1)
