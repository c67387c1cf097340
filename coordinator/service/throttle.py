"""How much one address may ask of the API, before anything is looked up; and one signing key.

What is taken in has a budget of its own, apart from what is read.  Pages and summaries read much of
the log for one answer, so they count for more.  Reading from this machine has no budget: a reverse
proxy brings everybody from there, and bounds each of them by itself.
"""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from chain.federation.rates import Buckets
from coordinator.service.problems import Handler, TooMany
from coordinator.settings import Limits

PAGE_COST = 10
"""Requests for records that one page, or one summary of a cycle, counts for."""
LOOPBACK = ("127.0.0.1", "::1")

Route = tuple[str, str]
"""(method, path as in the route)."""


class Throttle:
    """A middleware's state: the budgets of all addresses."""

    def __init__(
        self,
        limits: Limits,
        taking: frozenset[Route],
        costly: frozenset[str],
        clock: Callable[[], float],
    ) -> None:
        """Args:
        taking: routes that take something in.
        costly: paths that count for PAGE_COST.
        clock: monotonic seconds.
        """
        self._taken = Buckets(limits.address_requests_s, limits.address_burst)
        self._read = Buckets(limits.address_reads_s, limits.address_reads_burst)
        self._taking, self._costly, self._clock = taking, costly, clock

    def admit(self, request: web.Request) -> None:
        """Raises TooMany: this address has used up its budget."""
        resource = request.match_info.route.resource
        path = "" if resource is None else resource.canonical
        if (request.method, path) in self._taking:
            retry_s = self._taken.try_take(request.remote, self._clock())
        elif request.remote in LOOPBACK:
            return
        else:
            cost = PAGE_COST if path in self._costly else 1
            retry_s = self._read.try_take(request.remote, self._clock(), cost)
        if retry_s:
            raise TooMany(retry_s)

    def middleware(self) -> Middleware:
        """For the application; inside of the one that makes problems of errors."""

        @web.middleware
        async def throttled(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.admit(request)
            return await handler(request)

        return throttled


class ClientBudget:
    """What one signing key may ask for, after its signature stood."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._clients = Buckets(limits.client_requests_s, limits.client_burst)
        self._clock = clock

    def admit(self, client: bytes, operations: int = 1) -> None:
        """Raises TooMany."""
        retry_s = self._clients.try_take(client, self._clock(), operations)
        if retry_s:
            raise TooMany(retry_s)
