"""Errors as HTTP answers: problem details (RFC 9457) from one table and one middleware."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import ceil

from aiohttp import web

from bft.errors import (
    BadSignature,
    Busy,
    DecodeError,
    FederationError,
    Refused,
    Unavailable,
)
from chain.federation.api import PROBLEM
from coordinator.service.blobs import StorageFull

CHUNK_BYTES = 64 * 1024

log = logging.getLogger("gristmill.http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CONTENT = {
    "malformed",
    "mismatch",
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


class TooLarge(FederationError):
    """A body is longer than its route allows."""


class TooSlow(FederationError):
    """A body did not come in time."""


class TooMany(Busy):
    """A caller's budget is used up.

    Attributes:
        retry_s: when it will have one token again.
    """

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many requests; come again in {retry_s:.1f} s")
        self.retry_s = retry_s


def problem(
    status: HTTPStatus, code: str, detail: str, headers: dict[str, str] | None = None
) -> web.Response:
    """One answer that names what was wrong, for machines by `code`, for people by `detail`."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
    }
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type=PROBLEM, headers=headers
    )


def refusal_status(code: str) -> HTTPStatus:
    """What an ordered request's refusal is in HTTP."""
    return HTTPStatus.UNPROCESSABLE_ENTITY if code in _CONTENT else HTTPStatus.CONFLICT


def problem_of(error: FederationError) -> web.Response:
    """The one place where our errors become status codes."""
    match error:
        case Refused(code=code):
            return problem(_STATUS.get(code, refusal_status(code)), code, str(error))
        case TooLarge():
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", str(error))
        case TooSlow():
            return problem(HTTPStatus.REQUEST_TIMEOUT, "too-slow", str(error))
        case BadSignature():
            return problem(HTTPStatus.FORBIDDEN, "bad-signature", str(error))
        case DecodeError():
            return problem(HTTPStatus.BAD_REQUEST, "malformed", str(error))
        case TooMany(retry_s=retry_s):
            after = {"Retry-After": str(max(1, ceil(retry_s)))}
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "busy", str(error), after)
        case Busy():
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "busy", str(error), {"Retry-After": "1"})
        case StorageFull():
            return problem(HTTPStatus.INSUFFICIENT_STORAGE, "storage-full", str(error))
        case Unavailable():
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error), {"Retry-After": "1"}
            )
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
        status = HTTPStatus(error.status)
        kept = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        code = "not-found" if status is HTTPStatus.NOT_FOUND else f"http-{int(status)}"
        return problem(status, code, error.reason, kept)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        log.exception("%s %s", request.method, request.path)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this replica has a problem")


async def read_body(request: web.Request, bytes_max: int, within_s: float) -> bytes:
    """The whole body.

    Raises:
        TooLarge: longer than `bytes_max`; no more than that is ever held.
        TooSlow: it did not come within `within_s`.
        DecodeError: it ended before it was complete.
    """
    if request.content_length is not None and request.content_length > bytes_max:
        raise TooLarge(f"{request.content_length} bytes announced; at most {bytes_max} allowed")
    data = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for part in request.content.iter_chunked(CHUNK_BYTES):
                data += part
                if len(data) > bytes_max:
                    raise TooLarge(f"more than {bytes_max} bytes came")
    except TimeoutError:
        raise TooSlow(f"{len(data)} bytes came within {within_s:g} s") from None
    if request.content_length is not None and len(data) != request.content_length:
        raise DecodeError(f"{len(data)} of {request.content_length} announced bytes came")
    return bytes(data)
