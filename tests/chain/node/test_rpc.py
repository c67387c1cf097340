"""The node's JSON-RPC: Core's envelope, codes and shapes, over a real socket."""

import asyncio
import json
import stat
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from bft.codec.canonical import decode
from chain.bitcoin.address import GRISTMILL, encode_address
from chain.federation import api
from chain.gossip_events import SaveBlock, SaveFinal
from chain.node.config import NodeConfig
from chain.node.service import NodeService
from chain.node.store import Store
from chain.params import MINIMAL
from chain.records.coinbase import pay_to_key
from chain.records.template import BlockTemplate
from chain.records.transaction import decode_transaction
from chain.rules.reward import subsidy
from tests.chain.federation_fixture import CHAIN_ID, OTHER, START, WINNER, block_on, view_of
from tests.chain.node.homes import make_config
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import FEE, MATURE, PARENT, spend_of

pytestmark = pytest.mark.integration

SPEND = spend_of(MATURE[0])
TXID = SPEND.txid[::-1].hex()
TIP = MATURE[-1].hash[::-1].hex()


def grown(home: Path) -> NodeConfig:
    """A home whose node has the mature chain for final."""
    config = make_config(home)
    store = Store(config.database, CHAIN_ID, START)
    steps = ((SaveBlock(block=block), SaveFinal(view=view_of(block))) for block in MATURE)
    store.save([effect for step in steps for effect in step])
    store.close()
    return config


class Client:
    """What bitcoin-cli does: one POST a call, the cookie as password, numbers as decimals."""

    def __init__(self, session: aiohttp.ClientSession, url: str, cookie: str) -> None:
        self._session, self.url, self._cookie = session, url, cookie

    async def post(self, body: Any, cookie: str | None = None) -> tuple[int, Any]:
        secret = self._cookie if cookie is None else cookie
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Authorization": "Basic " + b64encode(secret.encode()).decode()}
        async with self._session.post(self.url + "/", data=data, headers=headers) as answer:
            text = await answer.read()
            return answer.status, _decoded(text) if text.strip() else None

    async def call(self, method: str, *params: Any) -> Any:
        status, answer = await self.post({"id": 1, "method": method, "params": params})
        assert status == 200, answer
        assert answer["error"] is None
        assert answer["id"] == 1
        return answer["result"]

    async def error(self, method: str, *params: Any) -> int:
        status, answer = await self.post({"id": "x", "method": method, "params": params})
        assert status in (400, 404, 500)
        assert answer["result"] is None
        assert answer["error"]["message"]
        return int(answer["error"]["code"])


def _decoded(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[NodeService, Client]]:
    service = NodeService(grown(home))
    await service.start()
    try:
        cookie = (home / ".cookie").read_text()
        async with aiohttp.ClientSession() as session:
            yield service, Client(session, f"http://{service.http_endpoint}", cookie)
    finally:
        await service.stop()


async def test_blocks_have_cores_shapes(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        assert await client.call("getblockcount") == len(MATURE)
        assert await client.call("getbestblockhash") == TIP
        assert await client.call("getblockhash", len(MATURE)) == TIP
        info = await client.call("getblockchaininfo")
        assert (info["blocks"], info["bestblockhash"]) == (len(MATURE), TIP)
        block = await client.call("getblock", MATURE[4].hash[::-1].hex(), 2)
        assert block["confirmations"] == len(MATURE) - 4
        assert block["nextblockhash"] == MATURE[5].hash[::-1].hex()
        assert block["size"] == len(MATURE[4].data)
        (coinbase,) = block["tx"]
        reward = coinbase["vout"][0]
        assert reward["value"] == Decimal(subsidy(5, MINIMAL)) / 10**8
        assert reward["scriptPubKey"]["type"] == "witness_v0_keyhash"
        assert coinbase["vout"][1]["scriptPubKey"]["type"] == "nulldata"
        assert await client.call("getblock", TIP, 0) == MATURE[-1].data.hex()
        assert await client.call("getblockheader", TIP, False) == MATURE[-1].header.encode().hex()


async def test_a_reward_is_found_spent_mined_and_gone(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, client):
        mine = encode_address(pay_to_key(WINNER.public_key), GRISTMILL)
        theirs = encode_address(pay_to_key(OTHER.public_key), GRISTMILL)
        before = await client.call("scantxoutset", "start", [f"addr({mine})"])
        assert len(before["unspents"]) == len(MATURE)
        assert before == await client.call("scantxoutset", "start", [f"addr({mine})"] * 2)
        raw = SPEND.encode().hex()
        decoded = await client.call("decoderawtransaction", raw)
        assert decoded["txid"] == TXID
        assert decoded["vout"][0]["scriptPubKey"]["address"] == theirs
        assert await client.call("sendrawtransaction", raw) == TXID
        assert await client.call("sendrawtransaction", raw) == TXID  # again: no harm
        assert await client.call("getrawmempool") == [TXID]
        entry = await client.call("getmempoolentry", TXID)
        assert entry["fees"]["base"] == Decimal(FEE) / 10**8
        assert await client.call("getrawtransaction", TXID) == raw
        first = MATURE[0].transactions[0].txid[::-1].hex()
        assert await client.call("gettxout", first, 0) is None
        assert (await client.call("gettxout", first, 0, False))["coinbase"] is True
        block = block_on(PARENT, transactions=(SPEND,))
        assert await client.call("submitblock", block.data.hex()) is None
        assert await client.call("getblockcount") == block.certificate.height
        assert await client.call("getrawmempool") == []
        assert (await client.call("gettxout", TXID, 0))["confirmations"] == 1
        assert await client.error("sendrawtransaction", raw) == -27
        assert service.core.tree.tip == view_of(block)


async def test_a_winner_is_offered_what_waits(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client), aiohttp.ClientSession() as session:
        for each in (SPEND, child_of(SPEND)):
            await client.call("sendrawtransaction", each.encode().hex())
        async with session.get(client.url + api.TEMPLATE.format(parent=TIP)) as answer:
            template = decode(BlockTemplate, await answer.read())
        chosen = tuple(decode_transaction(each) for each in template.transactions)
        assert chosen == (SPEND, child_of(SPEND))
        reward = subsidy(PARENT.height + 1, MINIMAL) + template.fees
        block = block_on(PARENT, reward=reward, transactions=chosen)
        assert await client.call("submitblock", block.data.hex()) is None
        async with session.get(client.url + api.TEMPLATE.format(parent=TIP)) as answer:
            assert answer.status == 404  # another tip now


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("nosuchmethod",), -32601),
        (("getblockhash", 10**30), -8),
        (("getblockhash", "1"), -3),
        (("getblockhash",), -32602),
        (("getblock", "00" * 32), -5),
        (("getblock", "zz"), -8),
        (("sendrawtransaction", "00"), -22),
        (("sendrawtransaction", spend_of(MATURE[50]).encode().hex()), -26),
        (("sendrawtransaction", 7), -3),
        (("gettxout", "00" * 32, "0"), -3),
        (("scantxoutset", "start", ["addr(gr1nonsense)"]), -5),
        (("getmempoolentry", "11" * 32), -5),
    ],
)
async def test_wrong_calls_have_cores_codes(
    tmp_path: Path, call: tuple[Any, ...], code: int
) -> None:
    async with served(tmp_path) as (_, client):
        assert await client.error(*call) == code


async def test_envelopes(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        modern = {"jsonrpc": "2.0", "id": 3, "method": "getblockcount"}
        assert await client.post(modern) == (
            200,
            {"jsonrpc": "2.0", "id": 3, "result": len(MATURE)},
        )
        wrong = {**modern, "method": "nosuch"}
        status, answer = await client.post([modern, wrong, {**modern, "id": 4}])
        assert status == 200
        assert [each["id"] for each in answer] == [3, 3, 4]
        assert answer[1]["error"]["code"] == -32601
        assert "result" not in answer[1]
        del modern["id"]
        assert await client.post(modern) == (204, None)  # a notification
        named = {"id": 1, "method": "getblockhash", "params": {"height": len(MATURE)}}
        assert (await client.post(named))[1]["result"] == TIP
        assert (await client.post(b"{"))[1]["error"]["code"] == -32700
        assert (await client.post(b"[]"))[1]["error"]["code"] == -32600
        assert (await client.post(b"7"))[1]["error"]["code"] == -32600
        assert (await client.post([modern] * 101))[1]["error"]["code"] == -32600
        text = await client.call("help")
        assert "getblockcount" in text.split("\n")
        assert "Hash of the best block" in await client.call("help", "getbestblockhash")


async def test_only_who_can_read_the_cookie_may_call(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        assert stat.S_IMODE((tmp_path / ".cookie").stat().st_mode) == 0o600
        status, answer = await client.post({"method": "getblockcount"}, "__cookie__:guess")
        assert (status, answer) == (401, None)


async def test_parameters_of_other_types_are_the_callers_mistake(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, client):
        assert await client.error("help", 5) == -3
        assert await client.error("getblock", TIP, "1") == -3
        assert await client.error("scantxoutset", "start", 5) == -8
        assert await client.error("scantxoutset", "start", "addr") == -8
        assert await client.error("scantxoutset", "start", ["raw(51)"] * 1_001) == -8
        pairs = [TIP[at : at + 2] for at in range(0, 64, 2)]
        for odd in (" ".join(pairs), "\n".join(pairs), TIP + " ", TIP[:-1], TIP + "\n"):
            assert await client.error("getblock", odd) == -8
        for odd in ("5 1", "51 51", "51\n", "515", "\u0665\u0661"):
            assert await client.error("decodescript", odd) == -22


async def test_an_authorization_that_is_no_text_is_a_wrong_one(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, _):
        host, port = service.http_endpoint.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST / HTTP/1.1\r\nHost: node\r\nAuthorization: Basic \xff\xfe\r\n"
        writer.write(head + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
        assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
