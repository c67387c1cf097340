"""Connections are bounded in number and patience, and those inside are not harmed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from chain.federation import api
from coordinator.config import Home
from coordinator.service.door import ADDRESS_SHARE, Door
from tests.coordinator.service.mill import STILL, Mill, running
from tests.patience import PATIENCE_S


@asynccontextmanager
async def limited(root: Path, limits: str) -> AsyncIterator[Mill]:
    async with running(root, 1, STILL, start=0) as mill:
        settings = Home(mill.homes[0]).config
        settings.write_text(settings.read_text() + f"limits: {{{limits}}}\n")
        await mill.start(0)
        yield mill


async def connect(mill: Mill) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = mill.genesis.members[0].api.decode().split(":")
    return await asyncio.open_connection(host, int(port))


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read(1) == b""
        except ConnectionError:
            return True


async def ask(mill: Mill) -> int:
    async with aiohttp.ClientSession() as session, session.get(mill.urls[0] + api.STATUS) as answer:
        return answer.status


async def test_who_says_nothing_is_sent_away(tmp_path: Path) -> None:
    async with limited(tmp_path, "head_s: 1") as mill:
        silent, silent_writer = await connect(mill)
        slow, slow_writer = await connect(mill)
        slow_writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n")
        blank, blank_writer = await connect(mill)
        blank_writer.write(b"\r\n" * 10)  # empty lines are no head
        assert await is_closed(silent)
        assert await is_closed(slow)
        assert await is_closed(blank)
        silent_writer.close()
        slow_writer.close()
        blank_writer.close()
        assert await ask(mill) == 200


async def test_a_further_head_that_does_not_end_closes_the_connection(tmp_path: Path) -> None:
    """Bytes that drip in do not buy more time: it counts from the answer before."""
    async with limited(tmp_path, "idle_s: 1") as mill:
        reader, writer = await connect(mill)
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/status HTTP/1.1\r\n")
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            ending = asyncio.create_task(reader.read())
            while not ending.done():
                writer.write(b"X: y\r\n")
                await asyncio.wait({ending}, timeout=0.1)
            await asyncio.gather(ending, return_exceptions=True)
        assert await ask(mill) == 200
        writer.close()


async def test_a_head_in_pieces_is_a_head(tmp_path: Path) -> None:
    async with limited(tmp_path, "head_s: 5") as mill:
        reader, writer = await connect(mill)
        for piece in (b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r", b"\n"):
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_full_door_refuses_and_lets_in_when_somebody_has_left(tmp_path: Path) -> None:
    async with limited(tmp_path, "connections: 2") as mill:
        _, first = await connect(mill)
        _, second = await connect(mill)
        refused, third = await connect(mill)
        assert await is_closed(refused)
        first.close()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    assert await ask(mill) == 200
                    break
                except aiohttp.ClientError:
                    continue
        second.close()
        third.close()


def test_one_address_cannot_hold_all_places() -> None:
    door = Door(asyncio.Protocol, 8, 1)
    share = 8 // ADDRESS_SHARE
    assert [door.enter("192.0.2.1") for _ in range(share + 1)] == [True] * share + [False]
    assert door.enter("192.0.2.2")
    door.leave("192.0.2.1")
    assert door.enter("192.0.2.1")


def test_behind_a_proxy_all_come_from_one_address() -> None:
    door = Door(asyncio.Protocol, 8, 1)
    assert [door.enter("127.0.0.1") for _ in range(9)] == [True] * 8 + [False]
