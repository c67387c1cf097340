"""Large answers on their way out share one budget of bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bft.errors import Busy
from coordinator.service.outflow import BYTES_S_MIN, Outflow, push
from tests.patience import PATIENCE_S

BODY = bytes(8 * 1024 * 1024)  # more than sockets buffer


def test_the_budget_is_kept_and_given_back() -> None:
    outflow = Outflow(10)
    outflow.reserve(6)
    outflow.reserve(4)
    with pytest.raises(Busy, match="10 bytes"):
        outflow.reserve(1)
    outflow.release(4)
    outflow.reserve(4)
    assert outflow.under_way == 10


def test_one_answer_goes_out_whatever_its_size() -> None:
    outflow = Outflow(10)
    outflow.reserve(11)
    with pytest.raises(Busy):
        outflow.reserve(1)
    outflow.release(11)
    outflow.reserve(1)


@asynccontextmanager
async def server(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    """Its port."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def test_who_does_not_read_is_cut_off() -> None:
    outflow = Outflow(1, patience_s=-len(BODY) / (64 * 1024) + 0.2)
    done = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=BODY)
        await outflow.write(request, response, len(BODY))
        done.set()
        return response

    async with server(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(len(BODY))
        writer.close()


async def test_a_listener_that_does_not_read_is_cut_off() -> None:
    done = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with pytest.raises(ConnectionError):
            await push(request, response, BODY, -len(BODY) / BYTES_S_MIN + 0.2)
        done.set()
        return response

    async with server(handler) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
        writer.close()


async def test_who_reads_gets_it_whole() -> None:
    outflow = Outflow(1)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=BODY)
        await outflow.write(request, response, len(BODY))
        return response

    async with (
        server(handler) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        assert await answer.read() == BODY
