"""A replica that runs for long holds a constant number of artifacts, and the right ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from chain.params import Params
from chain.records.phase import Phase
from coordinator.config import Home
from coordinator.service import retention
from tests.coordinator.service.grinding import GRINDING, EasyPool, Grinder
from tests.coordinator.service.mill import SNAPSHOT, Mill, running

CYCLES, MODELS = 2, 3


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the bounds are reached soon."""
    monkeypatch.setattr(retention, "CYCLES_KEPT", CYCLES)
    monkeypatch.setattr(retention, "SNAPSHOTS_KEPT", MODELS)


@asynccontextmanager
async def grinding(root: Path, params: Params = GRINDING) -> AsyncIterator[tuple[Mill, Grinder]]:
    """One replica, one miner; models all differ."""
    pool = EasyPool()
    async with (
        running(root, 1, params, pool=lambda: pool) as mill,
        aiohttp.ClientSession() as session,
    ):
        yield mill, Grinder(mill, session)


def held(mill: Mill) -> set[bytes]:
    """Digests of the files on the disk."""
    return {bytes.fromhex(path.name) for path in Home(mill.homes[0]).blobs.glob("*/*")}


def update(number: int) -> bytes:
    return b"update %d" % number


async def test_cycle_after_cycle_the_number_of_artifacts_stays(tmp_path: Path) -> None:
    async with grinding(tmp_path) as (mill, grinder):
        models = []
        for number in range(6):
            await grinder.cycle(update(number))
            models.append(mill.state().model)
            expected = {
                sha256(SNAPSHOT),
                *models[-MODELS:],
                *(sha256(update(past)) for past in range(number + 1)[-CYCLES:]),
            }
            await mill.until(lambda expected=expected: held(mill) == expected)
        assert len(set(models)) == 6
        counted = mill.services[0].stint._public.status()["blob_bytes"]
        blobs = Home(mill.homes[0]).blobs
        assert counted == sum(path.stat().st_size for path in blobs.glob("*/*"))


async def test_a_restart_sweeps_by_the_same_rule(tmp_path: Path) -> None:
    """Which updates were revealed is read from the log, so nothing has to be remembered."""
    async with grinding(tmp_path) as (mill, grinder):
        for number in range(3):
            await grinder.cycle(update(number))
        await mill.until(lambda: sha256(update(0)) not in held(mill))
        before = held(mill)
        await mill.stop(0)
        stray = Home(mill.homes[0]).blobs / "00" / f"{bytes(32).hex()}"
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"of nobody")
        await mill.start(0)
        await mill.until(lambda: held(mill) == before)


async def test_what_was_uploaded_and_never_revealed_goes_with_its_cycle(tmp_path: Path) -> None:
    """Until then it stays: it may be revealed at any time."""
    async with grinding(tmp_path, replace(GRINDING, reveal_ms=3_000)) as (mill, grinder):
        cycle = await grinder.work(update(0))
        await grinder.upload(update(0))
        service = mill.services[0]
        assert await service.stint._retention.sweep() == 0
        assert mill.state().phase == Phase.REVEAL and sha256(update(0)) in held(mill)
        await mill.until(lambda: mill.state().cycle > cycle)
        await mill.until(lambda: held(mill) == {sha256(SNAPSHOT)})
