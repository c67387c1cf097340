"""Storms at the HTTP doors of real processes: all is answered or cut off, nobody is harmed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from chain.federation import api
from tests.hostile import http
from tests.hostile.victim import PATIENCE_S, Victim, node, replica

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

AT_ONCE = 32
HASTY = "limits: {body_s: 2, head_s: 4, idle_s: 2}"
"""Patience short enough for a test, and longer than a busy machine holds an honest client up."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Victim]:
    """One replica for several storms; at its end it must have logged no bug."""
    async with replica(tmp_path_factory.mktemp("replica"), settings=HASTY) as (victim, _, _):
        yield victim


async def rain(victim: Victim, inputs: list[bytes]) -> list[bytes]:
    """All answers, to many at once, while an honest client is served."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(data: bytes) -> bytes:
        async with gate:
            return await victim.raw(data)

    async def honest() -> None:
        while True:
            assert await victim.answers()

    served = asyncio.create_task(honest())
    answers = await asyncio.gather(*map(one, inputs))
    assert not served.done(), served.exception()
    served.cancel()
    return answers


STORMS: dict[str, Callable[[], list[bytes]]] = {
    "methods": http.wrong_methods,
    "targets": http.odd_targets,
    "headers": http.odd_headers,
    "bodies": http.odd_bodies,
    "no http": http.no_http,
}


async def all_storms(victim: Victim) -> None:
    for name, make in STORMS.items():
        async with victim.storm():
            for sent, answer in zip(make(), await rain(victim, make()), strict=True):
                assert answer, f"{name}: no answer to {sent[:200]!r}"
                http.check_answer(answer)


async def test_a_replica_answers_every_request_and_none_brings_out_a_bug(hasty: Victim) -> None:
    await all_storms(hasty)


async def test_a_node_answers_every_request_and_none_brings_out_a_bug(tmp_path: Path) -> None:
    async with node(tmp_path) as victim:
        await all_storms(victim)


async def test_what_never_ends_is_given_up_after_its_time(hasty: Victim) -> None:
    async with hasty.storm():
        before = hasty.open_files
        for answer in await rain(hasty, http.unfinished() * 4):
            if answer:
                assert http.check_answer(answer) == 408
        assert await hasty.answers()
        assert hasty.open_files <= before + 2


async def test_connections_that_are_cut_leave_nothing_behind(hasty: Victim) -> None:
    async with hasty.storm():
        before = hasty.open_files
        for data in [*http.odd_bodies(), *http.unfinished()]:
            _, writer = await hasty.connect()
            writer.write(data[: len(data) * 2 // 3])
            writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            while hasty.open_files > before + 2:
                assert await hasty.answers()


async def test_whoever_asks_and_does_not_read_costs_a_bounded_amount(tmp_path: Path) -> None:
    """Pipelined requests, and artifacts that nobody takes: sockets fill, memory does not."""
    limits = "limits: {answers_bytes: 8000000, idle_s: 1}"
    async with replica(tmp_path, settings=limits, snapshot=bytes(4_000_000)) as (
        victim,
        genesis,
        _,
    ):
        async with victim.storm():
            writers = []
            path = api.BLOBS.format(digest=genesis.job.genesis_model.hex())
            for target, count in ((path, 1), (path, 50), (api.STATUS, 20_000)):
                for _ in range(20):
                    reader, writer = await victim.connect()
                    reader._transport.pause_reading()  # type: ignore[attr-defined]
                    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * count)
                    writers.append(writer)
            refused = await victim.raw(http.request("GET", path))
            assert http.check_answer(refused) in (200, 429)
            assert await victim.answers()
            for writer in writers:
                writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            while http.check_answer(await victim.raw(http.request("GET", path))) != 200:
                pass  # the budget comes back as soon as the replica has seen them go
