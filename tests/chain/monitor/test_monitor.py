"""`gristmill monitor` with a real replica: on textual's screen, as text, as JSON."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner
from textual.widgets import DataTable, RichLog, Static

from bft.errors import Unavailable
from chain.monitor.ask import Asker
from chain.monitor.cli import monitor
from chain.monitor.screen import Monitor
from tests.coordinator.service.mill import BUSY, running
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

PAUSE_S = 0.1
pytestmark = pytest.mark.integration


async def test_a_replica_on_the_screen_and_one_that_does_not_answer(tmp_path: Path) -> None:
    (nobody,) = claim_ports(1)
    silent = f"http://127.0.0.1:{nobody}"
    async with running(tmp_path, 1, BUSY) as mill, aiohttp.ClientSession() as session:
        await mill.until(lambda: mill.state().cycle > 2)
        app = Monitor(Asker(session, (mill.urls[0], silent)), every_s=3600)
        async with app.run_test(size=(140, 40)) as pilot, asyncio.timeout(PATIENCE_S):
            replicas = app.query_one("#replicas", DataTable)
            await app.workers.wait_for_complete()
            cells = [str(cell) for cell in replicas.get_row_at(0)]
            assert cells[1] == "primary" and cells[-1] == mill.urls[0]
            assert "Cannot connect" in str(replicas.get_row_at(1)[1])
            assert "1 of 1 replicas are up" in str(app.query_one("#summary", Static).render())
            assert app.query_one("#cycles", DataTable).row_count >= 1
            said = [line.text for line in app.query_one("#happened", RichLog).lines]
            assert any("does not answer" in line for line in said)
            await pilot.press("down")
            assert replicas.cursor_row == 1
            before = mill.state().cycle
            await mill.until(lambda: mill.state().cycle > before)
            cycles = app.query_one("#cycles", DataTable)
            while int(str(cycles.get_row_at(0)[0])) < before:
                await pilot.press("r")
                await pilot.pause(PAUSE_S)
            assert replicas.cursor_row == 1, "a fresh look keeps the cursor"
            await pilot.press("q")
        url = ["--url", mill.urls[0]]
        told = await asyncio.to_thread(CliRunner().invoke, monitor, [*url, "--url", silent])
        assert told.exit_code == 0 and "none more may fail" in told.output
        told = await asyncio.to_thread(CliRunner().invoke, monitor, [*url, "--json"])
        document = json.loads(told.output)
        assert document["ok"] and document["replicas"][0]["status"]["role"] == "member"
    told = await asyncio.to_thread(CliRunner().invoke, monitor, ["--url", silent, "--json"])
    assert isinstance(told.exception, Unavailable) and told.output == ""


async def test_one_that_keeps_silent_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is longer than that between two looks."""
    monkeypatch.setattr("chain.federation.asking.ANSWER_S", 1)
    ended = asyncio.Event()

    async def keep_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    (port,) = claim_ports(1)
    server = await asyncio.start_server(keep_silent, "127.0.0.1", port)
    silent = f"http://127.0.0.1:{port}"
    async with running(tmp_path, 1, BUSY) as mill, aiohttp.ClientSession() as session, server:
        app = Monitor(Asker(session, (mill.urls[0], silent)), every_s=0.25)
        async with app.run_test(size=(140, 40)) as pilot, asyncio.timeout(PATIENCE_S):
            replicas = app.query_one("#replicas", DataTable)
            while replicas.row_count < 2:
                await pilot.pause(PAUSE_S)
            assert str(replicas.get_row_at(0)[-1]) == mill.urls[0]
            assert "did not answer within 1 s" in str(replicas.get_row_at(1)[1])
        ended.set()
