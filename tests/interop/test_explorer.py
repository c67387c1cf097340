"""A node's pages in a real browser: from the front page to a certificate, a payment, an address."""

from pathlib import Path

import pytest

from chain.gossip_events import SaveBlock, SaveFinal
from chain.node.service import NodeService
from chain.node.store import Store
from tests.chain.federation_fixture import CHAIN_ID, START, block_on, view_of
from tests.chain.node.homes import make_config
from tests.chain.test_spending import MATURE, PARENT, spend_of
from tests.interop.tools import CHROMIUM, HERE, needs_chromium, needs_node, node

SPENDING = block_on(PARENT, transactions=(spend_of(MATURE[0]),))


@needs_chromium
@needs_node
@pytest.mark.integration
@pytest.mark.slow
async def test_a_visitor_clicks_from_the_front_page_to_a_transaction_and_an_address(
    tmp_path: Path,
) -> None:
    """On the way no page has an error, an axe-core violation, or scrolls sideways on a phone."""
    assert CHROMIUM is not None
    config = make_config(tmp_path / "node", transaction_index=True, address_index=True)
    store = Store(config.database, CHAIN_ID, START, indexes=config.indexes)
    for block in (*MATURE, SPENDING):
        store.save([SaveBlock(block=block), SaveFinal(view=view_of(block))])
    store.close()
    service = NodeService(config)
    await service.start()
    try:
        url = f"http://{service.http_endpoint}"
        seen = await node(HERE / "explorer.mjs", CHROMIUM, url, tmp_path)
    finally:
        await service.stop()
    assert seen["verdict"] == "good", seen["checks"]
    assert seen["errors"] == [] and seen["violations"] == [] and seen["wide"] == []
    assert len(seen["visited"]) == 9
    assert all((tmp_path / f"{name}.png").stat().st_size for name in seen["visited"])
