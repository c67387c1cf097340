"""A chain node with a few blocks, and its contract.

JSON-RPC answers as Bitcoin Core does, with 500 where a call failed; it has tests of its own.
"""

from pathlib import Path

import aiohttp

from chain.federation import api
from chain.node.service import NodeService
from tests.api import contract
from tests.chain.federation_fixture import make_chain
from tests.chain.node.homes import make_config

BLOCKS = 3
RPC = "/"


async def check(root: Path, seed: int, budget_s: float) -> bool:
    """Whether it kept what its document says."""
    home = root / "node"
    service = NodeService(make_config(home))
    await service.start()
    try:
        url = f"http://{service.http_endpoint}"
        async with aiohttp.ClientSession() as session:
            for block in make_chain(BLOCKS):
                async with session.post(url + api.BLOCKS, data=block.data) as answer:
                    assert answer.status == 202, await answer.text()
        examples = {"Reference": str(BLOCKS)}
        return await contract.check(url, examples, root, seed, budget_s, (RPC,))
    finally:
        await service.stop()
