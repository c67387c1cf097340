"""Nodes as they run: real sockets on loopback, real files, blocks from peer to peer."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from bft import quorum
from bft.codec.canonical import decode, encode
from bft.crypto import bls, shamir
from bft.errors import ConfigError
from chain.federation import api
from chain.gossip_events import BlockSubmitted, FinalitySubmitted
from chain.node.config import save_config
from chain.node.service import NodeService
from chain.records.block import Block
from chain.records.federation import FederationKey, MemberRecord, activation_message
from chain.records.peer_message import PROTOCOL_VERSION, Version, encode_frame
from chain.records.score_log import BlockFinal
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    FEDERATION_SECRET,
    GENESIS,
    OTHER,
    OTHER_SECRET,
    START,
    WINNER,
    block_on,
    finality_of,
    key_of,
    make_chain,
    make_genesis,
    view_of,
)
from tests.chain.node.homes import make_config
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

FIRST, SECOND, THIRD = make_chain(3)
FORGED = block_on(START, miner=OTHER, winner=WINNER.public_key, payee=WINNER.public_key)
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def running(*services: NodeService) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            for service in services:
                await service.start()
            yield
    finally:
        for service in services:
            await service.stop()


def tip_is(service: NodeService, block: Block) -> Callable[[], bool]:
    return lambda: service.core.tree.tip == view_of(block)


def final_is(service: NodeService, block: Block) -> Callable[[], bool]:
    return lambda: service.core.tree.final == view_of(block)


async def three_nodes(tmp_path: Path) -> AsyncIterator[NodeService]:
    """A line: 0 dialled by 1, 1 dialled by 2."""
    peers: tuple[str, ...] = ()
    for index in range(3):
        service = NodeService(make_config(tmp_path / str(index), peers=peers))
        await service.start()
        peers = (service.p2p_endpoint,)
        yield service


async def test_a_block_gossips_over_three_nodes_and_a_forged_one_does_not(tmp_path: Path) -> None:
    nodes: list[NodeService] = []
    try:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as client:
            async for node in three_nodes(tmp_path):
                nodes.append(node)
            doors = [f"http://{node.http_endpoint}" for node in nodes]
            async with client.post(doors[0] + api.BLOCKS, data=FORGED.data) as answer:
                assert answer.status == 403
                assert answer.content_type == api.PROBLEM
                assert "winner did not sign" in (await answer.json())["detail"]
            async with client.post(doors[0] + api.BLOCKS, data=FIRST.data) as answer:
                assert answer.status == 202
                told = {"hash": FIRST.hash[::-1].hex(), "height": 1}
                assert await answer.json() == told
            for node in nodes:
                await node.core.until(tip_is(node, FIRST))
            nodes[2].step(FinalitySubmitted(finality=finality_of(FIRST)))
            for node in nodes:
                await node.core.until(final_is(node, FIRST))
                assert node.core.store.block(FORGED.hash) is None
    finally:
        for node in nodes:
            await node.stop()


async def raw_peer(
    service: NodeService, *frames: tuple[str, bytes], chain_id: bytes = CHAIN_ID
) -> bytes:
    """Greets, sends frames, and reads until the node hangs up."""
    host, _, port = service.p2p_endpoint.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    version = Version(
        protocol=PROTOCOL_VERSION, time=0, nonce=5, user_agent=b"/raw/", height=0
    ).encode()
    for command, payload in (("version", version), ("verack", b""), *frames):
        writer.write(encode_frame(chain_id, command, payload))
    came = b""
    try:
        while piece := await reader.read(4096):
            came += piece
    except ConnectionError:
        pass
    writer.close()
    return came


@pytest.mark.parametrize(
    "frames",
    [
        [("block", FORGED.data)],
        [("block", block_on(START, secret=OTHER_SECRET).data)],
        [("block", FIRST.data[:-1])],
        [("finality", bytes(84))],
        [("version", b"")],
        [("inv", bytes(3000))],
    ],
)
async def test_a_node_hangs_up_on_a_peer_that_sends_what_is_false(
    tmp_path: Path, frames: list[tuple[str, bytes]]
) -> None:
    service = NodeService(make_config(tmp_path))
    async with running(service):
        await raw_peer(service, *frames)
        await service.core.until(lambda: not service.core.gossip.peers)
        assert service.core.tree.tip == START
        assert not service.core.failed


async def test_a_peer_of_another_chain_is_not_even_answered(tmp_path: Path) -> None:
    service = NodeService(make_config(tmp_path))
    async with running(service):
        assert await raw_peer(service, chain_id=make_genesis(b"another").chain_id) == b""


async def test_a_node_takes_up_where_it_stopped(tmp_path: Path) -> None:
    service = NodeService(make_config(tmp_path))
    async with running(service):
        for block in (FIRST, SECOND):
            service.step(BlockSubmitted(data=block.data))
    again = NodeService(make_config(tmp_path))
    async with running(again):
        assert again.core.tree.tip == view_of(SECOND)
        assert again.core.tree.final == view_of(FIRST)


async def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    first = NodeService(make_config(tmp_path / "a"))
    async with running(first):
        second = NodeService(make_config(tmp_path / "b", p2p=first.p2p_endpoint))
        with pytest.raises(ConfigError, match="cannot listen"):
            await second.start()


# HTTP


async def test_the_doors_answer(tmp_path: Path) -> None:
    service = NodeService(make_config(tmp_path))
    async with running(service), aiohttp.ClientSession() as client:
        door = f"http://{service.http_endpoint}"
        for block in (FIRST, SECOND):
            service.step(BlockSubmitted(data=block.data))
        service.step(FinalitySubmitted(finality=finality_of(FIRST)))
        async with client.get(door + api.STATUS) as answer:
            status = await answer.json()
        assert (status["height"], status["final_height"], status["fault"]) == (2, 1, False)
        assert status["tip"] == SECOND.hash[::-1].hex()
        for reference, block in (
            ("1", FIRST),
            ("2", SECOND),
            (FIRST.hash[::-1].hex(), FIRST),
        ):
            async with client.get(door + api.BLOCK.format(height=reference)) as answer:
                assert await answer.read() == block.data
        async with client.get(door + api.FINALITY.format(height=1)) as answer:
            final = decode(BlockFinal, await answer.read())
        assert final.header == FIRST.header.encode()
        assert final.signature == finality_of(FIRST).signature


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/blocks/3", None, 404),
        ("GET", "/v1/blocks/" + "00" * 32, None, 404),
        ("GET", "/v1/blocks/" + "zz" * 32, None, 400),
        ("GET", "/v1/blocks/99999999999", None, 400),
        ("GET", "/v1/blocks/1/finality", None, 404),
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/v1/status", None, 405),
        ("POST", "/v1/blocks", b"", 400),
        ("POST", "/v1/blocks", FIRST.data[:-1], 400),
        ("POST", "/v1/blocks", SECOND.data, 409),
        ("POST", "/v1/blocks", block_on(START, height=2).data, 409),
        ("POST", "/v1/blocks", bytes(api.BLOCK_BYTES_MAX), 400),
        ("POST", "/v1/blocks", bytes(api.BLOCK_BYTES_MAX + 1), 413),
    ],
)
async def test_a_wrong_request_gets_a_problem_and_harms_nothing(
    tmp_path: Path, method: str, path: str, body: bytes | None, status: int
) -> None:
    service = NodeService(make_config(tmp_path))
    async with running(service), aiohttp.ClientSession() as client:
        url = f"http://{service.http_endpoint}{path}"
        async with client.request(method, url, data=body and BytesIO(body)) as answer:
            problem = await answer.json(content_type=api.PROBLEM)
            assert (answer.status, problem["status"]) == (status, status)
            assert problem["detail"]
        assert service.core.tree.tip == START
        assert not service.core.failed


# Replicas as couriers


class Courier:
    """Serves the files of a replica, true or false, as the test fills it."""

    def __init__(self, key: bytes) -> None:
        self.files: dict[str, bytes] = {}
        self.epochs = [make_epoch(0, GENESIS.members)]
        if key != FEDERATION_KEY:
            self.epochs = [
                replace(self.epochs[0], commitments=(key, *self.epochs[0].commitments[1:]))
            ]

    def add(self, block: Block, secret: int | None = None) -> None:
        height = block.certificate.height
        word = finality_of(block) if secret is None else finality_of(block, secret)
        final = BlockFinal(
            cycle=height, height=height, header=block.header.encode(), signature=word.signature
        )
        self.files[api.BLOCK.format(height=height)] = block.data
        self.files[api.FINALITY.format(height=height)] = encode(final)

    async def serve(self, request: web.Request) -> web.Response:
        if request.path == api.EPOCHS:
            return web.Response(body=encode(tuple(self.epochs[int(request.query["from"]) :])))
        found = self.files.get(request.path)
        return web.Response(status=404) if found is None else web.Response(body=found)


async def with_courier(
    tmp_path: Path,
    courier: Courier,
    act: Callable[[NodeService, str], Awaitable[None]],
    **settings: Any,
) -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", courier.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    service = NodeService(make_config(tmp_path, replicas=(url,), **settings))
    try:
        async with running(service):
            await act(service, url)
    finally:
        await runner.cleanup()


def said(service: NodeService, url: str, text: str) -> Callable[[], bool]:
    return lambda: text in service.core.replica_status[url]


async def test_final_blocks_come_from_a_replica(tmp_path: Path) -> None:
    courier = Courier(FEDERATION_KEY)
    for block in (FIRST, SECOND, THIRD):
        courier.add(block)

    async def act(service: NodeService, url: str) -> None:
        await service.core.until(final_is(service, THIRD))

    await with_courier(tmp_path, courier, act)


@pytest.mark.parametrize("what", ["key", "block", "finality", "noise"])
async def test_a_replica_that_brings_what_is_false_is_not_believed(
    tmp_path: Path, what: str
) -> None:
    courier = Courier(FEDERATION_KEY if what != "key" else bls.public_key(OTHER_SECRET))
    courier.add(FORGED if what == "block" else FIRST, OTHER_SECRET if what == "finality" else None)
    if what == "noise":
        courier.files[api.BLOCK.format(height=1)] = b"\x00" * 100

    async def act(service: NodeService, url: str) -> None:
        await service.core.until(said(service, url, "not accepted"))
        assert service.core.tree.final == START

    await with_courier(tmp_path, courier, act)


# Epochs


def make_epoch(epoch: int, members: tuple[MemberRecord, ...]) -> FederationKey:
    """The certificate of an epoch with these members."""
    polynomial = (FEDERATION_SECRET, *range(epoch + 1, epoch + quorum.strong(len(members))))
    commitments = shamir.commit(polynomial)
    message = activation_message(CHAIN_ID, epoch, members, commitments)
    return FederationKey(
        chain_id=CHAIN_ID,
        epoch=epoch,
        members=members,
        commitments=commitments,
        qualified=(0, 1, 2),
        activation=bls.sign(FEDERATION_SECRET, message),
    )


def joiner(number: int) -> MemberRecord:
    """A member that the genesis record does not know; nobody listens at its address."""
    return MemberRecord(
        operator=b"joiner",
        key=key_of(f"joiner {number}").public_key,
        tls_certificate=bytes([number]) * 64,
        link=b"127.0.0.1:%d" % (20 + number),
        api=b"127.0.0.1:%d" % (40 + number),
    )


async def test_a_node_follows_the_members_and_remembers_them(tmp_path: Path) -> None:
    courier = Courier(FEDERATION_KEY)
    distinct = [joiner(number) for number in range(5)]
    courier.epochs.append(make_epoch(1, tuple(distinct[:4])))
    courier.epochs.append(make_epoch(2, tuple(distinct[1:])))

    async def act(service: NodeService, url: str) -> None:
        core = service.core
        await core.until(lambda: len(core.epochs) == 3)
        assert core.members == tuple(distinct[1:])
        assert core.replicas == (url, *(f"http://127.0.0.1:4{n}" for n in range(1, 5)))
        assert set(core.replica_status) == set(core.replicas)
        address = f"http://{service.http_endpoint}{api.STATUS}"
        async with aiohttp.ClientSession() as client, client.get(address) as answer:
            told = await answer.json()
        assert told["epoch"] == 2
        assert [member["api"] for member in told["members"]] == [
            f"127.0.0.1:4{number}" for number in range(1, 5)
        ]

    await with_courier(tmp_path, courier, act, ask_members=True)
    courier.epochs = courier.epochs[:1]  # a replica that is behind, or says so

    async def again(service: NodeService, url: str) -> None:
        assert service.core.members == tuple(distinct[1:])
        await service.core.until(said(service, url, "does not know epoch 2 yet"))
        assert service.core.members == tuple(distinct[1:])

    await with_courier(tmp_path, courier, again, ask_members=True)


@pytest.mark.parametrize("what", ["unsigned", "left out"])
async def test_an_epoch_that_does_not_follow_is_not_entered(tmp_path: Path, what: str) -> None:
    courier = Courier(FEDERATION_KEY)
    good = make_epoch(1, tuple(joiner(number) for number in range(4)))
    wrong = {
        "unsigned": replace(good, members=tuple(joiner(number) for number in range(1, 5))),
        "left out": replace(good, epoch=2),
    }
    courier.epochs.append(wrong[what])

    async def act(service: NodeService, url: str) -> None:
        await service.core.until(said(service, url, "not accepted"))
        assert service.core.epochs == ()

    await with_courier(tmp_path, courier, act)


async def test_a_second_certificate_of_an_epoch_is_refused(tmp_path: Path) -> None:
    courier = Courier(FEDERATION_KEY)
    good = make_epoch(1, tuple(joiner(number) for number in range(4)))
    courier.epochs.append(good)

    async def act(service: NodeService, url: str) -> None:
        await service.core.until(lambda: len(service.core.epochs) == 2)

    await with_courier(tmp_path, courier, act)
    courier.epochs[1] = make_epoch(1, tuple(joiner(number) for number in range(1, 5)))

    async def again(service: NodeService, url: str) -> None:
        await service.core.until(said(service, url, "has another certificate"))
        assert service.core.members == good.members

    await with_courier(tmp_path, courier, again)


# The process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    save_config(make_config(tmp_path))
    command = [sys.executable, "-m", "gristmill", "node", "run", "-v", "--home", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "peers at" in line:
                break
        os.kill(process.pid, number)
        rest: Any = process.stderr.read()
        assert process.wait() == 0, rest
        assert "Traceback" not in rest
