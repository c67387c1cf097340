"""A node that began from a snapshot checks what is before it: real sockets, real files."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bft.errors import ConfigError, DecodeError, Refused
from chain.gossip_events import BlockSubmitted, FinalitySubmitted
from chain.node.config import NodeConfig
from chain.node.guards import warnings
from chain.node.rpc_blocks import BlockMethods
from chain.node.service import NodeService
from chain.records.peer_message import SERVICES_NONE_OLD
from chain.snapshot.checking import HISTORY_NAME
from chain.snapshot.counting import Counting
from chain.snapshot.load import load_snapshot
from tests.chain.federation_fixture import (
    FEDERATION_KEY,
    GENESIS,
    START,
    block_on,
    finality_of,
    make_chain,
    view_of,
)
from tests.chain.node.homes import make_config
from tests.chain.snapshot.snapshots import LENGTH, make_snapshot, planted
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

BLOCKS = make_chain(LENGTH)


@asynccontextmanager
async def archive(home: Path) -> AsyncIterator[str]:
    """URL of a node that has all blocks."""
    service = NodeService(make_config(home))
    async with asyncio.timeout(PATIENCE_S):
        await service.start()
        for block in BLOCKS:
            service.step(BlockSubmitted(data=block.data))
        service.step(FinalitySubmitted(finality=finality_of(BLOCKS[-1])))
        try:
            yield f"http://{service.http_endpoint}"
        finally:
            await service.stop()


def begin(home: Path, *, false: bool = False, **fields: Any) -> NodeConfig:
    """The settings of a home whose store began from a snapshot."""
    config = make_config(home, **fields)
    path, head = make_snapshot(home / "made")
    digest = head.digest
    if false:
        data, digest = planted(home, head, honest_head=False)
        path.write_bytes(data)
    load_snapshot(path, config.database, GENESIS, FEDERATION_KEY, digest)
    return config


async def test_the_past_is_fetched_and_found_right(tmp_path: Path) -> None:
    async with archive(tmp_path / "archive") as url:
        config = begin(tmp_path / "node", history_from=(url,))
        service = NodeService(config)
        methods = BlockMethods(service.core, service.step)
        before = methods.getchainstates()["chainstates"]
        assert [(each["blocks"], each["validated"]) for each in before] == [
            (0, True),
            (LENGTH, False),
        ]
        assert before[1]["snapshot_blockhash"] == BLOCKS[-1].hash[::-1].hex()
        assert any("snapshot" in each for each in warnings(service.core))
        assert service.core.services == SERVICES_NONE_OLD
        assert service.core.history is not None
        await service.core.history.run()
        (after,) = methods.getchainstates()["chainstates"]
        assert (after["blocks"], after["validated"]) == (LENGTH, True)
        assert not any("snapshot" in each for each in warnings(service.core))
        assert not (tmp_path / "node" / HISTORY_NAME).exists()
        await service.stop()
        again = NodeService(config)
        assert again.core.history is None, "once is enough"
        await again.stop()


async def test_a_false_coin_stops_the_node_for_good(tmp_path: Path) -> None:
    async with archive(tmp_path / "archive") as url:
        config = begin(tmp_path / "node", false=True, history_from=(url,))
        service = NodeService(config)
        await service.start()
        try:
            with pytest.raises(Refused, match="counted from block 0") as refused:
                await service.core.until(lambda: False)
            assert refused.value.code == "false-history"
        finally:
            await service.stop()
        with pytest.raises(ConfigError, match="is false"):
            NodeService(config)


def test_counting_goes_on_where_it_was_and_takes_only_the_right_bytes(tmp_path: Path) -> None:
    counting = Counting(tmp_path / HISTORY_NAME, START, GENESIS.params)
    pairs = [(each.certified_header, each.data) for each in BLOCKS]
    assert counting.take(pairs[:2]) == 2
    with pytest.raises(DecodeError, match="another block"):
        counting.take([pairs[2], (pairs[3][0], pairs[2][1])])
    again = Counting(tmp_path / HISTORY_NAME, START, GENESIS.params)
    assert again.height() == 2, "all of a batch or none"
    assert again.take(pairs[2:]) == LENGTH
    assert again.digest() == make_snapshot(tmp_path / "made")[1].digest


def test_a_certified_block_that_is_not_valid_is_an_alarm(tmp_path: Path) -> None:
    counting = Counting(tmp_path / HISTORY_NAME, START, GENESIS.params)
    counting.take([(BLOCKS[0].certified_header, BLOCKS[0].data)])
    greedy = block_on(view_of(BLOCKS[0]), reward=2**50)
    with pytest.raises(Refused, match="certified and not valid") as refused:
        counting.take([(greedy.certified_header, greedy.data)])
    assert refused.value.code == "false-history"
