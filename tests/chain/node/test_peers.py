"""Nodes on real sockets that find each other: through a third one, over its end, over a restart."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bft.errors import ConfigError
from chain.gossip_events import Tick
from chain.node.config import save_config
from chain.node.peers_file import PEERS_NAME, PeersFile
from chain.node.rpc import RpcError
from chain.node.rpc_peers import PeerMethods
from chain.node.service import NodeService
from chain.peers.connection import Connection
from chain.peers.outbound import MANUAL_MAX
from chain.records.peer_address import Announced, PeerAddress, parse_address
from chain.records.peer_message import SERVICES, SERVICES_PRUNED
from tests.chain.node.homes import make_config
from tests.chain.node.test_rpc import Client
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
POLL_S = 0.05


def connected(service: NodeService, endpoint: str, kind: Connection) -> Callable[[], bool]:
    return lambda: any(
        peer.endpoint == endpoint and peer.kind is kind and peer.ready
        for peer in service.core.gossip.peers.values()
    )


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


def address_of(service: NodeService) -> PeerAddress:
    found = parse_address(service.p2p_endpoint)
    assert found is not None
    return found


async def until_kept(service: NodeService, home: Path, address: PeerAddress) -> bytes:
    """The file of the address book, once `address` stands in it as one that has answered."""
    while True:
        kept = PeersFile(home, service.core.now_ms() // 1000)
        if any(entry.address == address for entry in kept.book.tried()):
            return (home / PEERS_NAME).read_bytes()
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def process_of(home: Path) -> AsyncIterator[str]:
    """A node of its own process, with its address; kill -9 ends it."""
    command = (sys.executable, "-m", "gristmill", "node", "run", "-v", "--home", str(home))
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        while b"peers at " not in (line := await process.stderr.readline()):
            assert line, "it has ended"
        yield line.decode().partition("peers at ")[2].split(",")[0]
    finally:
        process.kill()
        await process.communicate()


async def test_a_node_finds_a_third_one_and_still_has_it_after_kill_9_and_a_restart(
    tmp_path: Path,
) -> None:
    third = NodeService(make_config(tmp_path / "c"))
    async with running(third):
        found_at = third.p2p_endpoint
        save_config(make_config(tmp_path / "b", peers=(found_at,)))
        async with process_of(tmp_path / "b") as endpoint:
            talks = third.core.gossip.neighbours.exchange.talks
            await third.core.until(lambda: any(talk.answered for talk in talks.values()))
            first = NodeService(make_config(tmp_path / "a", peers=(endpoint,)))
            await first.start()
            try:
                await first.core.until(connected(first, found_at, Connection.FULL_RELAY))
                kept = await until_kept(first, tmp_path / "a", address_of(third))
            except BaseException:
                await first.stop()
                raise
        # The second is gone by kill -9; the first has the third, and has it again.
        assert connected(first, found_at, Connection.FULL_RELAY)()
        await first.stop()
        (tmp_path / "a" / PEERS_NAME).write_bytes(kept)  # as kill -9 would have left it
        again = NodeService(make_config(tmp_path / "a"))
        async with running(again):
            await again.core.until(connected(again, found_at, Connection.FULL_RELAY))


async def test_block_only_peers_of_a_clean_end_are_dialled_first_and_serve_once(
    tmp_path: Path,
) -> None:
    there = NodeService(make_config(tmp_path / "there"))
    async with running(there):
        home = tmp_path / "node"
        home.mkdir()
        file = PeersFile(home, there.core.now_ms() // 1000)
        file.write(file.bytes_now(there.core.now_ms(), [address_of(there)]))
        service = NodeService(make_config(home))
        async with running(service):
            assert PeersFile(home, 0).anchors == (), "a crash now must not dial it for ever"
            blocks_alone = connected(service, there.p2p_endpoint, Connection.BLOCK_ONLY)
            await service.core.until(blocks_alone)
            (peer,) = there.core.gossip.peers.values()
            assert not peer.passes_transactions
        assert PeersFile(home, 0).anchors == (address_of(there),)


async def test_without_discovery_only_those_of_the_settings_are_dialled(tmp_path: Path) -> None:
    there = NodeService(make_config(tmp_path / "there"))
    alone = NodeService(make_config(tmp_path / "alone", discover=False))
    async with running(there, alone):
        now_s = alone.core.now_ms() // 1000
        address = address_of(there)
        told = Announced(time=now_s, services=SERVICES, address=address)
        alone.core.gossip.neighbours.book.add((told,), address, now_s)
        for _ in range(3):
            alone.step(Tick())
        assert not alone.core.gossip.peers
        # The same step of one that discovers dials.
        there.core.gossip.neighbours.book.add(
            (Announced(time=now_s, services=SERVICES, address=address_of(alone)),), address, now_s
        )
        there.step(Tick())
        await there.core.until(connected(there, alone.p2p_endpoint, Connection.FULL_RELAY))


@asynccontextmanager
async def driven(service: NodeService, home: Path) -> AsyncIterator[Client]:
    async with running(service), aiohttp.ClientSession() as session:
        cookie = (home / ".cookie").read_text()
        yield Client(session, f"http://{service.http_endpoint}", cookie)


async def refusal(client: Client, method: str, *params: Any) -> int:
    _, answer = await client.post({"id": 1, "method": method, "params": params})
    return int(answer["error"]["code"])


async def test_an_operator_adds_looks_at_and_removes_peers_in_cores_words(tmp_path: Path) -> None:
    other = NodeService(make_config(tmp_path / "other", prune_blocks=288))
    service = NodeService(make_config(tmp_path / "node", discover=False))
    async with running(other), driven(service, tmp_path / "node") as client:
        node = other.p2p_endpoint
        assert await client.call("getaddednodeinfo") == []
        await client.call("addnode", node, "add")
        await service.core.until(connected(service, node, Connection.MANUAL))
        (added,) = await client.call("getaddednodeinfo", node)
        there = [{"address": node, "connected": "outbound"}]
        assert added == {"addednode": node, "connected": True, "addresses": there}
        (peer,) = await client.call("getpeerinfo")
        assert (peer["connection_type"], peer["inbound"]) == ("manual", False)
        assert peer["network"] == "not_publicly_routable"
        assert peer["services"] == f"{SERVICES_PRUNED:016x}"
        assert peer["servicesnames"] == ["WITNESS", "NETWORK_LIMITED"]
        assert (peer["addr_relay_enabled"], peer["addr_rate_limited"]) == (True, 0)
        (known,) = await client.call("getnodeaddresses", 0)
        assert f"{known['address']}:{known['port']}" == node
        assert await client.call("getnodeaddresses", 1, "ipv6") == []
        book = await client.call("getaddrmaninfo")
        assert book["all_networks"] == {"new": 0, "tried": 1, "total": 1}
        (own,) = (await client.call("getnetworkinfo"))["localaddresses"]
        assert f"{own['address']}:{own['port']}" == service.p2p_endpoint
        assert await refusal(client, "addnode", node, "add") == -23
        await client.call("addnode", node, "remove")
        assert await refusal(client, "addnode", node, "remove") == -24
        assert await refusal(client, "getaddednodeinfo", node) == -24
        await client.call("disconnectnode", node)
        assert await client.call("getpeerinfo") == []
        assert await refusal(client, "disconnectnode", node) == -29
        assert await refusal(client, "disconnectnode", node, 1) == -8
        for wrong in ("", "name", "a b:1", "20.0.0.1:70000"):
            assert await refusal(client, "addnode", wrong, "add") == -8
        assert await refusal(client, "addnode", node, "ban") == -8
        await client.call("addnode", node, "onetry")
        await service.core.until(connected(service, node, Connection.MANUAL))
        (peer,) = await client.call("getpeerinfo")
        await client.call("disconnectnode", "", peer["id"])
        assert await client.call("getpeerinfo") == []


def test_nodes_that_are_dialled_always_are_bounded(tmp_path: Path) -> None:
    service = NodeService(make_config(tmp_path))
    try:
        methods = PeerMethods(service.core, service.step)
        for port in range(MANUAL_MAX):
            methods.addnode(f"name:{port}", "add")
        with pytest.raises(RpcError, match="at most"):
            methods.addnode("name:9999", "add")
        assert len(methods.getaddednodeinfo()) == MANUAL_MAX
    finally:
        service.core.close()


def test_a_damaged_address_book_is_named_and_not_overwritten(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    (tmp_path / PEERS_NAME).write_bytes(b"{")
    with pytest.raises(ConfigError, match="remove it"):
        NodeService(config)
    assert (tmp_path / PEERS_NAME).read_bytes() == b"{"


def test_what_is_announced_is_an_ip_address(tmp_path: Path) -> None:
    for wrong in ("name:7500", "20.0.0.1", "0.0.0.0:7500", "20.0.0.1:0"):
        with pytest.raises(ConfigError, match="announce"):
            _ = make_config(tmp_path, announce=wrong).announced
    announced = make_config(tmp_path, announce="20.0.0.1:7500").announced
    assert str(announced) == "20.0.0.1:7500"


@pytest.mark.parametrize(
    ("p2p", "setting", "private"),
    [
        ("127.0.0.1:0", "auto", True),
        ("10.0.0.1:7500", "auto", True),
        ("0.0.0.0:7500", "auto", False),
        ("20.0.0.1:7500", "auto", False),
        ("20.0.0.1:7500", "always", True),
        ("127.0.0.1:0", "never", False),
    ],
)
def test_private_addresses_are_for_those_who_are_among_such(
    tmp_path: Path, p2p: str, setting: Any, private: bool
) -> None:
    assert make_config(tmp_path, p2p=p2p, private_addresses=setting).private is private
