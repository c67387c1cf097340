"""A winner asks its nodes for transactions."""

from pathlib import Path

import pytest

from chain.federation.template import Offer, fetch_template
from tests.chain.federation_fixture import START
from tests.chain.node.test_rpc import SPEND, served
from tests.chain.test_spending import FEE, PARENT

pytestmark = pytest.mark.integration


async def test_the_first_node_that_answers_is_taken(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        await client.call("sendrawtransaction", SPEND.encode().hex())
        nodes = ("http://127.0.0.1:1", client.url)
        assert await fetch_template(nodes, PARENT.hash) == ((SPEND,), FEE, b"")
        assert await fetch_template(nodes, START.hash) == Offer()  # not its tip
    assert await fetch_template(nodes, PARENT.hash) == Offer()  # nobody is there
    assert await fetch_template((), PARENT.hash) == Offer()
