"""Links over real TLS sockets: members get in, strangers and garbage do not, nobody is harmed."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType

from bft.crypto.identity import PrivateKey
from bft.pbft import messages
from bft.pbft.messages import FRAME_BYTES_MAX, FetchBatch, Verified, sign_message
from chain.params import MINIMAL
from chain.records.federation import Genesis
from coordinator.ceremony import create_identity
from coordinator.config import Home, read_secret
from coordinator.service import peers, tls
from coordinator.service.handshakes import HANDSHAKES_MAX
from coordinator.service.peers import Links
from tests.patience import PATIENCE_S
from tests.ports import federation_here
from tests.sample import JOB, SNAPSHOT


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - sockets tell nobody but their owners
            await asyncio.sleep(0.01)


class Federation:
    """Links without replicas behind them: what comes in is listed."""

    def __init__(self, root: Path, replicas: int) -> None:
        self.genesis, self.homes = federation_here(root, replicas, MINIMAL, JOB, SNAPSHOT)
        self.received: list[tuple[int, Verified]] = []
        self.links: list[Links] = []

    def frame(self, sender: int) -> bytes:
        """Any valid message of a member."""
        key = PrivateKey(read_secret(Home(self.homes[sender]).identity_key))
        member = self.genesis.membership
        message = FetchBatch(
            chain_id=member.chain_id, epoch=0, sequence=1, digest=bytes(32), replica=sender
        )
        return sign_message(message, member, key.sign).frame

    async def deliver(self, peer: int, message: Verified) -> None:
        self.received.append((peer, message))

    async def start(self, index: int, deliver: Callable[[int, Verified], Awaitable[None]]) -> Links:
        home = Home(self.homes[index])
        files = (home.tls_certificate, home.tls_key)
        clients = {
            peer: tls.client_context(self.genesis, peer, *files)
            for peer in range(len(self.homes))
            if peer != index
        }
        links = Links(
            self.genesis, index, tls.server_context(self.genesis, *files), clients, deliver
        )
        await links.start(self.genesis.members[index].link.decode())
        self.links.append(links)
        return links


@asynccontextmanager
async def federation(root: Path, replicas: int) -> AsyncIterator[Federation]:
    made = Federation(root, replicas)
    try:
        yield made
    finally:
        for links in made.links:
            await links.stop()


@asynccontextmanager
async def dial(
    genesis: Genesis, to: int, home: Path
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection to a member with the certificate of `home`, by somebody who wrote his own."""
    files = (Home(home).tls_certificate, Home(home).tls_key)
    context = tls.client_context(genesis, to, *files)
    url = f"https://{genesis.members[to].link.decode()}{peers.PATH}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=context) as ws:
        yield ws


async def closing(ws: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """(code, reason) with which the other side closes."""
    async with asyncio.timeout(PATIENCE_S):
        message = await ws.receive()
    assert message.type is WSMsgType.CLOSE
    return message.data, message.extra or ""


async def test_a_message_for_all_reaches_all_others(tmp_path: Path) -> None:
    async with federation(tmp_path, 4) as made:
        heard: dict[int, list[Verified]] = {index: [] for index in range(4)}

        def listener(index: int) -> Callable[[int, Verified], Awaitable[None]]:
            async def deliver(peer: int, message: Verified) -> None:
                heard[index].append(message)

            return deliver

        links = [await made.start(index, listener(index)) for index in range(4)]
        await until(lambda: all(len(link.up) == 3 for link in links))
        links[1].send(None, made.frame(1))
        links[2].send(0, made.frame(2))
        await until(lambda: sum(map(len, heard.values())) == 4)
        assert [message.sender for message in heard[0]] == [1, 2]
        assert [len(heard[index]) for index in range(4)] == [2, 0, 1, 1]


async def test_a_peer_that_comes_back_is_dialled_again(tmp_path: Path) -> None:
    async with federation(tmp_path, 2) as made:
        first = await made.start(0, made.deliver)
        second = await made.start(1, made.deliver)
        await until(lambda: first.up == (1,))
        await second.stop()
        await until(lambda: first.up == ())
        first.send(1, made.frame(0))
        assert first.dropped >= 1  # a peer that is away costs no memory
        await made.start(1, made.deliver)
        await until(lambda: first.up == (1,))
        first.send(1, made.frame(0))
        await until(lambda: made.received)


async def test_a_stranger_with_a_certificate_of_his_own_is_refused(tmp_path: Path) -> None:
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        create_identity(tmp_path / "stranger", "operator-1", "127.0.0.1:1", "127.0.0.1:2")
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            async with dial(made.genesis, 0, tmp_path / "stranger"):
                pass
        assert made.received == []


async def test_nobody_gets_in_without_a_certificate(tmp_path: Path) -> None:
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=made.genesis.members[0].tls_certificate)
        url = f"https://{made.genesis.members[0].link.decode()}{peers.PATH}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await session.ws_connect(url, ssl=context)


async def test_tls_below_1_3_is_refused(tmp_path: Path) -> None:
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        home = Home(made.homes[1])
        context = tls.client_context(made.genesis, 0, home.tls_certificate, home.tls_key)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        url = f"https://{made.genesis.members[0].link.decode()}{peers.PATH}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.ws_connect(url, ssl=context)


async def test_a_peer_is_who_holds_the_certificate_of_its_record(tmp_path: Path) -> None:
    """Member 1's address answered by member 2, or by a stranger, is not member 1."""
    async with federation(tmp_path, 3) as made:
        home = Home(made.homes[2])
        files = (home.tls_certificate, home.tls_key)
        server = tls.server_context(made.genesis, *files)
        links = await made.start(0, made.deliver)

        async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        host, port = made.genesis.members[1].link.decode().split(":")
        listener = await asyncio.start_server(accept, host, int(port), ssl=server)
        context = tls.client_context(made.genesis, 1, *files)
        url = f"https://{made.genesis.members[1].link.decode()}{peers.PATH}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.ws_connect(url, ssl=context)
        assert links.up == ()
        listener.close()
        await listener.wait_closed()


def oversized() -> bytes:
    return bytes(FRAME_BYTES_MAX + 1)


def garbage() -> bytes:
    return b"\xff" * 1000


def nothing() -> bytes:
    return b""


@pytest.mark.parametrize("bad", [garbage, nothing])
async def test_garbage_closes_the_link_with_a_reason(
    tmp_path: Path, bad: Callable[[], bytes]
) -> None:
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        async with dial(made.genesis, 0, made.homes[1]) as ws:
            await ws.send_bytes(bad())
            code, reason = await closing(ws)
        assert code == WSCloseCode.POLICY_VIOLATION
        assert reason.startswith("not a Frame")
        assert made.received == []


async def test_an_oversized_frame_closes_the_link(tmp_path: Path) -> None:
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        async with dial(made.genesis, 0, made.homes[1]) as ws:
            try:
                await ws.send_bytes(oversized())
            except ConnectionError:
                return  # closed while we were still sending
            code, _ = await closing(ws)
            assert code == WSCloseCode.MESSAGE_TOO_BIG
        assert made.received == []


async def test_a_forged_message_closes_the_link(tmp_path: Path) -> None:
    """Member 1 cannot speak for member 0 with a signature of its own."""
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        good = made.frame(1)
        forged = good[:-1] + bytes([good[-1] ^ 1])
        async with dial(made.genesis, 0, made.homes[1]) as ws:
            await ws.send_bytes(forged)
            code, _ = await closing(ws)
        assert code == WSCloseCode.POLICY_VIOLATION
        assert made.received == []


async def test_text_frames_are_not_taken(tmp_path: Path) -> None:
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        async with dial(made.genesis, 0, made.homes[1]) as ws:
            await ws.send_str("hello")
            assert (await closing(ws))[1] == "a TEXT frame; binary expected"


async def test_who_sent_garbage_waits_and_the_others_do_not(tmp_path: Path) -> None:
    async with federation(tmp_path, 3) as made:
        await made.start(0, made.deliver)
        async with dial(made.genesis, 0, made.homes[2]) as good:
            async with dial(made.genesis, 0, made.homes[1]) as ws:
                await ws.send_bytes(garbage())
                await closing(ws)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with dial(made.genesis, 0, made.homes[1]):
                    pass
            assert refused.value.status == 429
            await good.send_bytes(made.frame(2))
            await until(lambda: made.received)
        assert made.received[0][0] == 2


async def test_a_link_that_fell_silent_is_dropped_and_may_come_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut between two hosts is nobody's misbehaviour."""
    monkeypatch.setattr(peers, "HEARTBEAT_S", 0.1)
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        home = Home(made.homes[1])
        context = tls.client_context(made.genesis, 0, home.tls_certificate, home.tls_key)
        url = f"https://{made.genesis.members[0].link.decode()}{peers.PATH}"
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, ssl=context, autoping=False) as ws:
                async with asyncio.timeout(PATIENCE_S):
                    while not ws.closed:
                        await ws.receive()
            monkeypatch.setattr(peers, "HEARTBEAT_S", 5.0)
            async with session.ws_connect(url, ssl=context) as ws:
                await ws.send_bytes(made.frame(1))
                await until(lambda: made.received)


async def test_a_newer_link_of_a_member_replaces_the_older(tmp_path: Path) -> None:
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        async with dial(made.genesis, 0, made.homes[1]) as older:
            await older.send_bytes(made.frame(1))
            await until(lambda: made.received)
            async with dial(made.genesis, 0, made.homes[1]) as newer:
                assert (await closing(older))[0] == WSCloseCode.GOING_AWAY
                await newer.send_bytes(made.frame(1))
                await until(lambda: len(made.received) == 2)


async def test_a_reader_without_room_slows_its_peer_down_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with federation(tmp_path, 2) as made:
        room = asyncio.Event()

        async def deliver(peer: int, message: Verified) -> None:
            await room.wait()
            made.received.append((peer, message))

        await made.start(0, deliver)
        sender = await made.start(1, made.deliver)
        await until(lambda: sender.up == (0,))
        for _ in range(100):
            sender.send(0, made.frame(1))
        room.set()
        await until(lambda: len(made.received) == 100)


async def test_an_overfull_queue_is_dropped_whole(tmp_path: Path) -> None:
    """A peer that does not read must not grow our memory; STATUS heals what was dropped."""
    link = peers.Outgoing(1)
    link.up = True
    message = bytes(messages.FRAME_BYTES_MAX)
    for _ in range(peers.QUEUE_BYTES_MAX // len(message)):
        link.offer(message)
    assert link.dropped == 0
    link.offer(b"one more")
    assert link.dropped == peers.QUEUE_BYTES_MAX // len(message) + 1
    link.offer(b"fresh")
    assert await link.take() == b"fresh"


async def test_honest_links_come_up_while_strangers_keep_silent(tmp_path: Path) -> None:
    """More connections that never shake hands than there are places: the oldest give way."""
    async with federation(tmp_path, 2) as made:
        await made.start(0, made.deliver)
        host, port = made.genesis.members[0].link.decode().split(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(HANDSHAKES_MAX + 5)]
        other = await made.start(1, made.deliver)
        await until(lambda: other.up == (0,))
        other.send(0, made.frame(1))
        await until(lambda: made.received)
        async with asyncio.timeout(PATIENCE_S):
            assert await silent[0][0].read() == b""
        for _, writer in silent:
            writer.close()


async def test_a_member_cannot_hold_more_than_its_connections(tmp_path: Path) -> None:
    """Who shook hands but asks for no link is bounded as well, and harms no other member."""
    async with federation(tmp_path, 3) as made:
        await made.start(0, made.deliver)
        home = Home(made.homes[1])
        context = tls.client_context(made.genesis, 0, home.tls_certificate, home.tls_key)
        host, port = made.genesis.members[0].link.decode().split(":")
        idle = []
        for _ in range(peers.MEMBER_CONNECTIONS_MAX + 1):
            idle.append(await asyncio.open_connection(host, int(port), ssl=context))
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                assert await idle[-1][0].read() == b""
        async with dial(made.genesis, 0, made.homes[2]) as ws:
            await ws.send_bytes(made.frame(2))
            await until(lambda: made.received)
        for _, writer in idle:
            writer.close()
