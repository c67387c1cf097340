"""A replica whose registration is open, and one whose reveals are."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from chain.records.phase import Phase
from tests.coordinator.service.mill import PATIENT, STILL, Miner, running
from tests.coordinator.service.trial import Trial


@pytest.fixture
async def trial(tmp_path: Path) -> AsyncIterator[Trial]:
    """Registration stays open."""
    async with running(tmp_path, 1, STILL) as mill, aiohttp.ClientSession() as session:
        await mill.reach(Phase.REGISTRATION)
        yield Trial(mill, Miner(7, mill.genesis.chain_id), session)


@pytest.fixture
async def revealing(tmp_path: Path) -> AsyncIterator[Trial]:
    """Reveals are open, and the miner has one committed unit."""
    async with running(tmp_path, 1, PATIENT) as mill, aiohttp.ClientSession() as session:
        found = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        await found.reveal_phase()
        yield found
