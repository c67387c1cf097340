"""Replicas as a client sees them: real HTTP servers on loopback, honest, lying, silent or down.

Each answers a path with what the test puts there; that is a peer with a will of its own.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from chain.federation import api

Reply = tuple[int, bytes]
Answer = Reply | Callable[[web.Request, bytes], Reply]

NOT_FOUND: Reply = (404, b'{"code":"not-found","detail":"none yet"}')


@dataclass
class Replica:
    """One server: "METHOD /path" -> its answer, or nothing at all."""

    answers: dict[str, Answer] = field(default_factory=dict)
    silent: bool = False  # takes connections, says nothing
    asked: list[tuple[str, bytes]] = field(default_factory=list)  # what came in
    url: str = ""
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((f"{request.method} {request.path}", body))
        if self.silent:
            await self.ending.wait()
        answer = self.answers.get(f"{request.method} {request.path}", NOT_FOUND)
        status, data = answer(request, body) if callable(answer) else answer
        kind = api.OCTETS if status < 300 else api.PROBLEM
        return web.Response(status=status, body=data, content_type=kind)


class Replicas:
    """Four of them.  `down`: those whose port nobody listens at."""

    def __init__(self, count: int = 4) -> None:
        self.all = [Replica() for _ in range(count)]
        self._runners: list[web.AppRunner] = []

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.all]

    def everywhere(self, route: str, answer: Answer) -> None:
        """All replicas answer alike."""
        for replica in self.all:
            replica.answers[route] = answer

    async def shut(self, index: int) -> None:
        """This replica's server is gone; its address stays."""
        self.all[index].ending.set()
        await self._runners[index].cleanup()

    async def __aenter__(self) -> "Replicas":
        for replica in self.all:
            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", replica.handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            replica.url = f"http://{host}:{port}"
            self._runners.append(runner)
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self.all:
            replica.ending.set()
        for runner in self._runners:
            await runner.cleanup()


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()
