"""What every HTTP door of ours does alike: problem details, whole bodies in time, a quiet log.

Bodies are taken as they are: a compressed one is refused, so that no few bytes become many here.
Source: RFC 9457 for problems.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from bft.errors import BadSignature, Busy, DecodeError, FederationError, Refused, Unavailable
from chain.federation.api import PROBLEM

CHUNK_BYTES = 64 * 1024
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
LINGERING_S = 2.0  # after a refusal, so that the sender of a long body sees the answer


log = logging.getLogger("gristmill.http.server")


class TooLarge(FederationError):
    """A body is longer than its route allows."""


class TooSlow(FederationError):
    """A body did not come in time."""


class Compressed(FederationError):
    """A body came with a Content-Encoding."""


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    headers: dict[str, str] | None = None,
    *,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> web.Response:
    """One answer that names what was wrong, for machines by `code`, for people by `detail`.

    `more`: members of this route's own (RFC 9457 section 3.2).
    """
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        **more,
    }
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type=PROBLEM, headers=headers
    )


def common_problem(error: FederationError) -> web.Response | None:
    """The answer to an error that means the same at every door; None: the door has to know."""
    text = str(error)
    match error:
        case TooLarge():
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", text)
        case TooSlow():
            return problem(HTTPStatus.REQUEST_TIMEOUT, "too-slow", text)
        case Compressed():
            headers = {"Accept-Encoding": "identity"}  # RFC 9110 section 15.5.16
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed", text, headers)
        case BadSignature():
            return problem(HTTPStatus.FORBIDDEN, "bad-signature", text)
        case DecodeError():
            return problem(HTTPStatus.BAD_REQUEST, "malformed", text)
        case Refused(code="not-found"):
            return problem(HTTPStatus.NOT_FOUND, "not-found", text)
        case Busy():
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "busy", text, {"Retry-After": "1"})
        case Unavailable():
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", text, {"Retry-After": "1"}
            )
    return None


def http_problem(error: web.HTTPException) -> web.Response:
    """An error of routing (no such path, no such method) in our form."""
    status = HTTPStatus(error.status)
    kept = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    code = "not-found" if status is HTTPStatus.NOT_FOUND else f"http-{int(status)}"
    return problem(status, code, error.reason, kept)


async def read_body(request: web.Request, bytes_max: int, within_s: float) -> bytes:
    """The whole body.

    Raises:
        TooLarge: longer than `bytes_max`; no more than that is ever held.
        TooSlow: it did not come within `within_s`.
        Compressed: it has a Content-Encoding.
        DecodeError: it ended before it was complete, or its transfer encoding is broken.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for part in body_parts(request, bytes_max):
                data += part
    except TimeoutError:
        raise TooSlow(f"{len(data)} bytes came within {within_s:g} s") from None
    return bytes(data)


async def body_parts(request: web.Request, bytes_max: int) -> AsyncIterator[bytes]:
    """The body as it comes, CHUNK_BYTES at most at a time; how long that may take is the caller's.

    Raises:
        TooLarge, Compressed, DecodeError: as `read_body`.
    """
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding.strip().lower() != "identity":
        raise Compressed(f"content encoding {encoding[:32]!r} came; bodies are taken as they are")
    if request.content_length is not None and request.content_length > bytes_max:
        raise TooLarge(f"{request.content_length} bytes announced; at most {bytes_max} allowed")
    came = 0
    try:
        async for part in request.content.iter_chunked(CHUNK_BYTES):
            came += len(part)
            if came > bytes_max:
                raise TooLarge(f"more than {bytes_max} bytes came")
            yield part
    except web.RequestPayloadError as error:
        raise DecodeError(f"the body broke off after {came} bytes: {error}") from None
    if request.content_length is not None and came != request.content_length:
        raise DecodeError(f"{came} of {request.content_length} announced bytes came")


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp's server is about us: garbage and hanging up are the client's."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError)


def _server_log() -> logging.Logger:
    if _is_ours not in log.filters:
        log.addFilter(_is_ours)
    return log


class Sturdy(asyncio.Protocol):
    """One connection's protocol of aiohttp; where its parser fails, the sender is told so.

    aiohttp answers 400 to what its parser refuses, but there are heads on which the parser fails:
    the target `http://[::1]:@/x` is an IndexError in yarl 1.25.  asyncio would close the
    connection and write a traceback, for every stranger who likes to.
    """

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand on."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Parse; handlers run in tasks of their own, so what fails here failed on these bytes."""
        try:
            self._inner.data_received(data)
        except Exception as error:
            assert self._transport is not None
            log.debug("unreadable request: %r", error)
            self._transport.write(BAD_REQUEST)
            self._transport.close()

    def eof_received(self) -> bool | None:
        """Hand on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Hand on."""
        self._inner.connection_lost(error)


class Runner(web.AppRunner):
    """An `AppRunner` whose connections are `Sturdy`."""

    @property
    def server(self) -> Callable[[], asyncio.Protocol] | None:  # type: ignore[override]
        """Makes the protocol of a new connection; None before `setup`."""
        make = super().server
        return None if make is None else lambda: Sturdy(make())


def make_runner(app: web.Application, **options: Any) -> Runner:
    """A `Runner` that logs no access, no garbage, and decompresses nothing.

    Without it, whoever sends garbage writes a traceback into our log with every line.
    """
    return Runner(
        app,
        access_log=None,
        logger=_server_log(),
        auto_decompress=False,
        lingering_time=LINGERING_S,
        **options,
    )
