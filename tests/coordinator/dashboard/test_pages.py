"""The pages of a replica: what they say, what they load, and what becomes of strange questions."""

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest

from chain.web.render import CSP
from tests.coordinator.service.mill import BUSY, Mill, running

PAGES = ("/", "/cycles", "/cycles/2", "/model", "/blocks", "/miners/" + "02" * 33)


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[Mill]:
    """One replica whose cycles close empty, one after the other."""
    async with running(tmp_path, 1, BUSY) as found:
        await found.until(lambda: found.state().cycle > 3)
        yield found


class Page(HTMLParser):
    """What a browser would load, where links lead, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.inline = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "link" or tag == "script":
            self.loads.append(found.get("href") or found.get("src") or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        if "style" in found or any(name.startswith("on") for name in found):
            self.inline += 1

    def handle_data(self, data: str) -> None:
        self.words += data


async def get(mill: Mill, path: str) -> tuple[aiohttp.ClientResponse, str]:
    async with aiohttp.ClientSession() as session:
        answer = await session.get(mill.urls[0] + path, allow_redirects=False)
        return answer, await answer.text()


async def test_every_page_loads_only_what_the_replica_serves_and_leads_somewhere(
    mill: Mill,
) -> None:
    loads: set[str] = set()
    links: set[str] = set()
    for path in PAGES:
        answer, text = await get(mill, path)
        page = Page(text)
        assert answer.status == 200, (path, text)
        assert answer.headers["Content-Security-Policy"] == CSP
        assert answer.content_type == "text/html"
        assert page.inline == 0
        loads |= set(page.loads)
        links |= set(page.links) - {"#main"}
    for load in loads:
        assert load.startswith("/static/")
        assert (await get(mill, load))[0].status == 200, load
    for link in links:
        status = (await get(mill, link))[0].status
        assert status == 200 or (status == 404 and link.startswith("/cycles/")), link
    words = Page((await get(mill, "/"))[1]).words
    assert "Cycle " in words and "1 of 1 are up" in words and "this one" in words
    assert "none more may fail" in words


async def test_a_search_leads_to_cycles_and_miners(mill: Mill) -> None:
    for query, place in (("2", "/cycles/2"), ("02" * 33, "/miners/" + "02" * 33)):
        answer, _ = await get(mill, "/search?q=" + query)
        assert (answer.status, answer.headers["Location"]) == (303, place)


STRANGE = [
    ("/cycles/999999", 404),
    ("/cycles/x", 400),
    ("/cycles/-1", 400),
    ("/cycles?to=1&to=2", 400),
    ("/blocks/7", 404),
    ("/miners/00", 400),
    ("/search?q=%3Cscript%3Ealert(1)%3C/script%3E", 404),
    ("/search?q=" + "9" * 60, 404),
    ("/search?q=" + "ab" * 32, 404),
    ("/search", 404),
]


async def test_what_is_not_there_is_said_on_a_page(mill: Mill) -> None:
    for path, status in STRANGE:
        answer, text = await get(mill, path)
        assert answer.status == status, path
        assert "<script>alert" not in text and "<h1>" in text
        assert answer.headers["Content-Security-Policy"] == CSP
    assert (await get(mill, "/static/style.css"))[0].content_type == "text/css"
    assert (await get(mill, "/static/..%2Frender.py"))[0].status == 404
