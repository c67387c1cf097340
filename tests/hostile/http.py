"""Requests that no honest client sends, and what an answer to one may look like."""

import json
from collections.abc import Iterable

from chain.federation import api

DIGEST = "ab" * 32
MINER = "02" * 33
LARGEST = 2**63 - 1
ROUTES = tuple(
    path.format(digest=DIGEST, cycle=1, miner=MINER, height=1, parent=DIGEST, txid=DIGEST, index=0)
    for name, path in sorted(vars(api).items())
    if isinstance(path, str) and path.startswith("/v1/") and name != "EVENTS"
)
"""Every route with good parameters, but for the stream of events."""
METHODS = ("HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FOO", "get")


def request(
    method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """One request, whatever is wrong with it; the connection ends with the answer."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n"
    return head.encode() + body


def _sized(method: str, target: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    return request(method, target, (("Content-Length", str(len(body))), *headers), body)


def wrong_methods() -> list[bytes]:
    """Every method at every route."""
    return [_sized(method, route, b"abc") for route in ROUTES for method in METHODS]


def odd_targets() -> list[bytes]:
    """Parameters and paths: missing, oversized, negative, twice, in other spellings, tricks."""
    log, cycles, block = api.LOG, api.CYCLES, "/v1/blocks"
    targets = [
        *(f"{log}?from={value}" for value in ("", "-1", "+1", "0001", "1e3", "%ff", "%00", "0x1")),
        *(f"{log}?from={value}" for value in (LARGEST, LARGEST + 1, "9" * 5_000)),
        *(f"{log}?limit={value}" for value in ("0", api.LOG_LIMIT_MAX + 1, "-0")),
        f"{log}?from=1&from=2",
        f"{log}?from=1;limit=2",
        f"{log}?" + "a=b&" * 2_000,
        f"{log}?" + "x" * 20_000,
        f"{cycles}?from={LARGEST}",
        f"{cycles}/{LARGEST}",
        f"{cycles}/{'9' * 5_000}",
        f"{cycles}/1%2fscores",
        f"{cycles}/１",
        f"{block}/{LARGEST}/finality",
        f"{block}/%00",
        f"{block}/..%2f..%2fetc%2fpasswd",
        "/v1/blobs/../../../../etc/passwd",
        "/v1/blobs/..%2f..%2fidentity.key",
        f"/v1/blobs/{'AB' * 32}",
        *("//v1/log", "/v1//log", "/v1/log/", "/v1/../v1/log", "/", "*", "v1/log", "/v1/\xff"),
        *("http://[::1]:@/x", "http://[/x", "http://x:99999/x"),
        *("http://elsewhere.example/v1/log", "/" + "a" * 30_000, "/" + "a/" * 3_000),
    ]
    return [request("GET", target) for target in targets]


def odd_headers() -> list[bytes]:
    """Ranges, conditions, lengths, encodings."""
    pairs = [
        *(("Range", value) for value in ("bytes=0-", "bytes=5-1", "bytes=-5", "x" * 5_000)),
        *(("If-None-Match", value) for value in ("*", '"', f'"{DIGEST}"' * 50)),
        *(("Content-Length", value) for value in ("-1", "abc", "9" * 20, "1, 1")),
        *(("Expect", value) for value in ("100-continue", "anything")),
        *(("Upgrade", value) for value in ("websocket", "h2c")),
        ("Host", "twice"),
        ("If-Modified-Since", "garbage"),
        ("Cookie", "a=b;" * 1_500),
        ("X" * 200, "y"),
        ("Accept", "\xff\xfe"),
        ("Transfer-Encoding", "gzip, chunked, identity"),
        ("Last-Event-ID", str(LARGEST)),
    ]
    routes = (api.LOG, api.BLOBS.format(digest=DIGEST))
    return [request("GET", route, [pair]) for route in routes for pair in pairs] + [
        request("GET", api.EVENTS, [("Last-Event-ID", value)])
        for value in ("-1", "x" * 50, str(LARGEST), str(LARGEST + 1))
    ]


def odd_bodies() -> list[bytes]:
    """At every route that takes one: lying lengths, broken chunks, compression, other forms."""
    chunked = ("Transfer-Encoding", "chunked")
    found = []
    for method, route in (
        ("POST", api.REQUESTS),
        ("POST", api.BLOCKS),
        ("PUT", api.BLOBS.format(digest=DIGEST)),
    ):
        found += [
            request(method, route),
            _sized(method, route, b""),
            _sized(method, route, b"\xff" * 300_000),
            _sized(method, route, b"abcde", ("Content-Type", "multipart/form-data; boundary=x")),
            *(
                _sized(method, route, b"\x1f\x8b\x08abcde", ("Content-Encoding", coding))
                for coding in ("gzip", "deflate", "br", "zstd", "x", "")
            ),
            *(
                request(method, route, [chunked], body)
                for body in (
                    b"zz\r\n",
                    b"3\r\nabcXX0\r\n\r\n",
                    b"-1\r\n",
                    b"ffffffffffffffffff\r\n",
                    b"3\r\nabc\r\n0\r\n\r\n",
                    b"1;" + b"x" * 20_000 + b"\r\na\r\n0\r\n\r\n",
                )
            ),
            request(method, route, [chunked, ("Content-Length", "3")], b"3\r\nabc\r\n0\r\n\r\n"),
            request(method, route, [("Content-Length", "3"), ("Content-Length", "5")], b"abcde"),
            request(method, route, [("Gristmill-Upload", "zz" * 3_000)]),
            request(method, f"{route}?wait_ms=99999999"),
        ]
    return found


def unfinished() -> list[bytes]:
    """The rest never comes: whoever waits for it must give up by itself."""
    return [
        b"",
        b"GET",
        b"\r\n" * 1_000,
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\n",
        request("POST", api.REQUESTS, [("Content-Length", "10")], b"abc"),
        request("POST", api.BLOCKS, [("Content-Length", "1000000")], b"abc"),
        request("POST", api.BLOCKS, [("Transfer-Encoding", "chunked")], b"5\r\nabc"),
        request("POST", api.REQUESTS, [("Transfer-Encoding", "chunked")], b"ffffffff\r\nabc"),
    ]


def no_http() -> list[bytes]:
    """Other protocols, broken heads, floods of headers, garbage behind good requests."""
    good = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
    return [
        bytes(100) + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(200),
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\nHost: x\n\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHo st: x\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        good * 50 + b"garbage\r\n\r\n",
        b"\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00" + bytes(100) + b"\r\n\r\n",
    ]


def check_answer(answer: bytes) -> int:
    """The status of one answer to a single request; what is wrong with it is a failure.

    A request that is no HTTP, or asks for what the library answers before us, gets the library's
    plain 400 or 417; whatever reached a route of ours gets problem details.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    assert 200 <= status < 500 or status == 501, answer[:500]
    by_library = head.startswith(b"HTTP/1.0 400") or status == 417
    if status >= 400 and not by_library and body:
        assert b"application/problem+json" in head, answer[:500]
        told = json.loads(body)
        assert told["status"] == status and told["code"] and told["detail"], told
    assert b"Traceback" not in body
    return status
