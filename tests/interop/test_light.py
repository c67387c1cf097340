"""The light client's page: its rules in Node, the page itself in a real browser against a node."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from bft.codec.canonical import encode
from bft.crypto import bls
from chain.bitcoin.merkle_block import encode_merkle_block
from chain.federation import api
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.peer_message import encode_certheaders
from chain.records.score_log import BlockFinal
from chain.rules.reward import subsidy
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    OTHER,
    OTHER_SECRET,
    START,
    WINNER,
    block_on,
    finality_of,
    view_of,
)
from tests.chain.test_spending import MATURE, PARENT, spend_of
from tests.interop.test_noble import browse
from tests.interop.tools import CHROMIUM, HERE, NODE, ROOT, node

STATIC = ROOT / "chain/light/static"
SPENDS = tuple(spend_of(block) for block in MATURE[:1])
LAST = block_on(PARENT, transactions=SPENDS, reward=subsidy(PARENT.height + 1, MINIMAL))
CHAIN = (*MATURE[-3:], LAST)
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def header(block: Block) -> bytes:
    return block.certified_header.encode()


def test_the_bundle_is_made_of_what_the_examples_have() -> None:
    bundle = (STATIC / "verify.bundle.mjs").read_text(encoding="utf-8")
    source = (ROOT / "examples/verify.mjs").read_text(encoding="utf-8")
    for name in ("certificateMessage", "verifyCertificate", "verifyRound", "verifySignature"):
        assert name in source
        assert f"  {name}" in bundle.rpartition("export {")[2]
    pinned = json.loads((ROOT / "chain/light/bundle/package.json").read_text())["dependencies"]
    tested = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert {name: tested[name] for name in pinned if name in tested} == {
        name: version for name, version in pinned.items() if name in tested
    }


@needs_node
async def test_the_browsers_rules_are_ours(tmp_path: Path) -> None:
    ids = [each.txid for each in LAST.transactions]
    parent = view_of(CHAIN[0])
    backwards = block_on(parent, time=parent.time)
    refused = {
        "the winner did not sign": block_on(
            parent, miner=OTHER, winner=WINNER.public_key, payee=WINNER.public_key
        ),
        "another federation": block_on(parent, secret=OTHER_SECRET),
        "too late": block_on(parent, not_after=parent.time + 5),
        "too early": block_on(parent, not_before=parent.time + 50),
        "not after its parent": block_on(
            parent, time=backwards.header.time, not_before=parent.time - 1
        ),
        "another parent": block_on(START),
        "another height": block_on(parent, height=parent.height + 2),
    }
    cases = {
        "key": FEDERATION_KEY.hex(),
        "otherKey": bls.public_key(OTHER_SECRET).hex(),
        "chain": CHAIN_ID.hex(),
        "headers": encode_certheaders([header(block) for block in CHAIN]).hex(),
        "blocks": [block.hash[::-1].hex() for block in CHAIN],
        "finality": finality_of(LAST).signature.hex(),
        "proofs": [
            {
                "txid": txid[::-1].hex(),
                "place": place,
                "proof": encode_merkle_block(LAST.header.encode(), ids, {txid}).hex(),
            }
            for place, txid in enumerate(ids)
        ],
        "refused": [{"why": why, "header": header(block).hex()} for why, block in refused.items()],
    }
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    told = await node(HERE / "light.mjs", STATIC / "chain.mjs", path)
    assert told["wrong"] == []
    assert told["counts"]["blocks"] == len(CHAIN)
    assert told["counts"]["proofs"] == len(ids) == 2
    assert told["counts"]["refused"] > 100


@pytest.fixture
async def page() -> AsyncIterator[str]:
    """Its address, on any web server: no build step."""
    app = web.Application()
    app.router.add_static("/", STATIC)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/light.html"
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """What a replica answers on the page's four routes, for any page."""
    chain = {block.certificate.height: block for block in (*MATURE, LAST)}
    ids = [each.txid for each in LAST.transactions]

    async def status(request: web.Request) -> web.Response:
        return web.json_response({"height": max(chain)})

    async def headers(request: web.Request) -> web.Response:
        first = int(request.query["from"])
        found = [header(chain[at]) for at in range(first, first + 64) if at in chain]
        return web.Response(body=encode_certheaders(found))

    async def finality(request: web.Request) -> web.Response:
        block = chain[int(request.match_info["height"])]
        word = finality_of(block)
        final = BlockFinal(
            cycle=1, height=word.height, header=block.header.encode(), signature=word.signature
        )
        return web.Response(body=encode(final))

    async def proof(request: web.Request) -> web.Response:
        wanted = {bytes.fromhex(request.match_info["txid"])[::-1]}
        return web.Response(body=encode_merkle_block(LAST.header.encode(), ids, wanted))

    async def readable(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Access-Control-Allow-Origin"] = "*"

    app = web.Application()
    app.on_response_prepare.append(readable)
    app.router.add_get(api.STATUS, status)
    app.router.add_get(api.HEADERS, headers)
    app.router.add_get(api.FINALITY, finality)
    app.router.add_get(api.PROOF, proof)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@needs_chromium
@pytest.mark.integration
@pytest.mark.slow
async def test_a_browser_follows_the_chain_by_itself(
    tmp_path: Path, page: str, server: str
) -> None:
    right = {
        "key": FEDERATION_KEY.hex(),
        "chain": CHAIN_ID.hex(),
        "server": server,
        "stale": "9999999999",
        "transaction": SPENDS[0].txid[::-1].hex(),
        "height": str(LAST.certificate.height),
    }
    good = await browse(page, tmp_path / "a", "--dump-dom", **right)
    assert 'data-verdict="good"' in good, good[-3_000:]
    assert good.count('<li class="good">') == 4
    assert LAST.hash[::-1].hex() in good
    assert "64 certificates" in good
    for wrong, word in (
        ({"key": bls.public_key(OTHER_SECRET).hex()}, "the signature is not the federation's"),
        ({"chain": "00" * 32}, "it is for chain"),
        ({"stale": "60"}, "stale"),
        ({"transaction": "00" * 32}, "answered 500"),
    ):
        bad = await browse(page, tmp_path / "a", "--dump-dom", **{**right, **wrong})
        assert 'data-verdict="bad"' in bad, wrong
        assert word in bad, wrong
