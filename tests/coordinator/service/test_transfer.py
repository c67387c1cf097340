"""State transfer between whole replicas on loopback: files, TLS, HTTP and the auditor's view."""

import asyncio
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode
from bft.pbft.config import Config
from chain.federation import api
from chain.records.score_log import LogEntry
from coordinator.service import stint
from tests.coordinator.service.mill import BUSY, Mill, running

pytestmark = pytest.mark.integration

OFTEN = replace(BUSY, checkpoint_interval=8, window=16)


@pytest.fixture(autouse=True)
def _short_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are taken after a few batches, so that a test need not wait for thousands."""
    short = partial(Config, history_batches_max=16)
    monkeypatch.setattr(stint, "Config", short)


async def whole_log(mill: Mill, index: int) -> tuple[LogEntry, ...]:
    found: list[LogEntry] = []
    async with aiohttp.ClientSession() as session:
        while True:
            url = f"{mill.urls[index]}{api.LOG}?from={len(found)}"
            async with session.get(url) as answer:
                assert answer.status == 200
                entries = decode(tuple[LogEntry, ...], await answer.read())
            if not entries:
                return tuple(found)
            found += entries


async def test_a_replica_that_was_away_for_long_takes_a_state_and_then_the_log(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, 4, OFTEN) as mill:
        await mill.until(lambda: mill.state(3).federation_key)
        await mill.stop(3)
        left = mill.state().sequence
        await mill.until(lambda: mill.state().sequence > left + 64)
        await mill.start(3)
        late = mill.services[3].runtime.replica
        await mill.until(lambda: late.log_missing is not None)
        assert late.state.sequence > left + 32
        first, _ = late.log_missing or (0, 0)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{mill.urls[3]}{api.LOG}?from={first}") as answer,
        ):
            assert answer.status in (200, 503)  # 200 only if that entry has come meanwhile
        await mill.until(lambda: late.log_missing is None)
        ours, theirs = await asyncio.gather(whole_log(mill, 0), whole_log(mill, 3))
        shared = min(len(ours), len(theirs))
        assert [entry.leaf for entry in ours[:shared]] == [entry.leaf for entry in theirs[:shared]]
        await mill.stop(3)
        await mill.start(3)  # and its journal is as good as any
        sequence = mill.state(3).sequence
        await mill.until(lambda: mill.state(3).sequence > sequence + 8)
