"""How many pages one address may ask a node for.  Reading from this machine has no budget: a
reverse proxy brings everybody from there, and bounds each of them by itself."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import ceil

from aiohttp import web
from aiohttp.typedefs import Middleware

from chain.federation.rates import Buckets
from chain.federation.server import problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PAGES_S = 5
PAGES_BURST = 100
LOOPBACK = ("127.0.0.1", "::1")


def throttled(paths: frozenset[str]) -> Middleware:
    """For the application; `paths`: as in the routes of pages."""
    buckets = Buckets(PAGES_S, PAGES_BURST)

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = "" if resource is None else resource.canonical
        if request.method == "GET" and path in paths and request.remote not in LOOPBACK:
            wait_s = buckets.try_take(request.remote, time.monotonic())
            if wait_s:
                text = f"at most {PAGES_S} pages a second are for one address"
                headers = {"Retry-After": str(ceil(wait_s))}
                return problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many", text, headers)
        return await handler(request)

    return admit
