"""What a stock Bitcoin Core asks of a node, and what it gets: final headers and their blocks."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from bft.codec.canonical import encode
from bft.crypto import bls
from bft.errors import DecodeError
from chain.gossip_events import BlockSubmitted, FinalitySubmitted
from chain.node.config import NodeConfig
from chain.node.service import NodeService
from chain.records.block import HEADER_BYTES, decode_block
from chain.records.certificate import finality_message
from chain.records.core_message import (
    GETHEADERS_BYTES_MAX,
    HEADERS_BYTES_MAX,
    HEADERS_MAX,
    LOCATOR_MAX,
    GetHeaders,
    decode_getheaders,
    decode_headers,
    encode_getheaders,
    encode_headers,
)
from chain.records.evidence import Finality
from tests.chain.federation_fixture import FEDERATION_KEY, FEDERATION_SECRET
from tests.chain.signet_fixture import OURS, PROFILE, START, golden
from tests.patience import PATIENCE_S

BLOCK = decode_block(golden())
BLOCK_0 = START.hash


def _double(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


MAGIC = _double(bytes([len(PROFILE.challenge)]) + PROFILE.challenge)[:4]  # as BIP 325 has it


class Stock:
    """As much of Bitcoin Core as asks a node for its chain, written from Core's documentation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, command: str, payload: bytes = b"") -> None:
        head = MAGIC + command.encode().ljust(12, b"\0") + struct.pack("<I", len(payload))
        self._writer.write(head + _double(payload)[:4] + payload)

    async def hear(self, command: str) -> bytes:
        """The payload of the next message of this kind; pings are answered, others passed over."""
        while True:
            head = await self._reader.readexactly(24)
            assert head[:4] == MAGIC
            payload = await self._reader.readexactly(struct.unpack("<I", head[16:20])[0])
            name = head[4:16].rstrip(b"\0").decode()
            if name == "ping":
                self.send("pong", payload)
            if name == command:
                return payload

    async def greet(self) -> None:
        """As Core 31 does: what it says before verack and after it."""
        agent = b"/Satoshi:31.99.0/"
        self.send(
            "version",
            struct.pack("<iQq", 70016, 0xC09, 1_800_000_000)
            + bytes(52)
            + struct.pack("<Q", 77)
            + bytes([len(agent)])
            + agent
            + struct.pack("<i?", 0, True),
        )
        for command in ("wtxidrelay", "sendaddrv2", "sendtxrcncl"):
            self.send(command)
        await self.hear("verack")
        self.send("verack")
        self.send("sendcmpct", b"\0" + struct.pack("<Q", 2))
        self.send("feefilter", struct.pack("<q", 1000))
        self.send("getaddr")

    async def headers(self, *locator: bytes) -> list[bytes]:
        """What getheaders gives."""
        listed = bytes([len(locator)]) + b"".join(locator)
        self.send("getheaders", struct.pack("<I", 70016) + listed + bytes(32))
        payload = await self.hear("headers")
        size = HEADER_BYTES + 1
        assert len(payload) == 1 + size * payload[0]
        return [payload[1 + at * size : at * size + size] for at in range(payload[0])]

    async def block(self, wanted: bytes) -> bytes:
        """What getdata gives for a witness block."""
        self.send("getdata", b"\x01" + struct.pack("<I", 2 | 1 << 30) + wanted)
        return await self.hear("block")


@asynccontextmanager
async def following(home: Path) -> AsyncIterator[tuple[NodeService, Stock]]:
    """A node of the signet, and somebody like Core at its door."""
    genesis = home / "genesis.bin"
    genesis.write_bytes(encode(OURS))
    config = NodeConfig(
        genesis=str(genesis),
        home=str(home),
        federation_key=FEDERATION_KEY.hex(),
        p2p="127.0.0.1:0",
        http="127.0.0.1:0",
    )
    node = NodeService(config)
    async with asyncio.timeout(PATIENCE_S):
        await node.start()
        try:
            host, _, port = node.p2p_endpoint.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                stock = Stock(reader, writer)
                await stock.greet()
                yield node, stock
            finally:
                writer.close()
        finally:
            await node.stop()


def finality() -> Finality:
    message = finality_message(OURS.chain_id, 1, BLOCK.hash)
    return Finality(height=1, block=BLOCK.hash, signature=bls.sign(FEDERATION_SECRET, message))


@pytest.mark.integration
async def test_core_is_shown_final_blocks_and_told_of_new_ones(tmp_path: Path) -> None:
    async with following(tmp_path) as (node, stock):
        assert await stock.headers(BLOCK_0) == []
        node.step(BlockSubmitted(data=BLOCK.data))
        assert await stock.headers(BLOCK_0) == [], "its rank may still become void"
        node.step(FinalitySubmitted(finality=finality()))
        assert await stock.hear("inv") == b"\x01" + struct.pack("<I", 2) + BLOCK.hash
        for locator in ((BLOCK_0,), (bytes(32),), (bytes(32), BLOCK_0), ()):
            (header,) = await stock.headers(*locator)
            assert _double(header) == BLOCK.hash
        assert await stock.headers(BLOCK.hash, BLOCK_0) == []
        assert await stock.block(BLOCK.hash) == BLOCK.data
        stock.send("getblocks", struct.pack("<IB", 70016, 1) + BLOCK_0 + bytes(32))
        assert await stock.hear("inv") == b"\x01" + struct.pack("<I", 2) + BLOCK.hash
        stock.send("headers", b"\x00")
        assert len(await stock.headers(BLOCK_0)) == 1, "what we do not ask for is no offence"


@pytest.mark.integration
async def test_a_locator_too_long_ends_the_connection(tmp_path: Path) -> None:
    async with following(tmp_path) as (_, stock):
        stock.send("getheaders", struct.pack("<IB", 70016, LOCATOR_MAX + 1) + bytes(32 * 102))
        with pytest.raises(asyncio.IncompleteReadError):
            await stock.hear("headers")


def test_messages_have_one_form() -> None:
    asked = GetHeaders(locator=(BLOCK.hash, BLOCK_0), stop=bytes(32))
    data = encode_getheaders(asked, 70016)
    assert decode_getheaders(data) == asked
    longest = replace(asked, locator=(BLOCK_0,) * LOCATOR_MAX)
    assert len(encode_getheaders(longest, 70016)) <= GETHEADERS_BYTES_MAX
    for wrong in (data[:-1], data + b"\0", encode_getheaders(asked, 70016)[:4]):
        with pytest.raises(DecodeError):
            decode_getheaders(wrong)
    headers = (BLOCK.header.encode(),) * HEADERS_MAX
    told = encode_headers(headers)
    assert decode_headers(told) == headers and len(told) <= HEADERS_BYTES_MAX
    for wrong in (told[:-1], told[:-1] + b"\x01", told + b"\0"):
        with pytest.raises(DecodeError):
            decode_headers(wrong)
