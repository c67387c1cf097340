"""A replica told to monitoring: what Prometheus reads, and when it is ready."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from coordinator.service.metrics import Metrics
from coordinator.service.standing import Growth
from tests.coordinator.service.mill import running
from tests.coordinator.test_replica import alone
from tests.ports import claim_ports
from tests.sim.world import World

WORLD = World(1)
OWN = WORLD.rules.genesis.membership.keys[1]


@dataclass
class Still:
    """A member that takes part, or an observer (coordinator.service.standing.Standing)."""

    voting: bool = True
    growth: Growth = field(default_factory=Growth)
    replica: Any = field(default_factory=lambda: alone(WORLD, 1))

    async def keep_block(self, block: object) -> None:
        raise AssertionError("monitoring keeps nothing")

    def standing(self) -> dict[str, Any]:
        return {}


@asynccontextmanager
async def served(metrics: Metrics) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    app = web.Application()
    app.add_routes(metrics.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            yield session, f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def values_of(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    async with served(metrics) as (session, url), session.get(url + "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_prometheus_reads_where_the_replica_stands() -> None:
    values = await values_of(Metrics(Still(), OWN, lambda: (0, 3), lambda: 7))
    assert values["gristmill_quorum_margin", ()] == 0  # two links and itself: just enough of four
    assert values["gristmill_peer_up", (("peer", "0"),)] == 1
    assert values["gristmill_peer_up", (("peer", "2"),)] == 0
    assert ("gristmill_peer_up", (("peer", "1"),)) not in values  # itself
    assert values["gristmill_cycle_phase", (("phase", "keygen"),)] == 1
    assert values["gristmill_cycle_phase", (("phase", "training"),)] == 0
    assert values["gristmill_guard_refused_total", ()] == 7
    assert values["gristmill_bft_member", ()] == 1
    assert values["process_resident_memory_bytes", ()] > 0


async def test_an_observer_counts_no_vote_of_its_own() -> None:
    values = await values_of(Metrics(Still(voting=False), bytes(33), lambda: (), lambda: 0))
    assert values["gristmill_bft_member", ()] == 0
    assert values["gristmill_quorum_margin", ()] == -3


async def readiness(metrics: Metrics) -> tuple[int, dict[str, Any]]:
    async with served(metrics) as (session, url):
        async with session.get(url + "/livez") as answer:
            assert answer.status == 200
        async with session.get(url + "/startupz") as answer:
            assert answer.status == 200
        async with session.get(url + "/readyz") as answer:
            return answer.status, await answer.json(content_type=None)


async def test_a_member_is_ready_while_it_votes_among_enough() -> None:
    status, shown = await readiness(Metrics(Still(), OWN, lambda: (0, 3), lambda: 0))
    assert status == 200
    assert shown == {"log": "whole", "quorum": "3 up, 3 needed", "view": "votes"}


async def test_what_is_missing_is_named() -> None:
    status, shown = await readiness(Metrics(Still(voting=False), OWN, lambda: (0,), lambda: 0))
    assert status == 503
    assert shown["failing"] == ["quorum", "view"]
    assert "2 up, 3 needed" in shown["detail"]


async def test_an_observer_is_ready_without_a_vote() -> None:
    status, shown = await readiness(Metrics(Still(False), bytes(33), lambda: (), lambda: 0))
    assert status == 200
    assert shown["role"].startswith("observer")


async def test_a_replica_that_is_told_where_answers_monitoring_there_and_only_there(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, 1, start=0) as mill:
        (port,) = claim_ports(1)
        config = tmp_path / "replica-0" / "replica.yaml"
        with config.open("a") as file:
            file.write(f"listen: {{metrics: '127.0.0.1:{port}'}}\n")
        await mill.start(0)
        await mill.until(lambda: mill.state().federation_key)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 200
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert "gristmill_epoch 0.0" in await answer.text()
            async with session.get(mill.urls[0] + "/metrics") as answer:
                assert answer.status == 404
