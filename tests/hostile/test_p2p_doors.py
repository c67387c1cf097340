"""Storms at a node's peer port: garbage, lying lengths, floods, peers that never say a word."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from random import Random

import pytest
import pytest_asyncio

from chain.peers.neighbours import INBOUND_DEFAULT
from chain.records import peer_message as peers
from chain.records.peer_address import ADDRESSES_MAX, Announced, PeerAddress, encode_addrv2
from tests.chain.federation_fixture import CHAIN_ID, CREATED_S
from tests.fuzz.mutation import TOKENS
from tests.fuzz.peers import PAYLOADS
from tests.hostile.victim import PATIENCE_S, Victim, node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

GREETING = b"".join(
    peers.encode_frame(CHAIN_ID, name, PAYLOADS[name]) for name in ("version", "verack")
)
PING = peers.encode_frame(CHAIN_ID, "ping", peers.encode_nonce(0x1122334455667788))
PONG = peers.encode_frame(CHAIN_ID, "pong", peers.encode_nonce(0x1122334455667788))


def framed(command: bytes, length: int, checksum: bytes = bytes(4), payload: bytes = b"") -> bytes:
    """A frame with whatever stands in its header."""
    return (
        CHAIN_ID[:4]
        + command.ljust(12, b"\x00")
        + length.to_bytes(4, "little")
        + checksum
        + payload
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Victim]:
    """One node for all storms; at its end it must have logged no bug."""
    async with node(tmp_path_factory.mktemp("node")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def victim(process: Victim) -> AsyncIterator[Victim]:
    """An honest peer stays connected through the storm, and is heard after it."""
    reader, writer = await process.connect(process.p2p)
    writer.write(GREETING)
    async with process.storm():
        yield process
        writer.write(PING)
        async with asyncio.timeout(PATIENCE_S):
            await reader.readuntil(PONG)
    writer.transport.abort()


async def said_to(victim: Victim, data: bytes) -> bytes:
    """What comes back until the node hangs up."""
    reader, writer = await victim.connect(victim.p2p)
    found = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            try:
                writer.write(data)
                await writer.drain()
                while part := await reader.read(1 << 16):
                    found += part
            except ConnectionError:
                pass
    finally:
        writer.transport.abort()
    return found


BROKEN = (
    Random(1).randbytes(2_000),
    bytes(2_000),
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    framed(b"ping", 8, b"\x01\x02\x03\x04", bytes(8)),
    framed(b"ping", 9),
    framed(b"", 0),
    framed(b"\xff" * 12, 0),
    framed(b"block", 2**32 - 1),
    framed(b"unknown", peers.PAYLOAD_BYTES_MAX + 1),
    b"\x00" + GREETING,
    peers.encode_frame(CHAIN_ID, "verack", b""),
    GREETING + GREETING,
    *(
        GREETING + peers.encode_frame(CHAIN_ID, name, token)
        for name in (
            "inv",
            "getdata",
            "getcerthdrs",
            "certheaders",
            "finality",
            "evidence",
            "block",
            "addrv2",
            "getaddr",
            "sendaddrv2",
        )
        for token in (TOKENS[40], b"\xfd\xff\xff" + bytes(50))
    ),
)
"""After each of these the node hangs up."""


async def test_garbage_and_lying_lengths_cost_the_connection_and_nothing_else(
    victim: Victim,
) -> None:
    await asyncio.gather(*(said_to(victim, data) for data in BROKEN * 3))


async def test_a_flood_of_good_messages_is_cut_off(victim: Victim) -> None:
    floods = [
        GREETING + peers.encode_frame(CHAIN_ID, name, PAYLOADS[name]) * 20_000
        for name in ("ping", "inv", "getdata", "getcerthdrs", "finality", "block")
    ]
    floods.append(GREETING + peers.encode_frame(CHAIN_ID, "unknown", bytes(1_000)) * 20_000)
    await asyncio.gather(*(said_to(victim, flood) for flood in floods))


def nowhere(message: int) -> bytes:
    """An addrv2 full of loopback addresses where nobody listens, others in each message."""
    lines = [
        Announced(
            time=CREATED_S,
            services=peers.SERVICES,
            address=PeerAddress(IPv4Address(f"127.77.{message % 250}.{n % 250 + 1}"), 2000 + n),
        )
        for n in range(ADDRESSES_MAX)
    ]
    return peers.encode_frame(CHAIN_ID, "addrv2", encode_addrv2(lines))


async def test_a_flood_of_addresses_is_cut_off(victim: Victim) -> None:
    greeting = b"".join(
        peers.encode_frame(CHAIN_ID, name, PAYLOADS[name])
        for name in ("version", "sendaddrv2", "verack", "getaddr")
    )
    full = b"".join(nowhere(message) for message in range(3)) * 25
    short = peers.encode_frame(CHAIN_ID, "addrv2", encode_addrv2([])) * 20_000
    asking = peers.encode_frame(CHAIN_ID, "getaddr", b"") * 20_000
    await asyncio.gather(*(said_to(victim, greeting + flood) for flood in (full, short, asking)))


async def test_announced_megabytes_that_never_come_are_not_held_and_hold_nobody_up(
    victim: Victim,
) -> None:
    before = victim.open_files
    writers = []
    for _ in range(60):
        _, writer = await victim.connect(victim.p2p)
        writer.write(GREETING + framed(b"unknown", peers.PAYLOAD_BYTES_MAX, payload=bytes(1_000)))
        writers.append(writer)
    assert await victim.answers()
    for writer in writers:
        writer.transport.abort()
    for _ in range(3):
        assert await victim.answers()
    assert victim.open_files <= before + 2


async def test_no_more_strangers_are_let_in_than_there_are_places(victim: Victim) -> None:
    """Whoever has a merit stays in, as the honest peer does; so many others are hung up on."""
    readers = []
    writers = []
    for _ in range(200):
        reader, writer = await victim.connect(victim.p2p)
        readers.append(reader)
        writers.append(writer)
    refused = asyncio.as_completed([reader.read(1) for reader in readers])
    async with asyncio.timeout(PATIENCE_S):
        for _, ended in zip(range(200 - INBOUND_DEFAULT), refused, strict=False):
            assert await ended == b""
    for writer in writers:
        writer.transport.abort()
