"""A miner sees its rewards and spends them, with the command that people use and a real node."""

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bft.errors import ConfigError
from chain.bitcoin.ledger import COINBASE_MATURITY
from chain.bitcoin.text import parse_amount
from chain.gossip_events import FinalitySubmitted
from miner.config import MinerConfig, create_home
from miner.purse import address_of
from tests.chain.federation_fixture import GENESIS, OTHER, WINNER, block_on, finality_of
from tests.chain.node.test_rpc import Client, served
from tests.chain.test_spending import MATURE, PARENT

pytestmark = pytest.mark.integration


async def gristmill(*args: str) -> tuple[int, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gristmill", "miner", *args, "--json", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out) if out else {}


def winners_home(path: Path) -> Path:
    """The fixture's winner's, with its key."""
    create_home(path, GENESIS, MinerConfig())
    (path / "identity.key").write_text(WINNER.secret.hex() + "\n")
    return path


async def test_rewards_are_seen_and_spent(tmp_path: Path) -> None:
    home = winners_home(tmp_path / "miner")
    async with served(tmp_path / "node") as (service, client):
        options = ("--home", str(home), "--node", client.url)
        options += ("--cookie", str(tmp_path / "node" / ".cookie"))
        status, answer = await gristmill("balance", *options)
        assert status == 0, answer
        shown = answer["data"]
        assert shown["height"] == len(MATURE)
        assert Decimal(shown["spendable"]) == 50  # the first block's only
        assert Decimal(shown["immature"]) == 50 * (COINBASE_MATURITY - 1)
        to = address_of(OTHER.public_key)
        status, answer = await gristmill("send", to, "12.5", *options, "--dry-run")
        assert status == 0
        assert answer["data"]["sent"] is False
        assert await client.call("getrawmempool") == []
        status, answer = await gristmill("send", to, "12.5", *options)
        assert status == 0
        sent = answer["data"]
        assert await client.call("getrawmempool") == [sent["txid"]]
        assert Decimal(sent["amount"]) + Decimal(sent["fee"]) + Decimal(sent["change"]) == 50
        status, answer = await gristmill("send", to, "1", *options)
        assert status == 5  # the only mature coin is on its way
        await _mine(service, client)
        status, answer = await gristmill("balance", *options)
        # Change, and the second block's reward, which is mature by now; not the newest fee.
        assert Decimal(answer["data"]["spendable"]) == 50 + Decimal(sent["change"])


async def _mine(service: Any, client: Client) -> None:
    chosen, fees = service.core.gossip.relay.pool.select(10**6)
    block = block_on(PARENT, reward=50 * 10**8 + fees, transactions=chosen)
    await client.call("submitblock", block.data.hex())
    service.step(FinalitySubmitted(finality=finality_of(block)))


def test_amounts() -> None:
    assert parse_amount("12.5") == 1_250_000_000
    assert parse_amount("0.00000001") == 1
    assert parse_amount("all") is None
    for wrong in (
        "",
        "-1",
        "0",
        "1e400",
        "1e999999",
        "nan",
        "inf",
        "0.000000001",
        "21000001",
        "12,5",
        "１２x",
    ):
        with pytest.raises(ConfigError):
            parse_amount(wrong)
