"""Clients that no library is: slow ones, endless ones, and headers that lie.

Each is told so in our form, or cut off; none is waited for.  Raw sockets to one replica that gives
everybody a second.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from bft.crypto.hashing import sha256
from chain.federation import api
from tests.hostile import http
from tests.hostile.victim import Victim, replica

SETTINGS = "limits: {body_s: 1, head_s: 1, idle_s: 1, answers_bytes: 8000000}"
SNAPSHOT = bytes(4_000_000)
PACE_S = 0.05  # between two bytes of a slow sender
HEAD_BYTES = 100_000  # longer than any head that is read
ANSWER_BYTES = 1 << 16  # more than any problem has
ARTIFACT = api.BLOBS.format(digest=sha256(SNAPSHOT).hex())


def told(answer: bytes) -> tuple[int, str]:
    """(status, code) of a problem, which the answer must be."""
    assert answer, "no answer came"
    status = http.check_answer(answer)
    assert status >= 400, answer[:300]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer[:300]
    return status, json.loads(body)["code"]


def field(answer: bytes, name: str) -> str:
    """A header field's value; empty when it is not there."""
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.lower() == name.lower()), "")


async def trickled(victim: Victim, head: bytes, piece: bytes) -> bytes:
    """What comes back while `piece` is sent again and again, until the other side has enough."""
    reader, writer = await victim.connect()
    answer = asyncio.create_task(reader.read(ANSWER_BYTES))
    try:
        writer.write(head)
        while not answer.done():
            writer.write(piece)
            await writer.drain()
            await asyncio.wait([answer], timeout=PACE_S)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    try:
        return await answer
    except ConnectionError:
        return b""


async def slow_head(victim: Victim) -> None:
    """Slow loris: header after header, never the last one.  Cut off without an answer."""
    head = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n"
    assert await trickled(victim, head, b"X-a: b\r\n") == b""


async def slow_body(victim: Victim) -> None:
    """A byte now and then: 408 when its time is over, however much of it came."""
    for path in (api.REQUESTS, api.BLOCKS):
        head = http.request("POST", path, [("Content-Length", "100000")])
        assert told(await trickled(victim, head, b"x")) == (408, "too-slow")


async def slow_reader(victim: Victim) -> None:
    """Who takes nothing of what it asked for gets no more memory than the budget."""
    writers = []
    for _ in range(8):
        reader, writer = await victim.connect()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(http.request("GET", ARTIFACT))
        writers.append(writer)
    assert await victim.answers()
    for writer in writers:
        writer.transport.abort()


async def long_head(victim: Victim) -> None:
    """A header, or a target, longer than is read: 400."""
    for head in (
        http.request("GET", api.STATUS, [("X-long", "y" * HEAD_BYTES)]),
        http.request("GET", api.STATUS + "?" + "x" * HEAD_BYTES),
    ):
        answer = await victim.raw(head)
        assert http.check_answer(answer) == 400, answer[:200]


async def long_body(victim: Victim) -> None:
    """Announced too long: refused before it comes.  Not announced: refused once it is too long."""
    for path, most in ((api.BLOCKS, api.BLOCK_BYTES_MAX), (api.BLOBS_ASKED, 32 * 256)):
        announced = http.request("POST", path, [("Content-Length", str(most + 1))])
        assert told(await victim.raw(announced)) == (413, "too-large")
        size = most + 1
        chunk = f"{size:x}\r\n".encode() + bytes(size) + b"\r\n0\r\n\r\n"
        chunked = http.request("POST", path, [("Transfer-Encoding", "chunked")], chunk)
        assert told(await victim.raw(chunked)) == (413, "too-large")


async def odd_range(victim: Victim) -> None:
    """Nothing in it: 416 with the size.  Several, or of something else: the whole."""
    size = len(SNAPSHOT)
    for asked in (f"bytes={size}-", "bytes=9-3", "bytes=-0", "bytes=x-"):
        answer = await victim.raw(http.request("GET", ARTIFACT, [("Range", asked)]))
        assert told(answer) == (416, "no-such-range"), asked
        assert field(answer, "Content-Range") == f"bytes */{size}"
    for asked in ("bytes=0-1,3-4", "lines=1-2", "garbage"):
        answer = await victim.raw(http.request("GET", ARTIFACT, [("Range", asked)]))
        assert http.check_answer(answer) == 200 and answer.endswith(SNAPSHOT[-1000:]), asked


async def compressed(victim: Victim) -> None:
    """No few bytes become many here."""
    sent = [("Content-Encoding", "gzip"), ("Content-Length", "3")]
    answer = await victim.raw(http.request("POST", api.REQUESTS, sent, b"abc"))
    assert told(answer) == (415, "compressed")
    assert field(answer, "Accept-Encoding") == "identity"


async def wrong_method(victim: Victim) -> None:
    """405 names what may be asked."""
    for method, path, allowed in (
        ("DELETE", api.STATUS, {"GET", "HEAD"}),
        ("GET", api.REQUESTS, {"POST"}),
        ("PATCH", ARTIFACT, {"GET", "HEAD", "PUT"}),
    ):
        answer = await victim.raw(http.request(method, path))
        assert told(answer) == (405, "http-405")
        assert {name.strip() for name in field(answer, "Allow").split(",")} == allowed


async def no_route(victim: Victim) -> None:
    """404 is a problem as well."""
    for path in ("/v1", "/v2/status", "/v1/blobs/", "/openapi.toml"):
        assert told(await victim.raw(http.request("GET", path))) == (404, "not-found")


CLIENTS: tuple[Callable[[Victim], Awaitable[None]], ...] = (
    slow_head,
    slow_body,
    slow_reader,
    long_head,
    long_body,
    odd_range,
    compressed,
    wrong_method,
    no_route,
)


async def check(root: Path) -> list[str]:
    """What went wrong, one line for each client that was served otherwise than it should be."""
    wrong = []
    async with replica(root, settings=SETTINGS, snapshot=SNAPSHOT) as (victim, _, _):
        for client in CLIENTS:
            try:
                async with victim.storm():
                    await client(victim)
                print(f"{client.__name__}: as it should be", flush=True)
            except AssertionError as error:
                wrong.append(f"{client.__name__}: {error}")
    return wrong
