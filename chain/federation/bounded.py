"""HTTP answers that commands of the standard library read: whole, in time, from whom was asked.

Nothing here believes what comes; it bounds how long a server can hold a reader, tells an answer
that was cut off from one that is wrong, and goes nowhere that a server names.
"""

import ssl
import time
from collections.abc import Callable
from http.client import HTTPMessage, HTTPResponse, IncompleteRead
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from chain.federation.deadline import Deadline, TimedHttp, TimedHttps

ANSWER_S = 300
"""For one request, from connecting to the body's end, however steadily its bytes trickle: the
longest body at half a megabit a second."""
_PIECE_BYTES = 64 * 1024
REASON_CHARS_MAX = 300  # of what a server says why it does not answer


def ask(
    request: Request,
    bytes_max: int,
    idle_s: float,
    *,
    direct: bool = False,
    allowed_s: float = ANSWER_S,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """The body of a good answer; of one longer than `bytes_max`, more than so many bytes of it.

    Args:
        idle_s: the longest wait for a connection, or for further bytes.
        direct: never by a proxy of the environment.
        allowed_s: for all of it.
        clock: seconds.

    Raises:
        HTTPError: another status, or a redirect elsewhere; its body has the same deadline.
        URLError, OSError: no connection, or none in time.
        HTTPException: no HTTP, or less of the body than was announced.
        TimeoutError: nothing for `idle_s`, or not all within `allowed_s`.
    """
    deadline = Deadline.begin(allowed_s, clock)
    proxies = (ProxyHandler({}),) if direct else ()
    opener = build_opener(SameServer, TimedHttp(deadline), TimedHttps(deadline), *proxies)
    with opener.open(request, timeout=idle_s) as answer:
        return _read_whole(answer, bytes_max)


def _read_whole(answer: HTTPResponse, bytes_max: int) -> bytes:
    """Raises IncompleteRead: the connection ended before the length that was announced."""
    body = bytearray()
    while len(body) <= bytes_max:
        piece = answer.read1(_PIECE_BYTES)
        if not piece:
            if answer.length:
                raise IncompleteRead(bytes(body), answer.length)
            break
        body += piece
    return bytes(body)


def plain(text: str, chars_max: int) -> str:
    """Printable, on one line, and short: it goes to logs and terminals."""
    kept = "".join(sign if sign.isprintable() else " " for sign in text[:chars_max])
    return " ".join(kept.split())


def why(error: Exception, idle_s: float) -> str:
    """Why `ask` had no answer, in words where the library has a number or a macro's name."""
    reason = getattr(error, "reason", error)
    match reason:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted here: {reason.verify_message}"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return "it speaks no TLS; http:// may be meant"
        case TimeoutError():
            told = str(reason)
            return told if told.startswith("the answer") else f"nothing came for {idle_s:g} s"
        case IncompleteRead():
            return f"its answer ended {reason.expected} bytes too early"
        case OSError(strerror=str(text)):
            return text
    return plain(str(reason), REASON_CHARS_MAX) or type(reason).__name__


class SameServer(HTTPRedirectHandler):
    """Follows a redirect to the server that was asked, or to its own https, and to no other."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Raises HTTPError: it leads elsewhere."""
        asked, told = urlsplit(req.full_url), urlsplit(newurl)
        here = (asked.scheme, asked.netloc) == (told.scheme, told.netloc)
        if not here and (told.scheme, told.hostname) != ("https", asked.hostname):
            text = f"sends on to another server, {told.netloc[:80]!r}: not followed"
            raise HTTPError(req.full_url, code, text, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
