"""Errors as HTTP answers: problem details (RFC 9457) from one table and one middleware."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import ceil

from aiohttp import web

from bft.errors import Busy, FederationError, Refused
from chain.federation.server import common_problem, http_problem, problem
from coordinator.service.blobs import StorageFull
from coordinator.service.ranges import Unsatisfiable

log = logging.getLogger("gristmill.http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CONTENT = {
    "bad-certificate",
    "bad-signature",
    "malformed",
    "mismatch",
    "one-block",
    "other-chain",
    "out-of-range",
    "too-long",
    "too-small",
    "wrong-digest",
    "wrong-parameters",
    "wrong-units",
}
"""Refusals that the same bytes will always get (422); all others depend on the moment (409)."""
_STATUS = {
    "not-assigned": HTTPStatus.FORBIDDEN,
    "not-for-clients": HTTPStatus.FORBIDDEN,
    "not-found": HTTPStatus.NOT_FOUND,
    "quota": HTTPStatus.FORBIDDEN,
}
"""Refusals at the door, before anything is ordered."""


class TooMany(Busy):
    """A caller's budget is used up.

    Attributes:
        retry_s: when it will have one token again.
    """

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many requests; come again in {retry_s:.1f} s")
        self.retry_s = retry_s


def refusal_status(code: str) -> HTTPStatus:
    """What an ordered request's refusal is in HTTP."""
    return HTTPStatus.UNPROCESSABLE_ENTITY if code in _CONTENT else HTTPStatus.CONFLICT


def problem_of(error: FederationError) -> web.Response:
    """The one place where our errors become status codes."""
    match error:
        case Refused(code=code):
            return problem(_STATUS.get(code, refusal_status(code)), code, str(error))
        case TooMany(retry_s=retry_s):
            after = {"Retry-After": str(max(1, ceil(retry_s)))}
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "busy", str(error), after)
        case Unsatisfiable(size=size):
            whole = {"Content-Range": f"bytes */{size}"}
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            return problem(status, "no-such-range", str(error), whole)
        case StorageFull():
            return problem(HTTPStatus.INSUFFICIENT_STORAGE, "storage-full", str(error))
    answer = common_problem(error)
    if answer is not None:
        return answer
    log.error("unexpected: %s", error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this replica has a problem")


@web.middleware
async def errors_to_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer of 400 or above is a problem; what is not an error of ours is a bug of ours."""
    try:
        return await handler(request)
    except FederationError as error:
        return problem_of(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return http_problem(error)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        log.exception("%s %s", request.method, request.path)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this replica has a problem")
