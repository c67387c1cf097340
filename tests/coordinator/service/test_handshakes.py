"""Who connects to the link port and does not shake hands holds a place only for a while."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chain.params import MINIMAL
from coordinator.config import Home
from coordinator.service import tls
from coordinator.service.handshakes import Handshakes
from tests.patience import PATIENCE_S
from tests.ports import claim_ports, federation_here
from tests.sample import JOB, SNAPSHOT


class Place:
    """A server's and a member's side of TLS, and a port."""

    def __init__(self, root: Path) -> None:
        genesis, homes = federation_here(root, 2, MINIMAL, JOB, SNAPSHOT)
        server, client = Home(homes[0]), Home(homes[1])
        self.server = tls.server_context(genesis, server.tls_certificate, server.tls_key)
        self.client = tls.client_context(genesis, 0, client.tls_certificate, client.tls_key)
        (self.port,) = claim_ports(1)

    @asynccontextmanager
    async def listening(self, places: int, patience_s: float) -> AsyncIterator[Handshakes]:
        found = Handshakes(Greeter, self.server, places, patience_s)
        await found.listen(f"127.0.0.1:{self.port}")
        try:
            yield found
        finally:
            await found.stop()

    async def connect(
        self, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)


class Greeter(asyncio.Protocol):
    """Says hello to whoever shook hands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def until_under_way(found: Handshakes, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while found.under_way != count:  # noqa: ASYNC110 - sockets tell nobody but their owners
            await asyncio.sleep(0.01)


async def test_a_handshake_that_does_not_end_is_given_up(place: Place) -> None:
    async with place.listening(places=2, patience_s=0.1) as found:
        reader, writer = await place.connect()
        assert await ended(reader)
        await until_under_way(found, 0)
        writer.close()


async def test_what_is_no_handshake_harms_nobody(place: Place) -> None:
    async with place.listening(places=2, patience_s=PATIENCE_S) as found:
        garbage, garbage_writer = await place.connect()
        garbage_writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await garbage.read()  # at most an alert, then the end
        await until_under_way(found, 0)
        reader, writer = await place.connect(place.client)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readexactly(5) == b"hello"
        garbage_writer.close()
        writer.close()


async def test_at_the_bound_nobody_gives_way_and_past_it_the_oldest_does(place: Place) -> None:
    async with place.listening(places=3, patience_s=PATIENCE_S) as found:
        silent = [await place.connect() for _ in range(3)]
        await until_under_way(found, 3)
        assert not any(reader.at_eof() for reader, _ in silent)
        reader, writer = await place.connect(place.client)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readexactly(5) == b"hello"
        assert await ended(silent[0][0])
        assert not any(reader.at_eof() for reader, _ in silent[1:])
        for each in (writer, *(writer for _, writer in silent)):
            each.close()


async def test_a_taken_port_is_told(place: Place) -> None:
    async with place.listening(places=3, patience_s=PATIENCE_S):
        second = Handshakes(Greeter, place.server)
        with pytest.raises(OSError, match="in use"):
            await second.listen(f"127.0.0.1:{place.port}")
        await second.stop()
