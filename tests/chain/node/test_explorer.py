"""A node's pages: what they say, what they load, and what becomes of strange questions."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from chain.bitcoin.address import GRISTMILL, encode_address
from chain.gossip_events import BlockSubmitted, SaveBlock, SaveFinal, TransactionSubmitted
from chain.node.explorer.events import EVENTS
from chain.node.explorer.throttle import PAGES_BURST, throttled
from chain.node.service import NodeService
from chain.node.store import Store
from chain.records.coinbase import pay_to_key
from chain.web.render import CSP, coins
from tests.chain.federation_fixture import CHAIN_ID, OTHER, START, WINNER, block_on, view_of
from tests.chain.node.homes import make_config
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import FEE, MATURE, PARENT, spend_of
from tests.coordinator.dashboard.test_pages import Page
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

SPEND = spend_of(MATURE[0])
TXID = SPEND.txid[::-1].hex()
CHILD = child_of(SPEND)
SPENDING = block_on(PARENT, transactions=(SPEND, CHILD))
MINE = encode_address(pay_to_key(WINNER.public_key), GRISTMILL)
THEIRS = encode_address(pay_to_key(OTHER.public_key), GRISTMILL)
HEIGHT = SPENDING.certificate.height
HASH = SPENDING.hash[::-1].hex()


class Visitor:
    """Who reads pages."""

    def __init__(self, session: aiohttp.ClientSession, service: NodeService) -> None:
        self.session, self.service = session, service

    async def get(self, path: str) -> tuple[aiohttp.ClientResponse, str]:
        url = f"http://{self.service.http_endpoint}{path}"
        async with self.session.get(url, allow_redirects=False) as answer:
            return answer, await answer.text()

    async def words(self, path: str, status: int = 200) -> str:
        answer, text = await self.get(path)
        assert answer.status == status, (path, text)
        return " ".join(Page(text).words.split())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's home whose chain has a spending block for its final tip, and both indexes."""
    path = tmp_path_factory.mktemp("node")
    config = make_config(path, transaction_index=True, address_index=True)
    store = Store(config.database, CHAIN_ID, START, indexes=config.indexes)
    for block in (*MATURE, SPENDING):
        store.save([SaveBlock(block=block), SaveFinal(view=view_of(block))])
    store.close()
    return path


@pytest.fixture
async def visitor(home: Path) -> AsyncIterator[Visitor]:
    config = make_config(home, transaction_index=True, address_index=True)
    service = NodeService(config)
    await service.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Visitor(session, service)
    finally:
        await service.stop()


async def test_every_page_loads_only_what_the_node_serves_and_leads_somewhere(
    visitor: Visitor,
) -> None:
    paths = ["/", "/blocks", f"/blocks/{HEIGHT}", f"/blocks/{HASH}", f"/transactions/{TXID}"]
    paths += [f"/addresses/{MINE}", f"/miners/{WINNER.public_key.hex()}", "/mempool", "/peers"]
    loads: set[str] = set()
    links: set[str] = set()
    for path in paths:
        answer, text = await visitor.get(path)
        page = Page(text)
        assert answer.status == 200, (path, text)
        assert answer.headers["Content-Security-Policy"] == CSP
        assert page.inline == 0
        loads |= set(page.loads)
        links |= set(page.links) - {"#main"}
    assert all(load.startswith("/static/") for load in loads)
    by_kind = {link.split("?")[0].rsplit("/", 1)[0]: link for link in sorted(links)}
    assert {"/blocks", "/transactions", "/addresses", "/miners"} <= by_kind.keys()
    for path in (*loads, *by_kind.values(), *(link for link in links if "?" in link)):
        assert (await visitor.get(path))[0].status == 200, path


async def test_pages_say_what_the_chain_says(visitor: Visitor) -> None:
    front = await visitor.words("/")
    assert f"block {HEIGHT}" in front and "It is final." in front
    block = await visitor.words(f"/blocks/{HEIGHT}")
    assert f"So it alone could make block {HEIGHT}" in block
    assert coins(FEE) in block
    spend = await visitor.words(f"/transactions/{TXID}")
    assert f"In block {HEIGHT}, final." in spend
    assert MINE is not None and MINE in spend, "whose coin it spends"
    assert "witness_v0_keyhash" in spend and "spent" in spend
    theirs = await visitor.words(f"/addresses/{THEIRS}")
    assert "balance" in theirs and TXID[:12] in theirs
    url = f"http://{visitor.service.http_endpoint}/blocks/{HEIGHT}/certificate"
    async with visitor.session.get(url) as answer:
        assert await answer.read() == SPENDING.coinbase.certificate


def _apart(digits: str, between: str) -> str:
    """Hex digits, byte by byte."""
    return between.join(digits[at : at + 2] for at in range(0, len(digits), 2))


async def test_a_search_leads_to_whatever_is_known(visitor: Visitor) -> None:
    cycle = MATURE[6].certificate.cycle
    key = WINNER.public_key.hex()
    for query, place in (
        ("7", "/blocks/7"),
        (f"cycle+{cycle}", "/blocks/7"),
        (HASH, f"/blocks/{HASH}"),
        (TXID.upper(), f"/transactions/{TXID}"),
        (key, f"/miners/{key}"),
        (_apart(key, "%20"), f"/miners/{key}"),
        (_apart(key, "%0D%0A"), f"/miners/{key}"),  # no line end comes into the answer's head
        (_apart(TXID, "%0D%0A"), f"/transactions/{TXID}"),
        (_apart(HASH, "%20"), f"/blocks/{HASH}"),
        (str(MINE), f"/addresses/{MINE}"),
    ):
        answer, _ = await visitor.get(f"/search?q={query}")
        assert (answer.status, answer.headers.get("Location")) == (303, place)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/search?q=%3Cscript%3E", 404, "Nothing is known by '<script>'"),
        ("/search?q=cycle+99999", 404, "No block of cycle 99999"),
        ("/search?q=", 404, "Nothing is known"),
        ("/blocks/99999", 404, "No block 99999"),
        ("/blocks/0", 404, "No block 0"),
        ("/blocks/zz", 400, "64 hex digits"),
        ("/blocks/1?from=x", 400, "from is a number"),
        ("/blocks?to=%C2%B2", 400, "to is a number"),
        ("/transactions/" + "11" * 32, 404, "No transaction"),
        ("/transactions/11", 400, "64 hex digits"),
        (f"/transactions/{TXID}?block=1", 404, "No transaction"),
        ("/addresses/nonsense", 400, "That cannot be"),
        ("/miners/02", 400, "66 hex digits"),
    ],
)
async def test_a_strange_question_is_a_page_too(
    visitor: Visitor, path: str, status: int, says: str
) -> None:
    words = await visitor.words(path, status)
    assert says in words
    assert "<script>alert" not in words


async def heard(stream: aiohttp.ClientResponse, line: bytes) -> None:
    """Waits for a line; the stream's own deadline ends that."""
    while (came := await stream.content.readline()) != line:
        assert came, "the stream ended"


async def test_what_waits_is_shown_and_pages_are_told_when_the_chain_grows(tmp_path: Path) -> None:
    """Without indexes, which the pages say."""
    config = make_config(tmp_path)
    store = Store(config.database, CHAIN_ID, START)
    for block in MATURE:
        store.save([SaveBlock(block=block), SaveFinal(view=view_of(block))])
    store.close()
    service = NodeService(replace(config))
    await service.start()
    try:
        async with aiohttp.ClientSession() as session:
            visitor = Visitor(session, service)
            timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
            url = f"http://{service.http_endpoint}{EVENTS}"
            async with session.get(url, timeout=timeout) as stream:
                await heard(stream, b": hello\n")
                service.step(TransactionSubmitted(data=SPEND.encode()))
                await heard(stream, b"event: changed\n")
                assert TXID[:12] in await visitor.words("/mempool")
                waiting = await visitor.words(f"/transactions/{TXID}")
                assert "It waits for a block." in waiting and str(MINE) in waiting
                block = block_on(PARENT, transactions=(SPEND,))
                service.step(BlockSubmitted(data=block.data))
                await heard(stream, f"id: {block.certificate.height}\n".encode())
            assert "not final yet" in await visitor.words(f"/transactions/{TXID}")
            told = await visitor.words(f"/addresses/{THEIRS}")
            assert "keeps no index of addresses" in told
            gone = await visitor.words("/transactions/" + "11" * 32, 404)
            assert "keeps no index of transactions" in gone
    finally:
        await service.stop()


async def test_one_address_gets_so_many_pages_and_no_more() -> None:
    """A visitor from elsewhere: the middleware itself, with a request that says so."""

    @web.middleware
    async def from_elsewhere(request: web.Request, handler):  # type: ignore[no-untyped-def]
        return await handler(request.clone(remote="192.0.2.7"))

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="a page")

    app = web.Application(middlewares=[from_elsewhere, throttled(frozenset({"/"}))])
    app.router.add_get("/", page)
    app.router.add_get("/v1/status", page)
    async with TestClient(TestServer(app)) as client:
        answers = [await client.get("/") for _ in range(PAGES_BURST + 30)]
        refused = [answer for answer in answers if answer.status == 429]
        assert refused and refused[-1].headers["Retry-After"] == "1"
        assert (await client.get("/v1/status")).status == 200
