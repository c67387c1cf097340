"""Winners that do not do their part, before four real replicas: invalid, twofold, absent, late."""

from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.federation import api
from chain.node.config import NodeConfig
from chain.node.service import NodeService
from chain.records.block import build_block, decode_block
from chain.records.certificate import decode_certificate
from chain.records.phase import Phase
from chain.rules.reward import subsidy
from tests.coordinator.service.beacon_mill import (
    REPLICAS,
    UPDATE,
    WAITING,
    Beaming,
    WeakGrinder,
    beaming,
)
from tests.coordinator.service.grinding import EasyPool
from tests.coordinator.service.mill import Mill, Miner, running

pytestmark = pytest.mark.integration

WINNER = 7  # the grinder's number


def block_of(mill: Mill, certificate: bytes, later_s: int = 0, more: int = 0) -> bytes:
    """By the winner's own hand; `more`: what it pays itself beyond the subsidy."""
    decoded, _ = decode_certificate(certificate)
    key = Miner(WINNER, mill.genesis.chain_id).key
    return build_block(
        certificate,
        time=decoded.not_before + later_s,
        subsidy=subsidy(decoded.height, mill.genesis.params) + more,
        sign=key.sign,
        winner=key.public_key,
    )


async def offer(session: aiohttp.ClientSession, url: str, block: bytes) -> tuple[int, str]:
    async with session.post(url + api.BLOCKS, data=block) as answer:
        return answer.status, str((await answer.json(content_type=None)).get("code", ""))


def node_beside(home: Path, beam: Beaming) -> NodeService:
    """A chain node that asks all replicas."""
    home.mkdir()
    genesis = home / "genesis.bin"
    genesis.write_bytes(encode(beam.mill.genesis))
    return NodeService(
        NodeConfig(
            genesis=str(genesis),
            home=str(home),
            federation_key=beam.federation_key.hex(),
            p2p="127.0.0.1:0",
            http="127.0.0.1:0",
            replicas=tuple(beam.mill.urls),
        )
    )


def _bars(mill: Mill, key: bytes) -> set[int | None]:
    """The first cycle that is open to this key, by what the replicas say."""
    standings = [mill.state(at).standings.get(key) for at in range(REPLICAS)]
    return {standing.barred_until if standing else None for standing in standings}


async def test_an_invalid_block_is_refused_and_of_two_one_becomes_final(tmp_path: Path) -> None:
    async with beaming(tmp_path / "mill") as beam, aiohttp.ClientSession() as session:
        mill = beam.mill
        certificate = mill.state().certificate
        greedy = block_of(mill, certificate, more=1)
        for url in mill.urls:
            assert await offer(session, url, greedy) == (409, "reward-too-high")
        blocks = [block_of(mill, certificate, later_s) for later_s in (0, 1)]
        node = node_beside(tmp_path / "node", beam)
        await node.start()
        try:
            for block in blocks:
                status, _ = await offer(session, f"http://{node.http_endpoint}", block)
                assert status == 202
            assert len(node.core.store.evidence()) == 1, "two blocks under one certificate"
            for at, url in enumerate(mill.urls):
                await offer(session, url, blocks[at % 2])
            await mill.until(lambda: {mill.state(at).tip.height for at in range(REPLICAS)} == {1})
            final = {mill.state(at).tip.hash for at in range(REPLICAS)}
            assert len(final) == 1
            assert final <= {decode_block(block).hash for block in blocks}
            await mill.until(lambda: node.core.tree.final.height == 1)
            assert {node.core.tree.final.hash} == final, "whatever it had for the tip before"
            assert node.core.gossip.intake.fault is None
            key = Miner(WINNER, mill.genesis.chain_id).key.public_key
            until = 2 + mill.genesis.params.barred_cycles
            await mill.until(lambda: _bars(mill, key) == {until})
        finally:
            await node.stop()


async def test_who_makes_no_block_loses_its_turn_and_comes_too_late(tmp_path: Path) -> None:
    short = replace(WAITING, block_ms=2_000)
    async with (
        running(tmp_path, REPLICAS, short, pool=EasyPool) as mill,
        aiohttp.ClientSession() as session,
    ):
        grinder = WeakGrinder(mill, session)
        cycle = await grinder.work(UPDATE)
        await mill.until(lambda: {mill.state(at).phase for at in (0, 1)} == {Phase.REVEAL})
        await grinder.open()
        await mill.reach(Phase.BLOCK)
        certificate = mill.state().certificate
        await mill.until(lambda: all(mill.state(at).cycle > cycle for at in range(REPLICAS)))
        for at, url in enumerate(mill.urls):
            assert mill.state(at).tip.height == 0, "the cycle closed without a block"
            status, code = await offer(session, url, block_of(mill, certificate))
            assert (status, code) in ((409, "no-block-due"), (409, "void-certificate"))
