"""A process that waits for the key says so to its operator's monitoring."""

import asyncio
from pathlib import Path

import aiohttp

from coordinator.config import load_setup
from coordinator.guard.store import SqliteGuard
from coordinator.service.tenure import Waiting, open_etcd
from coordinator.settings import Standby
from tests.coordinator.service.mill import running
from tests.patience import PATIENCE_S
from tests.ports import claim_ports


async def test_without_etcd_a_standby_lives_is_not_ready_and_says_why(tmp_path: Path) -> None:
    metrics, nothing = claim_ports(2)
    async with running(tmp_path / "mill", 4, start=0) as mill:
        home = mill.homes[0]
        with (home / "replica.yaml").open("a") as settings:
            settings.write(f"listen: {{metrics: '127.0.0.1:{metrics}'}}\n")
        setup = load_setup(home)
        standby = Standby(etcd=(f"127.0.0.1:{nothing}",))
        local = SqliteGuard(setup.guard, setup.identity.public_key)
        client = open_etcd(setup, standby)
        waiting = Waiting(setup, standby, client, local)
        task = asyncio.create_task(waiting.run())
        try:
            url = f"http://127.0.0.1:{metrics}"
            async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_S):
                await until_it_says(session, url, "etcd at")
                async with session.get(f"{url}/livez") as answer:
                    assert answer.status == 200
                async with session.get(f"{url}/metrics") as answer:
                    text = await answer.text()
            assert "gristmill_standby_waiting 1.0" in text
            assert "gristmill_standby_etcd_up 0.0" in text
        finally:
            waiting.stop()
            await task
            client.close()
            local.close()
        assert waiting.tenure is None


async def until_it_says(session: aiohttp.ClientSession, url: str, text: str) -> None:
    """Wait until /readyz is 503 with `text`."""
    while True:
        try:
            async with session.get(f"{url}/readyz") as answer:
                assert answer.status == 503
                if text in (await answer.json(content_type=None))["detail"]:
                    return
        except aiohttp.ClientConnectorError:
            pass  # it does not listen yet
        await asyncio.sleep(0.05)
