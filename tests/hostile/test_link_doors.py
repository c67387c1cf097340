"""Storms at a replica's link port, by strangers and by members whose keys are the attacker's."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from bft.codec.canonical import encode
from bft.crypto.identity import PrivateKey
from bft.pbft.messages import (
    FRAME_BYTES_MAX,
    FetchBatch,
    FetchHistory,
    Frame,
    Message,
    Prepare,
    Status,
    sign_message,
)
from chain.records.federation import Genesis
from coordinator.config import Home, read_secret
from coordinator.service import peers, tls
from tests.fuzz.mutation import TOKENS
from tests.hostile.victim import PATIENCE_S, Victim, replica

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

# Each attack spoils its member's link for a while.
CLOSING_FIRST, BROKEN_FIRST, FLOOD, ATTACHED, NO_WEBSOCKET, HONEST = 1, 11, 21, 22, 23, 24
MEMBERS = HONEST + 1
BINARY, TEXT, CLOSE, PING, CONTINUATION = 2, 1, 8, 9, 0


def ws_frame(
    kind: int, payload: bytes, *, final: bool = True, length: bytes | None = None
) -> bytes:
    """One masked frame (RFC 6455 section 5.2); `length`: another length field than the true one."""
    size = len(payload)
    if length is None:
        if size < 126:
            length = bytes([size])
        elif size < 1 << 16:
            length = b"\x7e" + size.to_bytes(2, "big")
        else:
            length = b"\x7f" + size.to_bytes(8, "big")
    head = bytes([kind | (0x80 if final else 0)]) + bytes([length[0] | 0x80]) + length[1:]
    return head + bytes(4) + payload  # a mask of zeros changes nothing


class Attacker:
    """Everything that a federation's members have."""

    def __init__(self, victim: Victim, genesis: Genesis, homes: tuple[Path, ...]) -> None:
        self.victim, self.genesis, self.homes = victim, genesis, homes
        self.address = genesis.members[0].link.decode()

    def context(self, member: int) -> ssl.SSLContext:
        home = Home(self.homes[member])
        return tls.client_context(self.genesis, 0, home.tls_certificate, home.tls_key)

    def message(self, member: int, **fields: int) -> bytes:
        """A valid frame by this member, that asks for something far away."""
        common = {"chain_id": self.genesis.chain_id, "epoch": 0, "replica": member}
        message: Message = FetchBatch(
            **common,  # type: ignore[arg-type]
            sequence=fields.get("sequence", 2**63 - 1),
            digest=bytes(32),
        )
        return self.signed(member, message)

    def signed(self, member: int, message: Message, attachment: bytes = b"") -> bytes:
        key = PrivateKey(read_secret(Home(self.homes[member]).identity_key))
        return sign_message(message, self.genesis.membership, key.sign, attachment).frame

    @asynccontextmanager
    async def tls(
        self, member: int
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=self.context(member), server_hostname=""
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def link(
        self, member: int
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """An open WebSocket."""
        async with self.tls(member) as (reader, writer):
            nonce = base64.b64encode(bytes(16)).decode()
            writer.write(
                f"GET {peers.PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {nonce}\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            async with asyncio.timeout(PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            yield reader, writer

    async def is_heard(self, member: int) -> bool:
        """Whether a member's link works: it is let in, and its ping comes back."""
        async with self.link(member) as (reader, writer):
            writer.write(ws_frame(BINARY, self.message(member)) + ws_frame(PING, b"here"))
            async with asyncio.timeout(PATIENCE_S):
                return b"here" in await reader.readuntil(b"here")


async def closed(reader: asyncio.StreamReader) -> None:
    """Until the other side closes; whatever comes before counts for nothing."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while await reader.read(1 << 16):
                pass
        except (ConnectionError, ssl.SSLError):
            pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victim(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Attacker]:
    """One replica for all storms; at its end it must have logged no bug."""
    root = tmp_path_factory.mktemp("links")
    async with replica(root, members=MEMBERS) as (process, genesis, homes):
        yield Attacker(process, genesis, homes)


@pytest_asyncio.fixture(loop_scope="module")
async def attacker(victim: Attacker) -> AsyncIterator[Attacker]:
    async with victim.victim.storm():
        yield victim
        assert await victim.is_heard(HONEST)


CLOSING: tuple[tuple[str, Callable[[], bytes]], ...] = (
    ("garbage", lambda: ws_frame(BINARY, b"\xff" * 1_000)),
    ("nothing", lambda: ws_frame(BINARY, b"")),
    ("text", lambda: ws_frame(TEXT, b"hello")),
    ("text that is none", lambda: ws_frame(TEXT, b"\xff\xfe")),
    ("a length of 2**63", lambda: ws_frame(BINARY, b"", length=b"\x7f" + b"\xff" * 8)),
    ("one byte too many", lambda: ws_frame(BINARY, bytes(FRAME_BYTES_MAX + 1))),
    ("pieces without end", lambda: _pieces(FRAME_BYTES_MAX // (1 << 18) + 2)),
    ("an unknown opcode", lambda: ws_frame(3, b"x")),
    ("reserved bits", lambda: bytes([0xF2, 0x81]) + bytes(5)),
    ("a long ping", lambda: ws_frame(PING, bytes(200))),
)


def _pieces(count: int) -> bytes:
    first = ws_frame(BINARY, bytes(1 << 18), final=False)
    return first + ws_frame(CONTINUATION, bytes(1 << 18), final=False) * count


async def test_frames_that_no_replica_sends_close_the_link_and_only_that(
    attacker: Attacker,
) -> None:
    async with attacker.link(HONEST) as (answers, honest):

        async def attack(member: int, data: bytes) -> None:
            async with attacker.link(member) as (reader, writer):
                writer.write(data)
                await closed(reader)

        await asyncio.gather(
            *(
                attack(member, make())
                for member, (_, make) in enumerate(CLOSING, start=CLOSING_FIRST)
            )
        )
        honest.write(ws_frame(BINARY, attacker.message(HONEST)) + ws_frame(PING, b"here"))
        async with asyncio.timeout(PATIENCE_S):
            await answers.readuntil(b"here")


async def test_a_flood_of_valid_messages_is_taken_in_turn(attacker: Attacker) -> None:
    """Replays, far places, votes without a proposal, other members' words: nothing piles up."""
    chain_id = attacker.genesis.chain_id
    flood = b""
    for number in range(300):
        vote = Prepare(
            chain_id=chain_id,
            epoch=0,
            view=number % 3 * 2**40,
            sequence=2**62 + number,
            digest=bytes(32),
            replica=FLOOD,
        )
        history = FetchHistory(chain_id=chain_id, epoch=0, first=1, last=2**63 - 1, replica=FLOOD)
        status = Status(
            chain_id=chain_id,
            epoch=0,
            view=2**63 - 1,
            pending_view=2**63 - 1,
            wished_view=2**63 - 1,
            low=2**63 - 1,
            decided=2**63 - 1,
            helper=0,
            slots=(),
            replica=FLOOD,
        )
        for message in (vote, history, status):
            flood += ws_frame(BINARY, attacker.signed(FLOOD, message))
        flood += ws_frame(BINARY, attacker.message(2))  # said by 2, brought by another
    async with attacker.link(FLOOD) as (reader, writer):
        writer.write(flood * 2 + ws_frame(PING, b"end"))
        async with asyncio.timeout(PATIENCE_S):
            await reader.readuntil(b"end")


async def test_broken_messages_close_the_link(attacker: Attacker) -> None:
    """A member's good message with one strange token in its middle."""

    async def attack(member: int, token: bytes) -> None:
        good = attacker.message(member)
        async with attacker.link(member) as (reader, writer):
            broken = good[: len(good) // 2] + token + good[len(good) // 2 :]
            writer.write(ws_frame(BINARY, broken))
            await closed(reader)

    members = range(BROKEN_FIRST, FLOOD)
    await asyncio.gather(*map(attack, members, TOKENS[11 : 11 + len(members)]))


async def test_attachments_that_do_not_belong_there_close_the_link(attacker: Attacker) -> None:
    async with attacker.link(ATTACHED) as (reader, writer):
        message = FetchBatch(
            chain_id=attacker.genesis.chain_id,
            epoch=0,
            sequence=1,
            digest=bytes(32),
            replica=ATTACHED,
        )
        writer.write(ws_frame(BINARY, attacker.signed(ATTACHED, message, attachment=b"x")))
        await closed(reader)


async def test_what_is_no_websocket_is_refused(attacker: Attacker) -> None:
    heads = (
        b"GET /link HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /link HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
        b"\x00" * 500 + b"\r\n\r\n",
        encode(Frame(envelope=b"", attachment=b"")) * 300 + b"\r\n\r\n",
    )
    for head in heads:
        async with attacker.tls(NO_WEBSOCKET) as (reader, writer):
            writer.write(head)
            async with asyncio.timeout(PATIENCE_S):
                status = (await reader.readline()).split(b" ")
            assert status[1][:1] == b"4", status


async def test_strangers_without_tls_change_nothing(attacker: Attacker) -> None:
    before = attacker.victim.open_files
    for data in (
        b"",
        b"\x16\x03\x01\xff\xff",
        Random(1).randbytes(2_000),
        b"GET /link HTTP/1.1\r\n\r\n",
    ):
        for _ in range(40):
            _, writer = await attacker.victim.connect(attacker.address)
            writer.write(data)
            writer.transport.abort()
    assert await attacker.is_heard(HONEST)
    assert attacker.victim.open_files <= before + 2
