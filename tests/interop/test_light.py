"""The light client's page: its rules in Node, the page itself in a real browser against servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec import structs

from bft.codec.canonical import encode
from bft.crypto import bls
from chain.bitcoin.merkle_block import encode_merkle_block
from chain.federation import api
from chain.light.cli import catch_up
from chain.light.follow import STALE_CYCLES, begin, cycle_s
from chain.light.source import Source
from chain.params import MAIN, MINIMAL, Params
from chain.records.block import Block
from chain.records.federation import FederationKey, MemberRecord, activation_message
from chain.records.peer_message import encode_certheaders
from chain.records.score_log import BlockFinal
from chain.rules.reward import subsidy
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    FEDERATION_SECRET,
    GENESIS,
    OTHER,
    OTHER_SECRET,
    START,
    WINNER,
    block_on,
    finality_of,
    key_of,
    view_of,
)
from tests.chain.test_spending import MATURE, PARENT, spend_of
from tests.interop.tools import CHROMIUM, HERE, ROOT, needs_chromium, needs_node, node

STATIC = ROOT / "chain/light/static"


def members_of(number: int) -> tuple[MemberRecord, ...]:
    """An epoch's; its first one names it."""
    if number == 0:
        return GENESIS.members
    return tuple(
        MemberRecord(
            operator=b"operator %d of epoch %d" % (index, number),
            key=key_of(f"replica {index}").public_key,
            tls_certificate=bytes([number, index]) * 40,
            link=b"127.0.0.1:%d" % (1 + index),
            api=b"127.0.0.1:%d" % (100 + index),
        )
        for index in range(4)
    )


def epoch_of(
    number: int,
    *,
    members: Sequence[MemberRecord] | None = None,
    secret: int = FEDERATION_SECRET,
    commitments: int = 3,
    **fields: Any,
) -> FederationKey:
    """The certificate of an epoch; right unless a keyword breaks a rule."""
    listed = members_of(number) if members is None else tuple(members)
    key = bls.public_key(secret)
    values = (key,) * commitments
    message = activation_message(CHAIN_ID, number, listed, values)
    made = FederationKey(
        chain_id=CHAIN_ID,
        epoch=number,
        members=listed,
        commitments=values,
        qualified=(0, 1, 2),
        activation=bls.sign(secret, message),
    )
    return structs.replace(made, **fields)


SPENDS = tuple(spend_of(block) for block in MATURE[:1])
EPOCHS = tuple(epoch_of(number) for number in range(3))
NAMED: dict[str, Any] = {"epoch": 2, "next_federation": EPOCHS[-1].digest}
REWARD = subsidy(PARENT.height + 1, MINIMAL)
LAST = block_on(PARENT, transactions=SPENDS, reward=REWARD, **NAMED)
FORK = block_on(PARENT, time=PARENT.time + 11, **NAMED)  # proven as well: a fault of the federation
CHAIN = (*MATURE[-3:], LAST)
STALE_S = STALE_CYCLES * cycle_s(MINIMAL)


def header(block: Block) -> bytes:
    return block.certified_header.encode()


def test_the_bundle_is_made_of_what_the_examples_have() -> None:
    bundle = (STATIC / "verify.bundle.mjs").read_text(encoding="utf-8")
    exported = bundle.rpartition("export {")[2]
    for name, file in (
        ("certificateMessage", "verify"),
        ("verifyCertificate", "verify"),
        ("verifyRound", "verify"),
        ("verifySignature", "verify"),
        ("ask", "page"),
        ("start", "page"),
    ):
        source = (ROOT / f"examples/{file}.mjs").read_text(encoding="utf-8")
        assert name in source and f"  {name}" in exported
    pinned = json.loads((ROOT / "chain/light/bundle/package.json").read_text())["dependencies"]
    tested = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert {name: tested[name] for name in pinned if name in tested} == {
        name: version for name, version in pinned.items() if name in tested
    }


def told_lengths() -> Params:
    """Every length of a phase another number, so that none is taken for another."""
    names = ("registration", "training", "reveal", "evaluation", "snapshot", "block")
    return structs.replace(
        MINIMAL, **{f"{name}_ms": 1_000 * 3**at for at, name in enumerate(names)}, ranks_max=7
    )


def refused_epochs() -> dict[str, tuple[FederationKey, ...]]:
    first, second, third = EPOCHS
    twice = (*members_of(2)[:3], members_of(2)[0])
    return {
        "no epochs": (),
        "epochs that end too early": (first, second),
        "a gap": (first, third),
        "another order": (second, first, third),
        "another chain's": (first, structs.replace(second, chain_id=bytes(32)), third),
        "a forged one": (first, epoch_of(1, secret=OTHER_SECRET), third),
        "a signature for other members": (
            first,
            structs.replace(second, members=members_of(2)),
            third,
        ),
        "too small a quorum": (first, second, epoch_of(2, commitments=2)),
        "a member twice": (first, second, epoch_of(2, members=twice)),
        "two members": (first, second, epoch_of(2, members=members_of(2)[:2], commitments=2)),
        "a foundation by others": (epoch_of(0, members=members_of(1)), second, third),
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
    founded = [structs.replace(GENESIS, params=each) for each in (MINIMAL, MAIN, told_lengths())]
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
        "genesis": [
            {
                "genesis": encode(genesis).hex(),
                "chain": genesis.chain_id.hex(),
                "stale": STALE_CYCLES * cycle_s(genesis.params),
            }
            for genesis in founded
        ],
        "epochs": {
            "right": encode(EPOCHS).hex(),
            "newest": EPOCHS[-1].epoch,
            "digest": EPOCHS[-1].digest.hex(),
            "operator": EPOCHS[-1].members[0].operator.decode(),
            "other": encode((epoch_of(0, qualified=(0, 1, 3)),)).hex(),
            "refused": [
                {"why": why, "data": encode(epochs).hex()}
                for why, epochs in refused_epochs().items()
            ],
        },
    }
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    told = await node(HERE / "light.mjs", STATIC, path)
    assert told["wrong"] == []
    assert told["counts"]["blocks"] == len(CHAIN)
    assert told["counts"]["proofs"] == len(ids) == 2
    assert told["counts"]["epochs"] > 0
    assert told["counts"]["refused"] > 150


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[str]:
    """The application's address."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def replica(last: Block, epochs: Sequence[FederationKey] = EPOCHS) -> web.Application:
    """What a replica answers on the page's routes, for any page."""
    chain = {block.certificate.height: block for block in (*MATURE, last)}
    ids = [each.txid for each in LAST.transactions]

    async def status(request: web.Request) -> web.Response:
        return web.json_response({"height": max(chain)})

    async def genesis(request: web.Request) -> web.Response:
        return web.Response(body=encode(GENESIS))

    async def epochs_from(request: web.Request) -> web.Response:
        first = int(request.query["from"])
        return web.Response(body=encode(tuple(epochs[first : first + 2])))

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
        wanted = bytes.fromhex(request.match_info["txid"])[::-1]
        if wanted not in ids:
            raise web.HTTPNotFound(text="no such transaction")
        return web.Response(body=encode_merkle_block(LAST.header.encode(), ids, {wanted}))

    async def readable(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Access-Control-Allow-Origin"] = "*"

    app = web.Application()
    app.on_response_prepare.append(readable)
    app.router.add_get(api.STATUS, status)
    app.router.add_get(api.GENESIS, genesis)
    app.router.add_get(api.EPOCHS, epochs_from)
    app.router.add_get(api.HEADERS, headers)
    app.router.add_get(api.FINALITY, finality)
    app.router.add_get(api.PROOF, proof)
    return app


async def test_the_command_asks_for_epochs_until_it_has_the_one_that_is_named() -> None:
    """However many a server puts into one answer; this one gives two."""
    for epochs, known in ((EPOCHS, 3), (EPOCHS[:2], 2)):
        async with running(replica(LAST, epochs)) as server:
            found = await asyncio.to_thread(
                catch_up, begin(GENESIS, FEDERATION_KEY), (), [Source(server)], GENESIS
            )
        assert found[0].proven.hash == LAST.hash and len(found[1]) == known


@needs_chromium
@pytest.mark.integration
@pytest.mark.slow
async def test_a_browser_follows_the_chain_by_itself(tmp_path: Path) -> None:
    """Its page on any web server, without a build step, beside servers that it need not trust."""
    files = web.Application()
    files.router.add_static("/", STATIC)
    async with AsyncExitStack() as stack:
        page = await stack.enter_async_context(running(files))
        server = await stack.enter_async_context(running(replica(LAST)))
        fork = await stack.enter_async_context(running(replica(FORK)))
        short = await stack.enter_async_context(running(replica(LAST, EPOCHS[:2])))
        right = {
            "key": FEDERATION_KEY.hex(),
            "chain": CHAIN_ID.hex(),
            "server": f"{page} {server}",
            "transaction": SPENDS[0].txid[::-1].hex(),
            "height": str(LAST.certificate.height),
        }
        few = str(LAST.certificate.height - 2)  # a refusal needs no long chain
        late = 1000 * (LAST.certificate.not_before + STALE_S + 1)
        refused: tuple[tuple[dict[str, str], str], ...] = (
            ({"key": bls.public_key(OTHER_SECRET).hex()}, "the signature is not the federation's"),
            ({"chain": "00" * 32}, f"the genesis record is of chain {CHAIN_ID.hex()}"),
            ({"now_ms": str(late)}, f"stale: the newest certificate is {STALE_S + 1} s old"),
            ({"server": short}, "names members of none of the 2 epochs known here"),
            ({"server": f"{server} {fork}"}, "prove two blocks at height"),
            ({"server": page}, "it is no replica"),
            ({"server": "ftp://x"}, "ftp://x is no http:// or https:// address"),
            ({"transaction": "00" * 32}, "answered 404: no such transaction"),
            ({"height": ""}, "the height of the transaction's block is missing"),
        )
        cases = tmp_path / "cases.json"
        given = {
            "page": f"{page}/light.html",
            "now_ms": 1000 * (LAST.certificate.not_before + STALE_S),
            "cases": [right, *({**right, "from": few, **wrong} for wrong, _ in refused)],
        }
        cases.write_text(json.dumps(given))
        assert CHROMIUM is not None
        told = await node(HERE / "light_page.mjs", CHROMIUM, tmp_path, cases)
    good, *bad = told["told"]
    assert good["verdict"] == "good" and len(good["checks"]) == 6, good
    assert LAST.hash[::-1].hex() in good["text"] and "64 certificates" in good["text"]
    assert "it is no replica" in good["checks"][0], "the page's own server is none, and is named"
    assert "epoch 2: operator 0 of epoch 2, operator 1" in good["checks"][3]
    for answer, (wrong, word) in zip(bad, refused, strict=True):
        assert answer["verdict"] == "bad" and word in answer["text"], (wrong, answer["checks"])
    assert told["seen"]["violations"] == [] and told["seen"]["wide"] == []
