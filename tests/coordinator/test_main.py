"""A replica as a process: killed, stopped, without disk, without its files."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bft.codec.canonical import decode
from bft.ordering.proof import QuorumProof
from bft.pbft.core import Core
from chain.federation import api
from chain.records.score_log import LogEntry
from coordinator.config import Home
from coordinator.main import CONFIG, HALTED, OK
from tests.coordinator.service.mill import BUSY, Mill, running
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

LOOK_EVERY_S = 0.02
RUN = [sys.executable, "-m", "tests.coordinator.one_replica"]


class Process:
    """A replica in a process of its own, and what it says over HTTP."""

    def __init__(self, home: Path, url: str, file_bytes_max: int | None = None) -> None:
        def limit() -> None:
            if file_bytes_max is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))

        self._url = url
        self.process = subprocess.Popen([*RUN, str(home)], preexec_fn=limit)

    async def status(self) -> dict[str, Any] | None:
        """None while it does not answer."""
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(self._url + api.STATUS) as answer,
            ):
                told: dict[str, Any] = await answer.json()
                return told
        return None

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until its status fulfils `condition`; gives it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert self.process.poll() is None, "the replica has ended"
                told = await self.status()
                if told is not None and condition(told):
                    return told
                await asyncio.sleep(LOOK_EVERY_S)

    async def reach_cycle(self, cycle: int) -> dict[str, Any]:
        """Wait until it says that this cycle runs."""
        return await self.until(lambda told: told["cycle"] >= cycle)

    async def leaves_view(self, view: int) -> dict[str, Any]:
        """Wait until it says that a later view is installed."""
        return await self.until(lambda told: told["view"] > view)

    async def becomes(self, role: str) -> dict[str, Any]:
        """Wait until it says that this is its part."""
        return await self.until(lambda told: told["role"] == role)

    async def log(self, first: int = 0, url: str | None = None) -> tuple[LogEntry, ...]:
        """Its log from an entry on, or that of another replica."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url or self._url}{api.LOG}?from={first}") as answer,
        ):
            return decode(tuple[LogEntry, ...], await answer.read())

    async def catches_up(self, first: int) -> tuple[LogEntry, ...]:
        """Wait until its log has this entry: it may have taken a state first, and the log later."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert self.process.poll() is None, "the replica has ended"
                entries = await self.log(first)
                if entries:
                    return entries
                await asyncio.sleep(LOOK_EVERY_S)

    async def votes(self, index: int, first: int, url: str) -> None:
        """Wait until its signature stands under a decision at or after an entry of `url`'s log."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert self.process.poll() is None, "the replica has ended"
                entries = await self.log(first, url)
                if index in voters(entries):
                    return
                first = entries[-1].index + 1 if entries else first
                await asyncio.sleep(LOOK_EVERY_S)

    async def wait(self) -> int:
        """Its exit status."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.to_thread(self.process.wait)

    def kill(self) -> None:
        """kill -9, and collect it."""
        self.process.kill()
        self.process.wait()


@contextlib.asynccontextmanager
async def started(mill: Mill, index: int, **limits: int) -> AsyncIterator[Process]:
    process = Process(mill.homes[index], mill.urls[index], **limits)
    try:
        yield process
    finally:
        process.kill()


async def test_a_killed_replica_remembers_and_goes_on(tmp_path: Path) -> None:
    """kill -9 at any moment: what it had said stays said, what it had logged stays logged."""
    async with running(tmp_path, 1, BUSY, start=0) as mill:
        logs = []
        cycle = 0
        for _ in range(3):
            async with started(mill, 0) as process:
                cycle = (await process.reach_cycle(cycle + 2))["cycle"]
                logs.append(await process.log())
        async with started(mill, 0) as process:
            told = await process.reach_cycle(cycle + 1)
            final = await process.log()
        for log in logs:
            assert final[: len(log)] == log
        assert told["log_size"] >= len(logs[-1])


async def test_a_killed_replica_of_four_catches_up_with_the_others(tmp_path: Path) -> None:
    async with running(tmp_path, 4, BUSY, start=3) as mill:
        async with started(mill, 3) as process:
            await process.reach_cycle(2)
        cycle = mill.state().cycle
        await mill.until(lambda: mill.state().cycle > cycle)
        async with started(mill, 3) as process:
            await process.reach_cycle(cycle + 2)
            theirs = await process.log()
            os.kill(process.process.pid, signal.SIGTERM)
            assert await process.wait() == OK
        async with aiohttp.ClientSession() as session:
            url = f"{mill.urls[0]}{api.LOG}?from=0"
            async with session.get(url) as answer:
                ours = decode(tuple[LogEntry, ...], await answer.read())
        shared = min(len(ours), len(theirs))
        assert shared > 0
        assert [e.leaf for e in ours[:shared]] == [e.leaf for e in theirs[:shared]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    async with running(tmp_path, 1, BUSY, start=0) as mill, started(mill, 0) as process:
        await process.reach_cycle(1)
        os.kill(process.process.pid, number)
        assert await process.wait() == OK
        assert "stopped" in Home(mill.homes[0]).log.read_text()


async def test_a_full_disk_halts_it_and_what_was_durable_stays(tmp_path: Path) -> None:
    async with running(tmp_path, 1, BUSY, start=0) as mill:
        async with started(mill, 0, file_bytes_max=256 * 1024) as process:
            assert await process.wait() == HALTED
        told = Home(mill.homes[0]).log.read_text()
        assert "halted: " in told and "nothing unwritten was sent" in told
        async with started(mill, 0) as process:
            assert (await process.reach_cycle(2))["log_size"] > 0


async def test_a_wrong_home_is_the_operators_error(tmp_path: Path) -> None:
    async with running(tmp_path, 1, BUSY, start=0) as mill:
        Home(mill.homes[0]).identity_key.chmod(0o644)
        async with started(mill, 0) as process:
            assert await process.wait() == CONFIG
        assert "chmod 600" in Home(mill.homes[0]).log.read_text()


def restore(home: Path, backup: Path) -> None:
    shutil.rmtree(home)
    shutil.copytree(backup, home)


def wipe(home: Path, backup: Path) -> None:
    for file in home.glob("journal*"):
        file.unlink()


def lose(home: Path, backup: Path) -> None:
    for file in home.glob("journal.db*"):
        if file.suffix != ".born":
            file.unlink()


def voters(entries: tuple[LogEntry, ...]) -> set[int]:
    """Whose signatures stand under the decisions."""
    proofs = [decode(QuorumProof, entry.proof) for entry in entries if entry.proof]
    return {signature.replica for proof in proofs for signature in proof.signatures}


def promised(core: Core) -> int:
    """For how high a sequence it has a COMMIT of replica 3."""
    return core.peers[3].commit_sequence


def engines(mill: Mill) -> list[Core]:
    """Of the replicas that run in this process."""
    return [service.runtime.replica._consensus._core for service in mill.services.values()]


@pytest.mark.parametrize("forget", [restore, wipe, lose])
async def test_a_replica_that_has_forgotten_observes_and_never_votes(
    tmp_path: Path, forget: Callable[[Path, Path], None]
) -> None:
    """Scenario 77: yesterday's copy, a directory without its journal, or only the file gone."""
    async with running(tmp_path, 4, BUSY, start=3) as mill:
        home = Home(mill.homes[3])
        async with started(mill, 3) as process:
            await process.reach_cycle(2)
        backup = tmp_path / "yesterday"
        shutil.copytree(home.path, backup)
        # Nothing above it was proposed yet, so the copy holds no vote above it.
        known = max(core.last_decided + core.config.pipeline for core in engines(mill))
        async with started(mill, 3):
            await mill.until(lambda: all(c.peers[3].commit_sequence > known for c in engines(mill)))
        forget(home.path, backup)
        for _ in range(2):  # and it knows so when it is started again
            async with started(mill, 3) as process:
                told = await process.becomes("observer")
                assert "must not vote under its key again" in told["reason"]
                silent = mill.state().log.size
                await process.reach_cycle(mill.state().cycle + 2)
                theirs = await process.catches_up(silent)
                assert voters(theirs) == {0, 1, 2}
                ours = [entry.leaf for entry in await process.log(silent, mill.urls[0])]
                shared = min(len(ours), len(theirs))
                assert [entry.leaf for entry in theirs[:shared]] == ours[:shared]
        assert "must not vote under its key again" in home.log.read_text()
