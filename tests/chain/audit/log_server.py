"""A peer that serves a score log over HTTP as replicas do, or misbehaves in a chosen way.

Real sockets on loopback; the handler runs in a thread of its own.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from bft.codec.canonical import encode
from chain.federation.api import GENESIS, LOG, LOG_LIMIT_MAX
from chain.records.score_log import LogEntry

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps({"title": "refused", "status": status, "detail": detail}).encode()
    return status, {"Content-Type": "application/problem+json", **(headers or {})}, body


def log_answers(
    genesis: bytes, entries: list[LogEntry], page: int = LOG_LIMIT_MAX
) -> Callable[[str], Answer]:
    """An honest replica's answers, in pages of at most `page` entries."""

    def answer(target: str) -> Answer:
        url = urlsplit(target)
        if url.path == GENESIS:
            return 200, {}, genesis
        if url.path != LOG:
            return problem(404, f"no {url.path}")
        query = parse_qs(url.query)
        start, limit = int(query["from"][0]), int(query["limit"][0])
        if limit > LOG_LIMIT_MAX:
            return problem(400, f"limit is {limit}")
        return 200, {}, encode(tuple(entries[start : start + min(page, limit)]))

    return answer


@contextmanager
def served(answer: Callable[[str], Answer]) -> Iterator[str]:
    """The URL at which `answer` is served."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
