"""One HTTP exchange with one replica or node: bounded, timed, never redirected, errors typed.

What comes back is a claim of one machine over a link that nobody authenticated; believing it is
the caller's business (chain/federation/client.py).
"""

import io
from types import TracebackType
from typing import NamedTuple

import aiohttp
import msgspec
from yarl import URL

from bft.errors import Busy, ConfigError, DecodeError, FederationError, Refused, Unavailable
from chain.federation.bounded import plain

CONNECT_S = 3.0
EXCHANGE_S = 10.0  # from the request to the last byte of the answer
CONNECTIONS_MAX = 64
JSON_BYTES_MAX = 1024 * 1024
WRITE_BYTES = 256 * 1024  # of a body that is written at once
RETRY_S_MAX = 60  # nobody makes us wait longer
RETRY_DIGITS_MAX = 9
CODE_CHARS_MAX = 64
TEXT_CHARS_MAX = 500
USER_AGENT = "gristmill-client/1"


class Reply(NamedTuple):
    """What one server answered."""

    status: int
    body: bytes
    retry_s: int = 0  # how long it asks to be left alone


class Later(Busy):
    """A server has no room for us now.

    Attributes:
        retry_s: after how many seconds it would like to be asked again; 0 when it did not say.
    """

    def __init__(self, text: str, retry_s: int) -> None:
        super().__init__(text)
        self.retry_s = retry_s


class _Problem(msgspec.Struct):
    """The fields of problem details (RFC 9457) that a client uses; others may come."""

    title: str = ""
    detail: str = ""
    code: str = ""


def base_url(text: str) -> str:
    """`text` as scheme://host[:port][/path] without a slash at its end.

    Raises:
        ConfigError: not an http or https address.
    """
    try:
        url = URL(text)
    except (ValueError, IndexError) as error:  # yarl 1.25: IndexError for "http://[::1]:@"
        raise ConfigError(f"{text!r} is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
        raise ConfigError(f"{text!r} came; http://host:port or https://host:port expected")
    return str(url).rstrip("/")


class Transport:
    """A pool of connections.  Use as an async context manager, in one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Transport":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        bytes_max: int,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = EXCHANGE_S,
    ) -> Reply:
        """One request and its whole answer, whatever its status.

        Raises:
            Unavailable: no connection, or no complete answer in time.
            DecodeError: the answer is longer than `bytes_max`.
        """
        assert self._session is not None, "the transport is not open"
        limits = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_S)
        large = body is not None and len(body) > WRITE_BYTES
        sent = io.BytesIO(body or b"") if large else body  # which goes out piece by piece
        try:
            async with self._session.request(
                method, url, data=sent, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                body = await _read(response, bytes_max)
                return Reply(response.status, body, _retry_s(response))
        except TimeoutError:
            raise Unavailable(f"{url}: no answer within {timeout_s:g} s") from None
        except aiohttp.ClientConnectorError:
            raise Unavailable(f"{url}: cannot connect") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{url}: {type(error).__name__}: {error}") from None


def _retry_s(response: aiohttp.ClientResponse) -> int:
    """Retry-After in seconds, no more than RETRY_S_MAX; a date in it is not looked at."""
    text = response.headers.get("Retry-After", "")
    known = text.isascii() and text.isdigit() and len(text) <= RETRY_DIGITS_MAX
    return min(int(text), RETRY_S_MAX) if known else 0


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > bytes_max:
            raise DecodeError(f"{response.url}: more than {bytes_max} bytes came as the answer")
        parts.append(part)
    return b"".join(parts)


def refusal(reply: Reply) -> FederationError:
    """The error that a reply with a status of 300 or more stands for."""
    problem = _problem(reply.body)
    text = plain(problem.detail or problem.title, TEXT_CHARS_MAX) or f"HTTP {reply.status}"
    code = plain(problem.code, CODE_CHARS_MAX)
    if reply.status in (429, 503):
        return Later(text, reply.retry_s)
    if reply.status == 404:
        return Refused(code or "not-found", text)
    if 400 <= reply.status < 500:
        return Refused(code or f"http-{reply.status}", text)
    if reply.status >= 500:
        return Unavailable(text)
    return DecodeError(f"HTTP {reply.status} came; no redirect is followed")


def _problem(body: bytes) -> _Problem:
    if len(body) > JSON_BYTES_MAX:
        return _Problem()
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Problem()
