"""Four whole replicas on loopback: keys, agreement, restart, catch-up."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode
from bft.crypto import bls
from bft.errors import ConfigError
from chain.federation import api
from chain.federation.answers import Verdict
from chain.federation.client import FederationClient
from chain.params import MINIMAL
from chain.records.federation import FederationKey
from chain.records.phase import Phase
from chain.records.score_log import LogEntry
from coordinator.config import load_setup
from coordinator.service.app import ReplicaService
from tests.coordinator.service.mill import BUSY, Mill, Miner, NoPool, running

pytestmark = pytest.mark.integration


async def entries(mill: Mill, index: int) -> tuple[LogEntry, ...]:
    """The first entries of a replica's log, over HTTP."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{mill.urls[index]}{api.LOG}?from=0") as answer,
    ):
        return decode(tuple[LogEntry, ...], await answer.read())


async def test_four_replicas_make_a_key_that_no_dealer_ever_knew(tmp_path: Path) -> None:
    async with running(tmp_path, 4) as mill:
        await mill.until(lambda: all(mill.state(i).federation_key for i in range(4)))
        keys = [mill.state(index).federation_key for index in range(4)]
        assert keys == [keys[0]] * 4
        key = keys[0]
        assert isinstance(key, FederationKey)
        assert key.members == mill.genesis.members
        bls.verify(key.key, key.activation, key.message)


async def test_a_request_to_one_replica_is_executed_by_all(tmp_path: Path) -> None:
    async with running(tmp_path, 4) as mill:
        await mill.reach(Phase.REGISTRATION)
        miner = Miner(5, mill.genesis.chain_id)
        async with aiohttp.ClientSession() as session:
            url = mill.urls[2] + api.REQUESTS
            async with session.post(url, data=miner.register(1)) as answer:
                assert answer.status == 200
                assert (await answer.json())["code"] == "accepted"
        key = miner.key.public_key
        await mill.until(lambda: all(key in mill.state(i).registrations for i in range(4)))
        await mill.until(lambda: len({mill.state(i).log.root for i in range(4)}) == 1)


async def test_the_federations_client_gets_its_verdict_from_real_replicas(tmp_path: Path) -> None:
    async with running(tmp_path, 4) as mill, FederationClient(mill.genesis) as client:
        await mill.until(lambda: all(mill.state(i).federation_key for i in range(4)))
        miner = Miner(5, mill.genesis.chain_id)
        assert await client.submit(miner.register(1)) == Verdict("accepted", "")
        refused = await client.submit(miner.register(1))
        assert refused.code == "twice"
        assert await client.federation_key() == mill.state().federation_key


async def test_three_of_four_go_on_and_the_fourth_catches_up(tmp_path: Path) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        await mill.until(lambda: mill.state(3).federation_key)
        await mill.stop(3)
        cycle = mill.state().cycle
        await mill.until(lambda: mill.state().cycle > cycle + 2)
        await mill.start(3)
        await mill.until(lambda: mill.state(3).cycle > cycle + 2)
        shared = min(len(await entries(mill, 0)), len(await entries(mill, 3)))
        first, other = (await entries(mill, 0))[:shared], (await entries(mill, 3))[:shared]
        assert [entry.leaf for entry in first] == [entry.leaf for entry in other]


async def test_the_primary_may_stop_between_any_two_batches(tmp_path: Path) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        await mill.until(lambda: all(mill.state(i).federation_key for i in range(4)))
        cycle = mill.state(1).cycle
        await mill.stop(0)
        await mill.until(lambda: mill.state(1).cycle > cycle + 1)
        assert mill.services[1].runtime.replica.view > 0


async def test_all_replicas_may_stop_at_once_and_go_on_with_the_same_log(tmp_path: Path) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        await mill.until(lambda: all(mill.state(i).cycle > 2 for i in range(4)))
        before = await entries(mill, 1)
        key = mill.state(1).federation_key
        for index in range(4):
            await mill.stop(index)
        for index in range(4):
            await mill.start(index)
        cycle = mill.state(1).cycle
        await mill.until(lambda: all(mill.state(i).cycle > cycle for i in range(4)))
        assert mill.state(1).federation_key == key
        assert (await entries(mill, 1))[: len(before)] == before


async def test_a_checkpoint_is_saved_and_the_journal_pruned(tmp_path: Path) -> None:
    """One replica alone reaches a checkpoint soon; its restart begins there."""
    hasty = replace(MINIMAL, registration_ms=1)
    async with running(tmp_path, 1, hasty) as mill:
        interval = 128
        await mill.until(lambda: mill.state().sequence > interval + 10)
        await mill.stop(0)
        service = await ReplicaService.open(load_setup(mill.homes[0]), NoPool())
        try:
            assert service.runtime.replica.state.sequence > interval
        finally:
            await service.close()
        await mill.start(0)
        sequence = mill.state().sequence
        await mill.until(lambda: mill.state().sequence > sequence)


async def test_two_processes_of_one_replica_cannot_run(tmp_path: Path) -> None:
    async with running(tmp_path, 1) as mill:
        with pytest.raises(ConfigError, match="runs already"):
            await ReplicaService.open(load_setup(mill.homes[0]), NoPool())
        await mill.reach(Phase.REGISTRATION)  # and the first is not disturbed


async def test_a_taken_port_is_the_operators_error(tmp_path: Path) -> None:
    async with running(tmp_path, 1, start=0) as mill:
        host, port = mill.genesis.members[0].api.decode().split(":")
        server = await asyncio.start_server(lambda *_: None, host, int(port))
        with pytest.raises(ConfigError, match="cannot listen"):
            await ReplicaService.open(load_setup(mill.homes[0]), NoPool())
        server.close()
        await server.wait_closed()
        await mill.start(0)
        await mill.reach(Phase.REGISTRATION)
