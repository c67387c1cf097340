"""What every process of an operator answers its monitoring: metrics, and Kubernetes' three probes.

Source: Prometheus' text format 0.0.4; Kubernetes, "Liveness, Readiness and Startup Probes".
"""

from abc import ABC, abstractmethod

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

METRICS, LIVE, READY, STARTUP = "/metrics", "/livez", "/readyz", "/startupz"
CONTENT_TYPE = "text/plain"
VERSION = "0.0.4"  # of the text format


class Probes(Collector, ABC):
    """Handlers of the monitoring routes; who derives says what is ready."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.get(METRICS, self.get_metrics),
            web.get(LIVE, self.get_live),
            web.get(STARTUP, self.get_live),
            web.get(READY, self.get_ready),
        ]

    async def get_metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text format."""
        return web.Response(
            body=generate_latest(self.registry),
            headers={"Content-Type": f"{CONTENT_TYPE}; version={VERSION}; charset=utf-8"},
        )

    async def get_live(self, request: web.Request) -> web.Response:
        """200 as long as the event loop turns; it listens once it has started."""
        return web.Response(text="ok\n")

    @abstractmethod
    async def get_ready(self, request: web.Request) -> web.Response:
        """200 if this process does its part, else 503 with what is missing."""
