"""One address may ask so much, and another one is not harmed by it."""

from pathlib import Path

import aiohttp
from aiohttp import TCPConnector

from chain.federation import api
from coordinator.config import Home
from coordinator.service.throttle import PAGE_COST
from tests.coordinator.service.mill import running

LIMITS = f"limits: {{address_reads_burst: {PAGE_COST + 1}, address_reads_s: 1}}\n"


async def asked(url: str, near: str, path: str) -> tuple[int, str | None]:
    """(status, Retry-After) of one question from an address of this machine."""
    connector = TCPConnector(local_addr=(near, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url + path) as answer,
    ):
        if answer.status >= 400:
            assert answer.content_type == api.PROBLEM
        return answer.status, answer.headers.get("Retry-After")


async def test_one_address_has_a_budget_of_questions_and_a_page_costs_more(tmp_path: Path) -> None:
    async with running(tmp_path, 1, start=0) as mill:
        settings = Home(mill.homes[0]).config
        settings.write_text(settings.read_text() + LIMITS)
        await mill.start(0)
        url = mill.urls[0]
        assert await asked(url, "127.0.0.2", api.STATUS) == (200, None)
        assert await asked(url, "127.0.0.2", "/cycles") == (200, None)
        status, retry = await asked(url, "127.0.0.2", "/cycles")
        assert status == 429 and retry is not None and 1 <= int(retry) <= PAGE_COST
        assert await asked(url, "127.0.0.3", "/cycles") == (200, None)
        for _ in range(2):
            assert await asked(url, "127.0.0.1", "/cycles") == (200, None)
