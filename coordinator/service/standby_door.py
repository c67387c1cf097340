"""What a process that waits for the key tells its operator's monitoring, at `listen.metrics`.

It listens nowhere else, because the replica's addresses belong to the process that holds the key.
`/livez` and `/startupz` are those of a replica; `/readyz` is 503 and says what is waited for.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric

from bft.errors import ConfigError
from chain.federation.server import make_runner, problem
from coordinator.config import Setup
from coordinator.service.door import Door
from coordinator.service.probes import Probes
from coordinator.service.problems import errors_to_problems

Waits = Callable[[], tuple[str, bool]]
"""(what is waited for, whether etcd answered the last time)"""


class StandbyMetrics(Probes):
    """Handlers of the monitoring routes, while there is no replica."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        super().__init__()

    def collect(self) -> Iterator[Metric]:
        """For the registry (prometheus_client.registry.Collector)."""
        _, answers = self._waits()
        yield GaugeMetricFamily(
            "gristmill_standby_waiting", "1 while this process waits for the key", value=1.0
        )
        yield GaugeMetricFamily(
            "gristmill_standby_etcd_up",
            "1 if etcd answered when the key was last asked for",
            value=float(answers),
        )

    async def get_ready(self, request: web.Request) -> web.Response:
        """503, and why this process does not do a replica's part."""
        text, answers = self._waits()
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            f"standby: {text}",
            more={"failing": ["key"], "checks": {"key": text, "etcd": json.dumps(answers)}},
        )


@asynccontextmanager
async def standby_door(setup: Setup, waits: Waits) -> AsyncIterator[None]:
    """Open at `listen.metrics`, if the settings name it; closed again before a replica listens.

    Raises:
        ConfigError: the address is taken or not of this machine.
    """
    address = setup.config.listen.metrics
    if address is None:
        yield
        return
    app = web.Application(middlewares=[errors_to_problems])
    app.add_routes(StandbyMetrics(waits).routes())
    limits = setup.config.limits
    runner = make_runner(app, shutdown_timeout=0, keepalive_timeout=limits.idle_s)
    await runner.setup()
    try:
        assert runner.server is not None
        door = Door(runner.server, limits.connections, limits.head_s)
        try:
            listener = await door.listen(address)
        except OSError as error:
            raise ConfigError(f"cannot listen at {address}: {error.strerror}") from None
        try:
            yield
        finally:
            listener.close()
    finally:
        await runner.cleanup()
