"""Reads a replica's genesis record and score log over HTTP, bounded and with timeouts.

Edge: the standard library's synchronous client, so that an audit needs no aiohttp.  Nothing that
comes is believed here; the auditor checks it.
"""

import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request

import msgspec

from bft.errors import ConfigError, DecodeError, Unavailable
from chain.audit.replay import LOG_ENTRY_BYTES_MAX
from chain.federation.api import (
    GENESIS,
    LOG,
    LOG_ANSWER_BYTES_MAX,
    LOG_FILES,
    LOG_LIMIT_MAX,
    OCTETS,
)
from chain.federation.bounded import REASON_CHARS_MAX, ask, plain, why
from chain.records.federation import GENESIS_BYTES_MAX
from chain.records.score_log import ENTRY_BYTES_MAX
from chain.tlog.tiles import BUNDLE_BYTES_MAX

TIMEOUT_S = 20
TRIES = 4
BUSY_WAIT_S_MAX = 5
PAGE_BYTES_MAX = LOG_ANSWER_BYTES_MAX + LOG_ENTRY_BYTES_MAX  # a page has one entry at least
FILE_BYTES_MAX = max(BUNDLE_BYTES_MAX, ENTRY_BYTES_MAX)  # of the published log
NOT_FOUND = 404
PROBLEM_BYTES_MAX = 64 * 1024
RETRY_AFTER_DIGITS_MAX = 9  # of a header field that may have 64 KiB of them

_RETRIED = (429, 502, 503, 504)
_pages = msgspec.msgpack.Decoder(tuple[msgspec.Raw, ...])


class Missing(Unavailable):
    """The server answers, and has no such file."""


class ReplicaLog:
    """One replica's copy of the log, or a mirror's."""

    def __init__(self, url: str, sleep: Callable[[int], object] = time.sleep) -> None:
        """`url`: http(s)://host[:port][/path], or host:port.  Raises ConfigError."""
        self.url = _checked(url)
        self.mirrors = False  # files only, known after `genesis`
        self._sleep = sleep
        self._direct = _is_here(urlsplit(self.url).hostname or "")

    def genesis(self) -> bytes:
        """The encoded genesis record.  Raises Unavailable, DecodeError (too long)."""
        try:
            return self._get(GENESIS, GENESIS_BYTES_MAX)
        except Missing:
            pass
        try:
            found = self._get("/genesis", GENESIS_BYTES_MAX)
        except Missing:
            raise Missing(
                f"{self.url} answers, and is neither a replica ({GENESIS} is not there) nor a "
                "mirror of a log (/genesis is not there)"
            ) from None
        self.mirrors = True
        return found

    def file(self, name: str) -> bytes:
        """A file of the published log.  Raises Missing, Unavailable, DecodeError (too long)."""
        place = "/" if self.mirrors else f"{LOG_FILES}/"
        return self._get(place + name, FILE_BYTES_MAX)

    def artifact(self, path: str, bytes_max: int) -> bytes:
        """An artifact's bytes.  Raises Missing, Unavailable, DecodeError (too long)."""
        return self._get(path, bytes_max)

    def entries(self, first: int = 0) -> Iterator[bytes]:
        """All encoded entries that the replica has from `first` on, page after page.

        Raises:
            Unavailable: no answer in time, or an error instead of one.
            DecodeError: an answer is too long or no list of entries.
        """
        index = first
        while True:
            query = urlencode({"from": index, "limit": LOG_LIMIT_MAX})
            page = self._get(f"{LOG}?{query}", PAGE_BYTES_MAX)
            try:
                entries = _pages.decode(page)
            except msgspec.MsgspecError as error:
                raise DecodeError(f"{self.url}: no page of log entries: {error}") from None
            if not entries:
                return
            yield from (bytes(entry) for entry in entries)
            index += len(entries)

    def _get(self, path: str, bytes_max: int) -> bytes:
        """One answer's body; a busy replica is asked again, a few times."""
        for left in reversed(range(TRIES)):
            try:
                return self._get_once(path, bytes_max)
            except HTTPError as error:
                if error.code not in _RETRIED or not left:
                    text = f"{self.url}{path}: {error.code} {_detail(error)}"
                    raise (Missing if error.code == NOT_FOUND else Unavailable)(text) from None
                self._sleep(_wait_s(error))
            except (URLError, HTTPException, OSError) as error:
                raise Unavailable(f"{self.url} does not answer: {why(error, TIMEOUT_S)}") from None
        raise AssertionError("the last try returns or raises")

    def _get_once(self, path: str, bytes_max: int) -> bytes:
        request = Request(self.url + path, headers={"Accept": OCTETS})
        body = ask(request, bytes_max, TIMEOUT_S, direct=self._direct)
        if len(body) > bytes_max:
            raise DecodeError(f"{self.url}{path}: more than {bytes_max} bytes came")
        return body


def _checked(url: str) -> str:
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if valid and parts.username is not None:
        host = parts.netloc.rpartition("@")[2]
        raise ConfigError(f"the address of {host} has a user's name in it; none is ever sent")
    if not valid or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is no replica's address; http://host:port is expected")
    return full.rstrip("/")


def _is_here(host: str) -> bool:
    """Whether it is this machine, for which the environment's proxies do not serve."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wait_s(error: HTTPError) -> int:
    """Seconds that a busy replica asks for, within bounds; 1 when it does not say."""
    asked = error.headers.get("Retry-After", "")
    if not asked.isdecimal():
        return 1
    return min(BUSY_WAIT_S_MAX, max(1, int(asked[:RETRY_AFTER_DIGITS_MAX])))


def _detail(error: HTTPError) -> str:
    """What the problem details say (RFC 9457), or the bare reason."""
    try:
        problem: Any = json.loads(error.read(PROBLEM_BYTES_MAX))
        detail = problem.get("detail") or problem.get("title")
    except (ValueError, AttributeError, OSError, HTTPException, RecursionError):
        detail = None
    return plain(str(detail or error.reason), REASON_CHARS_MAX)
