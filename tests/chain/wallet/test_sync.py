"""A wallet that has genesis record and key takes proven blocks only, whoever serves them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from bft.codec.canonical import encode
from bft.crypto import bls
from bft.errors import BadSignature, DecodeError, Refused
from chain.federation import api
from chain.records.block import Block
from chain.records.coinbase import pay_to_key
from chain.records.peer_message import encode_certheaders
from chain.records.score_log import BlockFinal
from chain.wallet.account import Account, descriptor_of
from chain.wallet.book import Book
from chain.wallet.sync import Pinned, catch_up
from tests.chain.federation_fixture import (
    FEDERATION_KEY,
    GENESIS,
    OTHER,
    OTHER_SECRET,
    START,
    WINNER,
    assemble,
    block_on,
    finality_of,
    make_chain,
    view_of,
)

CHAIN = make_chain(api.HEADERS_LIMIT_MAX + 3)
PINNED = Pinned(genesis=GENESIS, federation_key=FEDERATION_KEY)
ACCOUNT = Account(descriptor=descriptor_of(bytes(16)), keys=(WINNER.public_key,))
REWARDS = CHAIN[0].coinbase.reward


class Server:
    """What it serves can be bent."""

    def __init__(self) -> None:
        self.blocks = {block.certificate.height: block.data for block in CHAIN}
        self.headers: list[Block] = [*CHAIN]
        self.words: dict[int, Block] = {}
        self.height = len(CHAIN)
        self.url = ""

    async def status(self, request: web.Request) -> web.Response:
        return web.json_response({"height": self.height})

    async def block(self, request: web.Request) -> web.Response:
        return web.Response(body=self.blocks[int(request.match_info["height"])])

    async def certified(self, request: web.Request) -> web.Response:
        first = int(request.query["from"])
        chosen = self.headers[first - 1 :][: api.HEADERS_LIMIT_MAX]
        return web.Response(
            body=encode_certheaders([block.certified_header.encode() for block in chosen])
        )

    async def finality(self, request: web.Request) -> web.Response:
        block = self.words.get(int(request.match_info["height"]))
        if block is None:
            raise web.HTTPNotFound
        word = finality_of(block)
        header = block.header.encode()
        final = BlockFinal(cycle=1, height=word.height, header=header, signature=word.signature)
        return web.Response(body=encode(final))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found, app = Server(), web.Application()
    app.router.add_get(api.STATUS, found.status)
    app.router.add_get(api.BLOCK, found.block)
    app.router.add_get(api.HEADERS, found.certified)
    app.router.add_get(api.FINALITY, found.finality)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}"
    yield found
    await runner.cleanup()


async def looked(server: Server, pinned: Pinned | None = PINNED, book: Book | None = None) -> Book:
    found = Book(script_at=ACCOUNT.script) if book is None else book
    save: Callable[[Book], None] = lambda book: None  # noqa: E731
    await asyncio.to_thread(catch_up, found, server.url, save, pinned)
    return found


async def test_what_is_proven_is_taken_and_no_more(server: Server) -> None:
    book = await looked(server)
    assert book.height == len(CHAIN) - 1  # nothing proves the newest one yet
    assert book.balance()["immature"] == REWARDS * book.height
    server.words[len(CHAIN)] = CHAIN[-1]
    book = await looked(server, book=book)
    assert (book.height, book.block) == (len(CHAIN), CHAIN[-1].hash)
    above = block_on(view_of(CHAIN[-1]))
    server.headers.append(above)
    server.blocks[server.height + 1] = above.data
    server.height += 1
    assert (await looked(server, book=book)).height == len(CHAIN)
    # From a height on, as a wallet that was made later begins.
    late = await looked(server, book=Book(script_at=ACCOUNT.script, height=66))
    assert late.balance()["immature"] == REWARDS * (len(CHAIN) - 66)


async def test_a_server_that_is_believed_can_show_what_never_was(server: Server) -> None:
    """Which is why there is `gristmill wallet pin`."""
    invented = block_on(START, secret=OTHER_SECRET)
    server.blocks, server.headers, server.height = {1: invented.data}, [invented], 1
    assert (await looked(server, None)).balance()["immature"] == REWARDS
    with pytest.raises(BadSignature):
        await looked(server)
    other = replace(PINNED, federation_key=bls.public_key(7))
    with pytest.raises(BadSignature):
        await looked(server, other)


async def test_a_winners_second_block_is_not_the_proven_one(server: Server) -> None:
    second = block_on(view_of(CHAIN[0]), time=CHAIN[1].header.time + 1)
    server.blocks[2] = second.data
    with pytest.raises(DecodeError, match="proven at height 2"):
        await looked(server)
    server.headers[1] = second
    with pytest.raises(Refused, match="the block is on"):
        await looked(server)


async def test_other_transactions_under_a_true_header_are_refused(server: Server) -> None:
    coinbase = CHAIN[2].transactions[0]
    (mine, *rest) = coinbase.outputs
    theirs = replace(coinbase, outputs=(replace(mine, script=pay_to_key(OTHER.public_key)), *rest))
    server.blocks[3] = assemble(CHAIN[2].header, theirs)
    for pinned in (PINNED, None):
        with pytest.raises(DecodeError, match="other transactions"):
            await looked(server, pinned)
    server.blocks[3] = CHAIN[3].data
    with pytest.raises(DecodeError, match="3 was asked for"):
        await looked(server)
