"""A JSON-RPC client that was written for Bitcoin Core drives our node.

`bitcoin-core-rpc` speaks to Core as bitcoin-cli does: the cookie file, JSON-RPC 2.0, positional and
named parameters, batches, amounts as decimals; and it checks each envelope strictly.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain.bitcoin.address import GRISTMILL, encode_address
from chain.bitcoin.text import amount
from chain.node.service import NodeService
from chain.records.coinbase import pay_to_key
from chain.rules.reward import subsidy
from tests.chain.federation_fixture import OTHER, WINNER, block_on
from tests.chain.node.test_rpc import MATURE, PARENT, SPEND, grown
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import FEE

core_rpc = pytest.importorskip("bitcoin_core_rpc", reason="needs `pip install bitcoin-core-rpc`")
pytestmark = pytest.mark.integration

CHILD = child_of(SPEND)
BLOCK = block_on(PARENT, transactions=(SPEND, CHILD))
HASH = BLOCK.hash[::-1].hex()
TIP = MATURE[-1].hash[::-1].hex()
MINE = encode_address(pay_to_key(WINNER.public_key), GRISTMILL)
Call = Callable[..., Any]


@asynccontextmanager
async def driven(home: Path, **settings: Any) -> AsyncIterator[tuple[Any, NodeService]]:
    """The foreign client, and the node that it drives."""
    service = NodeService(msgspec.structs.replace(grown(home), **settings))
    await service.start()
    try:
        url = f"http://{service.http_endpoint}"
        yield core_rpc.BitcoinCoreRpcClient(url, cookie_path=home / ".cookie"), service
    finally:
        await service.stop()


async def ask(client: Any, method: str, *params: Any, **named: Any) -> Any:
    return await asyncio.to_thread(client.call, method, named or list(params))


def txid(transaction: Any) -> str:
    found: str = transaction.txid[::-1].hex()
    return found


async def test_a_payment_from_the_mempool_into_a_block(tmp_path: Path) -> None:
    async with driven(tmp_path, transaction_index=True, address_index=True) as (client, _):
        raws = [SPEND.encode().hex(), CHILD.encode().hex()]
        (said,) = await ask(client, "testmempoolaccept", [raws[0]])
        assert said["allowed"] and said["fees"]["base"] == Decimal(FEE) / 10**8
        assert await ask(client, "getrawmempool") == []
        for raw in raws:
            await ask(client, "sendrawtransaction", raw)
        (said,) = await ask(client, "testmempoolaccept", [raws[0]])
        assert (said["allowed"], said["reject-reason"]) == (False, "known")
        entry = await ask(client, "getmempoolentry", txid(SPEND))
        assert (entry["descendantcount"], entry["spentby"]) == (2, [txid(CHILD)])
        assert entry["fees"]["descendant"] == 2 * entry["fees"]["base"]
        assert await ask(client, "getmempoolancestors", txid(CHILD)) == [txid(SPEND)]
        assert list(await ask(client, "getmempooldescendants", txid(SPEND), True)) == [txid(CHILD)]
        info = await ask(client, "getmempoolinfo")
        assert (info["size"], info["total_fee"]) == (2, Decimal(2 * FEE) / 10**8)
        waiting = await ask(client, "gettxout", txid(CHILD), 0)
        assert waiting["confirmations"] == 0
        assert await ask(client, "submitblock", BLOCK.data.hex()) is None
        assert (await ask(client, "getchaintips"))[0] == {
            "height": len(MATURE) + 1,
            "hash": HASH,
            "branchlen": 0,
            "status": "active",
        }


async def test_a_final_block_in_all_four_verbosities(tmp_path: Path) -> None:
    async with driven(tmp_path, transaction_index=True, address_index=True) as (client, service):
        await ask(client, "submitblock", BLOCK.data.hex())
        following = block_on(service.core.tree.tip)
        await ask(client, "submitblock", following.data.hex())
        assert await ask(client, "getblock", HASH, 0) == BLOCK.data.hex()
        assert (await ask(client, "getblock", HASH))["tx"][1:] == [txid(SPEND), txid(CHILD)]
        spend = (await ask(client, "getblock", HASH, 2))["tx"][1]
        assert spend["fee"] == Decimal(FEE) / 10**8
        assert "prevout" not in spend["vin"][0]
        block = await ask(client, "getblock", blockhash=HASH, verbosity=3)
        spent = [each["vin"][0]["prevout"] for each in block["tx"][1:]]
        assert spent[0]["generated"] and spent[0]["height"] == 1
        assert spent[0]["value"] == amount(subsidy(1, service.core.genesis.params))
        assert (spent[1]["generated"], spent[1]["height"]) == (False, len(MATURE) + 1)
        assert block["nTx"] == 3
        assert block["mediantime"] <= block["time"]
        found = await ask(client, "getrawtransaction", txid(CHILD), 1)
        assert (found["blockhash"], found["confirmations"]) == (HASH, 2)
        proof = await ask(client, "gettxoutproof", [txid(CHILD)])
        assert await ask(client, "verifytxoutproof", proof) == [txid(CHILD)]
        history = await ask(client, "getaddresshistory", f"addr({MINE})", len(MATURE))
        assert [entry["txid"] for entry in history][:3] == [
            txid(each) for each in BLOCK.transactions
        ]
        assert set(await ask(client, "getindexinfo")) == {"txindex", "address index"}


async def test_what_a_node_says_of_itself(tmp_path: Path) -> None:
    async with driven(tmp_path) as (client, _):
        info = await ask(client, "getblockchaininfo")
        assert (info["blocks"], info["headers"]) == (len(MATURE), len(MATURE))
        assert (info["initialblockdownload"], info["pruned"]) == (False, False)
        (stale,) = info["warnings"]
        assert "newest certificate" in stale, "the fixture's chain is years old"
        network = await ask(client, "getnetworkinfo")
        assert network["connections"] == 0
        assert await ask(client, "getpeerinfo") == []
        assert await ask(client, "uptime") >= 0
        assert await ask(client, "getdifficulty") == 0
        coins = await ask(client, "gettxoutsetinfo")
        assert (coins["txouts"], coins["height"]) == (len(MATURE), len(MATURE))
        digested = await ask(client, "gettxoutsetinfo", "muhash")
        assert digested == {**coins, "muhash": digested["muhash"]}
        assert len(digested["muhash"]) == 64
        scanned = await ask(client, "scantxoutset", "start", [{"desc": f"addr({MINE})"}])
        assert scanned["total_amount"] == coins["total_amount"]
        fee = await ask(client, "estimatesmartfee", 2)
        assert fee == {"feerate": Decimal("0.00001000"), "blocks": 2}
        script = pay_to_key(OTHER.public_key).hex()
        assert (await ask(client, "decodescript", script))["type"] == "witness_v0_keyhash"
        checked = await ask(client, "validateaddress", MINE)
        assert (checked["isvalid"], checked["witness_version"]) == (True, 0)


async def test_batches_and_errors_keep_to_the_envelope(tmp_path: Path) -> None:
    async with driven(tmp_path) as (client, _):
        calls = [("getblockcount", []), ("getblockhash", [1]), ("getblockhash", {"height": 2})]
        count, first, second = await asyncio.to_thread(client.call_batch, calls)
        assert count == len(MATURE)
        assert [first, second] == [block.hash[::-1].hex() for block in MATURE[:2]]
        for method, params, code in (
            ("nosuchmethod", [], -32601),
            ("getblock", ["00" * 32], -5),
            ("getrawtransaction", [txid(CHILD)], -5),
            ("gettxoutproof", [["11" * 32]], -5),
            ("getaddresshistory", [f"addr({MINE})"], -1),
            ("estimatesmartfee", [0], -8),
        ):
            with pytest.raises(core_rpc.RpcError) as caught:
                await ask(client, method, *params)
            assert caught.value.code == code, method


async def test_a_pruned_node_says_so(tmp_path: Path) -> None:
    async with driven(tmp_path, prune_blocks=288) as (client, service):
        assert (await ask(client, "getblockchaininfo"))["pruneheight"] == 1
        tip = service.core.tree.tip
        for _ in range(200):
            block = block_on(tip)
            await ask(client, "submitblock", block.data.hex())
            tip = service.core.tree.tip
        info = await ask(client, "getblockchaininfo")
        assert info["pruneheight"] == tip.height - 288
        gone = MATURE[0].hash[::-1].hex()
        with pytest.raises(core_rpc.RpcError, match="pruned"):
            await ask(client, "getblock", gone)
        assert await ask(client, "getblockheader", gone, False) == MATURE[0].header.encode().hex()
