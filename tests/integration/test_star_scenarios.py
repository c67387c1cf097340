"""Scenarios 31, 37, 46, 66, 72 and 76 with processes: kill -9, SIGSTOP, a full disk.

Four replicas with their own homes, TLS, journals and HTTP doors; nobody mines, so that cycle after
cycle closes empty and something is ordered all the time.  `GRISTMILL_STOPPED_S=300` gives scenario
66 its full five minutes.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bft.codec.canonical import decode
from chain.federation import api
from chain.records.score_log import LogEntry
from coordinator.config import Home
from coordinator.main import HALTED
from tests.coordinator.service.mill import BUSY, Mill, running
from tests.coordinator.test_main import Process
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STOPPED_S = int(os.environ.get("GRISTMILL_STOPPED_S", "10"))
PEER_MEMORY_BYTES_MAX = 200 * 1024 * 1024
ROOM_BYTES = 128 * 1024  # on a disk that is nearly full


class Fleet:
    """The processes of one federation."""

    def __init__(self, mill: Mill) -> None:
        self.mill = mill
        self.up: dict[int, Process] = {}

    def start(self, *indices: int, file_bytes_max: int | None = None) -> None:
        for index in indices:
            home, url = self.mill.homes[index], self.mill.urls[index]
            self.up[index] = Process(home, url, file_bytes_max)

    def kill(self, *indices: int) -> None:
        """kill -9, all in one breath."""
        for index in indices:
            self.up[index].process.kill()
        for index in indices:
            self.up.pop(index).kill()

    def signal(self, index: int, number: signal.Signals) -> None:
        os.kill(self.up[index].process.pid, number)

    async def beyond(self, cycle: int, *indices: int) -> int:
        """Wait until all of these say that a later cycle runs; the lowest that they say."""
        told = [await self.up[index].reach_cycle(cycle + 1) for index in indices]
        return min(int(status["cycle"]) for status in told)

    async def log(self, index: int) -> list[bytes]:
        """The first leaves of a replica's log."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.mill.urls[index]}{api.LOG}?from=0") as answer,
        ):
            entries = decode(tuple[LogEntry, ...], await answer.read())
        return [entry.leaf for entry in entries]

    async def agree(self) -> None:
        """Nobody's log contradicts another's."""
        logs = [await self.log(index) for index in sorted(self.up)]
        shared = min(len(log) for log in logs)
        assert shared > 0
        assert all(log[:shared] == logs[0][:shared] for log in logs)


@contextlib.asynccontextmanager
async def fleet(root: Path, *indices: int) -> AsyncIterator[Fleet]:
    async with running(root, 4, BUSY, start=0) as mill:
        ships = Fleet(mill)
        ships.start(*indices)
        try:
            yield ships
        finally:
            ships.kill(*list(ships.up))


async def test_kill_9_of_the_primary_costs_one_view_change(tmp_path: Path) -> None:
    """Scenario 31: the others go on, what was logged stays, and the dead one comes back."""
    async with fleet(tmp_path, 0, 1, 2, 3) as ships:
        cycle = await ships.beyond(1, 0, 1, 2, 3)
        before = await ships.log(0)
        ships.kill(0)
        await ships.up[1].leaves_view(0)
        cycle = await ships.beyond(cycle + 1, 1, 2, 3)
        assert (await ships.log(1))[: len(before)] == before
        ships.start(0)
        await ships.beyond(cycle + 1, 0, 1, 2, 3)
        await ships.agree()


async def test_half_of_them_killed_and_restarted_later_need_no_operator(tmp_path: Path) -> None:
    """Scenario 37: two of four are down, the others wait as long as it takes."""
    async with fleet(tmp_path, 0, 1, 2, 3) as ships:
        cycle = await ships.beyond(1, 0, 1, 2, 3)
        ships.kill(2, 3)
        still = await ships.up[0].status()
        assert still is not None
        await asyncio.sleep(10)  # longer than request and view-change timeout together
        ships.start(2, 3)
        await ships.beyond(max(cycle, int(still["cycle"])) + 1, 0, 1, 2, 3)
        await ships.agree()


async def test_kill_9_of_all_while_they_change_the_view(tmp_path: Path) -> None:
    """Scenario 46: the primary dies, the rest in the middle of replacing it."""
    async with fleet(tmp_path, 0, 1, 2, 3) as ships:
        cycle = await ships.beyond(1, 0, 1, 2, 3)
        ships.kill(0)
        for pause_s in (0.5, 3.0, 4.5):
            await asyncio.sleep(pause_s)
            ships.kill(1, 2, 3)
            ships.start(3, 1, 2)
        cycle = await ships.beyond(cycle + 1, 1, 2, 3)
        ships.start(0)
        await ships.beyond(cycle + 1, 0, 1, 2, 3)
        await ships.agree()


def resident_bytes(pid: int) -> int:
    """What a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_a_stopped_process_comes_back(tmp_path: Path) -> None:
    """Scenario 66: SIGSTOP, a long while, SIGCONT; the others' memory stays bounded."""
    async with fleet(tmp_path, 0, 1, 2, 3) as ships:
        cycle = await ships.beyond(1, 0, 1, 2, 3)
        ships.signal(3, signal.SIGSTOP)
        began = [resident_bytes(ships.up[index].process.pid) for index in (0, 1, 2)]
        await asyncio.sleep(STOPPED_S)
        grown = [resident_bytes(ships.up[index].process.pid) for index in (0, 1, 2)]
        ships.signal(3, signal.SIGCONT)
        cycle = await ships.beyond(cycle + 1, 0, 1, 2)
        async with asyncio.timeout(PATIENCE_S):
            await ships.beyond(cycle, 3)
        await ships.agree()
        assert all(
            after - before < PEER_MEMORY_BYTES_MAX
            for before, after in zip(began, grown, strict=True)
        )


async def test_kill_9_at_any_moment_of_anybody(tmp_path: Path) -> None:
    """Scenario 72: a dozen kills at moments that nobody chose; nothing contradicts anything."""
    rng = random.Random(72)
    async with fleet(tmp_path, 0, 1, 2, 3) as ships:
        cycle = await ships.beyond(1, 0, 1, 2, 3)
        for _ in range(12):
            victim = rng.randrange(4)
            await asyncio.sleep(rng.random())
            ships.kill(victim)
            ships.start(victim)
        await ships.beyond(cycle + 1, 0, 1, 2, 3)
        await ships.agree()


async def test_a_replica_whose_disk_is_full_halts_and_the_others_go_on(tmp_path: Path) -> None:
    """Scenario 76: no message for what was not written; with room again it comes back."""
    async with fleet(tmp_path, 0, 1, 2, 3) as ships:
        await ships.beyond(1, 0, 1, 2, 3)  # the founding would wait for it
        ships.kill(3)
        written = max(file.stat().st_size for file in ships.mill.homes[3].glob("journal.db*"))
        ships.start(3, file_bytes_max=written + ROOM_BYTES)
        assert await ships.up[3].wait() == HALTED
        ships.up.pop(3)
        told = Home(ships.mill.homes[3]).log.read_text()
        assert "halted: " in told and "nothing unwritten was sent" in told
        status = await ships.up[0].status()
        assert status is not None
        cycle = await ships.beyond(int(status["cycle"]) + 1, 0, 1, 2)
        ships.start(3)
        await ships.beyond(cycle + 1, 0, 1, 2, 3)
        await ships.agree()
