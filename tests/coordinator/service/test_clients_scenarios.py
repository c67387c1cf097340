"""A client that restarts, loses answers, meets liars or laggards: scenarios 56 to 60.

Real replicas on loopback; a replica that lies or stays mute is a server that says what it likes.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bft.crypto.hashing import sha256
from chain.federation import api
from chain.federation.answers import ACCEPTED, Verdict
from chain.federation.client import FederationClient
from chain.receipts import verify_receipt
from chain.records.federation import FederationKey
from tests.chain.federation.replicas import NOT_FOUND, Replica, Replicas
from tests.coordinator.service.mill import STILL, Mill, Miner, running

pytestmark = pytest.mark.integration

LIE = json.dumps({"code": "full", "text": "in view 999 everything is full"}).encode()


async def ready(mill: Mill) -> Miner:
    """A miner whose registration is open."""
    up = sorted(mill.services)
    await mill.until(lambda: all(mill.state(i).federation_key for i in up))
    return Miner(5, mill.genesis.chain_id)


async def post(url: str, sealed: bytes, wait_ms: int) -> tuple[int, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}{api.REQUESTS}?wait_ms={wait_ms}", data=sealed) as answer,
    ):
        return answer.status, await answer.json()


@asynccontextmanager
async def one_other(mill: Mill, replica: Replica) -> AsyncIterator[FederationClient]:
    """A client that finds `replica` where R3 should be."""
    urls = [*mill.urls[:3], replica.url]
    async with FederationClient(mill.genesis, urls) as client:
        yield client


async def test_a_client_that_restarts_and_sends_again_gets_the_answer_of_the_first_time(
    tmp_path: Path,
) -> None:
    """Scenario 56: it knows its request's bytes, and nothing of what became of it."""
    async with running(tmp_path, 4) as mill:
        miner = await ready(mill)
        sealed = miner.register(1)
        await post(mill.urls[2], sealed, 0)
        key = miner.key.public_key
        await mill.until(lambda: all(key in mill.state(i).registrations for i in range(4)))
        size = mill.state().log.size
        async with FederationClient(mill.genesis) as restarted:
            assert await restarted.submit(sealed) == Verdict(ACCEPTED, "")
        assert mill.state().log.size == size, "it was not even ordered again"


async def test_lost_answers_are_asked_for_again_and_nothing_is_executed_twice(
    tmp_path: Path,
) -> None:
    """Scenario 58: every answer is lost, five times; then one comes through."""
    async with running(tmp_path, 4) as mill:
        miner = await ready(mill)
        sealed = miner.register(1)
        for turn in range(5):
            await post(mill.urls[turn % 4], sealed, 0)
        status, answer = await post(mill.urls[3], sealed, 5_000)
        assert (status, answer["code"]) == (200, ACCEPTED)
        second = miner.register(1)
        assert (await post(mill.urls[0], second, 5_000))[1]["code"] == "twice"
        assert list(mill.state().registrations) == [miner.key.public_key]


async def test_a_wrong_reply_that_comes_first_convinces_nobody(tmp_path: Path) -> None:
    """Scenario 57: R3 answers at once, wrongly, and speaks of view 999."""

    def liar(_: web.Request, __: bytes) -> tuple[int, bytes]:
        return 200, LIE

    async with running(tmp_path, 4) as mill, Replicas(1) as others:
        others.all[0].answers[f"POST {api.REQUESTS}"] = liar
        miner = await ready(mill)
        async with one_other(mill, others.all[0]) as client:
            for number in range(3):
                other = Miner(20 + number, mill.genesis.chain_id)
                assert await client.submit(other.register(1)) == Verdict(ACCEPTED, "")
            assert await client.submit(miner.register(1)) == Verdict(ACCEPTED, "")
            assert (await client.submit(miner.register(1))).code == "twice"
            sealed = miner.register(1)
            receipt = verify_receipt(await client.receipt(sealed), mill.genesis.membership)
            assert receipt.request == sha256(sealed)
            assert receipt.outcomes == (b"twice",)


async def test_reads_and_requests_complete_with_a_mute_replica_and_a_laggard(
    tmp_path: Path,
) -> None:
    """Scenario 59: one server takes connections and says nothing, R2 starts late."""
    async with running(tmp_path, 4) as mill, Replicas(1) as others:
        others.all[0].silent = True
        miner = await ready(mill)
        await mill.stop(2)
        async with one_other(mill, others.all[0]) as client:
            accepted = await client.submit(miner.register(1))
            await mill.start(2)
            assert isinstance(await client.federation_key(), FederationKey)
            assert accepted == Verdict(ACCEPTED, "")
        key = miner.key.public_key
        await mill.until(lambda: all(key in mill.state(i).registrations for i in range(4)))


async def test_a_read_after_an_acknowledged_write_is_true_or_not_there_yet(tmp_path: Path) -> None:
    """Scenario 60: R3 lies that there is nothing; the write was acknowledged by f + 1.

    What clients read is made once and never changes, so a stale read can only be "not yet"; it is
    never another value, and asking again for the write itself gives its verdict.
    """
    async with running(tmp_path, 4, STILL) as mill, Replicas(1) as others:
        others.all[0].answers[f"GET {api.FEDERATION_KEY}"] = NOT_FOUND
        others.all[0].answers[f"POST {api.REQUESTS}"] = NOT_FOUND
        miner = await ready(mill)
        sealed = miner.register(1)
        async with one_other(mill, others.all[0]) as client:
            assert await client.submit(sealed) == Verdict(ACCEPTED, "")
            for _ in range(5):
                assert await client.submit(sealed) == Verdict(ACCEPTED, "")
                assert await client.federation_key() == mill.state().federation_key
