"""Real miners in processes of their own work for a federation with the real cycle machine."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bft.codec.canonical import encode
from chain.records.phase import Phase
from chain.records.score_log import BlockFinal, Scored
from chain.validation import verify_certificate, verify_contribution
from miner.config import create_home
from tests.miner.fleet import Miners, until
from tests.miner.processes import children_of, runs
from tests.miner.small_federation import Doors, SmallFederation
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

HOUR_MS = 3_600_000


Mill = tuple[SmallFederation, Doors, Miners]


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[Mill]:
    federation = SmallFederation()
    federation.work()
    async with Doors(federation) as doors:
        miners = Miners(tmp_path, federation, doors.urls)
        try:
            yield federation, doors, miners
        finally:
            await asyncio.to_thread(miners.end)


async def test_two_miners_train_commit_reveal_and_the_winner_makes_the_block(mill: Mill) -> None:
    """Paper, V-A: the whole cycle, from registration to the block, and the next one after it."""
    federation, doors, miners = mill
    doors.doors[3].down = True
    miners.start("a")
    miners.start("b")
    await until(lambda: len(federation.state.registrations) == 2)
    federation.run_out(Phase.REGISTRATION)
    await until(lambda: federation.found(BlockFinal, 1))
    await until(lambda: federation.closed(2))

    scored = federation.found(Scored, 1)
    assert {row.miner for row in scored.rows} == set(miners.keys.values())
    assert all(row.tickets > 0 for row in scored.rows)
    winners = [name for name in miners.keys if miners.told(name, "won")]
    assert winners and federation.state.tip.height == 2
    for name in miners.keys:
        await until(lambda name=name: miners.told(name, "certificate"))
        document = json.loads((miners.home(name) / "certificates/000000000001.json").read_bytes())
        certificate = verify_certificate(
            bytes.fromhex(document["certificate"]),
            federation.state.federation_key.key,
            federation.genesis.chain_id,
        )
        (row,) = document["rows"]
        proof = [bytes.fromhex(sibling) for sibling in row["proof"]]
        score = verify_contribution(
            bytes.fromhex(row["row"]), row["index"], document["contributions"], proof, certificate
        )
        assert score.miner == miners.keys[name]
        assert encode(score).hex() == row["row"]

    for process in miners.processes.values():
        process.terminate()
    for process in miners.processes.values():
        await asyncio.to_thread(process.join, PATIENCE_S)
        assert process.exitcode == 0


async def test_a_miner_killed_after_its_commitment_reveals_it_when_it_is_back(mill: Mill) -> None:
    """Salt and update were on disk before the commitment was sent; kill -9 left no process."""
    federation, doors, miners = mill
    miners.start("a")
    miners.start("b")
    await until(lambda: len(federation.state.registrations) == 2)
    for door in doors.doors:
        door.down = True
    federation.run_out(Phase.REGISTRATION)
    miners.processes["b"].kill()
    for door in doors.doors:
        door.down = False
    await until(lambda: len(federation.state.commitments) == 1)
    (workshop,) = children_of(miners.processes["a"].pid)
    miners.processes["a"].kill()
    await until(lambda: not runs(workshop))
    await asyncio.to_thread(miners.processes["a"].join)
    federation.run_out(Phase.TRAINING)

    miners.start("a")
    await until(lambda: federation.found(Scored, 1))
    (row,) = federation.found(Scored, 1).rows
    assert row.miner == miners.keys["a"] and row.tickets > 0
    assert len(miners.told("a", "trained")) == 1
    await until(lambda: federation.found(BlockFinal, 1))


async def test_a_second_miner_in_the_same_home_is_refused(mill: Mill) -> None:
    """Two would train one unit and commit to different updates."""
    _, _, miners = mill
    miners.start("a")
    await until(lambda: miners.told("a", "started"))
    first = miners.processes["a"]
    miners.start("a")
    second = miners.processes["a"]
    await asyncio.to_thread(second.join, PATIENCE_S)
    assert second.exitcode == 3
    os.kill(first.pid, signal.SIGINT)
    await asyncio.to_thread(first.join, PATIENCE_S)
    assert first.exitcode == 0


async def test_a_miner_whose_clock_was_set_back_finds_numbers_that_are_not_used(
    mill: Mill,
) -> None:
    """At-most-once execution refuses old numbers; the miner leaps ahead and is not locked out."""
    federation, _, miners = mill
    key = miners.keys["a"] = create_home(miners.home("a"), federation.genesis)
    federation.mark(key, time.time_ns() // 1_000_000 + HOUR_MS)
    miners.start("a")
    await until(lambda: key in federation.state.registrations)
