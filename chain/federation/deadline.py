"""One deadline for a whole HTTP request of urllib: connecting, TLS, header lines, body, redirects.

urllib's own timeout begins anew with each address that is tried and with each read, so a server
that sends a byte now and then would hold whoever asks for ever.  Here every address and every
read waits for what is left of the deadline at the most.  The system's resolver alone has its own
timeouts, and a TLS handshake may end one wait of a read after the deadline.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, Request


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a request must have been answered."""

    allowed_s: float  # for all of it
    clock: Callable[[], float]  # seconds
    end: float  # on this clock

    @classmethod
    def begin(cls, allowed_s: float, clock: Callable[[], float]) -> "Deadline":
        """One that runs from now on."""
        return cls(allowed_s, clock, clock() + allowed_s)

    def wait_s(self, longest: float) -> float:
        """How long one step may take: `longest`, or what is left.  Raises TimeoutError: nothing."""
        left = self.end - self.clock()
        if left <= 0:
            raise TimeoutError(f"the answer had not ended after {self.allowed_s:g} s")
        return min(left, longest)


class TimedHttp(HTTPHandler):
    """http: under a deadline, for urllib.request.build_opener."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> HTTPResponse:
        """As HTTPHandler's."""
        return self.do_open(_connection(HTTPConnection, self._deadline), req)


class TimedHttps(HTTPSHandler):
    """https: under a deadline, with the library's default checks of certificates."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Request) -> HTTPResponse:
        """As HTTPSHandler's."""
        return self.do_open(_connection(HTTPSConnection, self._deadline), req)


def _connection(kind: type[HTTPConnection], deadline: Deadline) -> Any:
    """What urllib makes its connections with: `kind` under the deadline."""

    def response(sock: socket.socket, *args: Any, **named: Any) -> HTTPResponse:
        answer = HTTPResponse(sock, *args, **named)
        answer.fp.close()
        answer.fp = BufferedReader(_TimedReads(sock, deadline))
        return answer

    def connect(
        place: tuple[str, int], timeout: float, source: tuple[str, int] | None
    ) -> socket.socket:
        return _connected(place, timeout, source, deadline)

    def made(host: str, timeout: float) -> HTTPConnection:
        connection: Any = kind(host, timeout=timeout)
        connection.response_class = response  # of a proxy's CONNECT too
        connection._create_connection = connect  # http.client has no other door for it
        return connection  # type: ignore[no-any-return]

    return made


class _TimedReads(RawIOBase):
    """A socket's bytes, each read within what is left of the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline
        self._longest: float = sock.gettimeout() or deadline.allowed_s
        self._bytes = sock.makefile("rb", buffering=0)  # holds the socket open

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises TimeoutError."""
        self._sock.settimeout(self._deadline.wait_s(self._longest))
        try:
            return self._bytes.readinto(buffer)
        except TimeoutError:
            self._deadline.wait_s(self._longest)  # says it if it was the deadline's
            raise

    def close(self) -> None:
        self._bytes.close()
        super().close()


def _connected(
    place: tuple[str, int], timeout: float, source: tuple[str, int] | None, deadline: Deadline
) -> socket.socket:
    """As socket.create_connection, but a name with many addresses gets no more time than one."""
    trouble: OSError | None = None
    for *_, (host, port, *_) in socket.getaddrinfo(*place, type=socket.SOCK_STREAM):
        waits_s = deadline.wait_s(timeout)
        try:
            return socket.create_connection((str(host), int(port)), waits_s, source)
        except OSError as error:
            trouble = error
    assert trouble is not None  # getaddrinfo raises rather than to return nothing
    raise trouble
