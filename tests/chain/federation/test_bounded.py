"""Servers that cut their answers off, trickle them, or send whoever asks somewhere else."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from urllib.request import build_opener

import pytest

from bft.errors import DecodeError, Unavailable
from chain.audit.fetch import RETRY_AFTER_DIGITS_MAX, TRIES, ReplicaLog
from chain.federation.bounded import ANSWER_S, REASON_CHARS_MAX, SameServer, read_whole
from chain.federation.fetch import fetch
from chain.federation.rpc_client import NodeRpc
from chain.wallet.sync import final_height
from tests.chain.audit.log_server import Answer, problem, served

READERS: tuple[Callable[[str], bytes], ...] = (
    lambda url: ReplicaLog(url).file("checkpoint"),
    lambda url: fetch(url + "/x", 1_000),
)


@pytest.mark.parametrize("read", READERS)
def test_an_answer_that_was_cut_off_is_none_and_accuses_nobody(
    read: Callable[[str], bytes],
) -> None:
    with (
        served(lambda _: (200, {"Content-Length": "900"}, bytes(100))) as url,
        pytest.raises(Unavailable, match=r"800 (bytes too early|more expected)"),
    ):
        read(url)


def test_an_answer_that_trickles_is_given_up_however_steadily_it_comes() -> None:
    hours = count(step=ANSWER_S // 2)
    with (
        served(lambda _: (200, {}, bytes(4_000_000))) as url,
        build_opener().open(url) as answer,
        pytest.raises(TimeoutError, match=f"not ended after {ANSWER_S} s"),
    ):
        read_whole(answer, 4_000_000, clock=lambda: next(hours))


@pytest.mark.parametrize("read", READERS)
def test_a_server_sends_nobody_to_another_one(read: Callable[[str], bytes]) -> None:
    asked: list[str] = []

    def inside(target: str) -> Answer:
        asked.append(target)
        return 200, {}, b"what only this network may see"

    with served(inside) as other:
        for place in (other, other.replace("127.0.0.1", "localhost"), "ftp://127.0.0.1/x"):
            redirect = (302, {"Location": place}, b"")
            with (
                served(lambda _, answer=redirect: answer) as url,  # type: ignore[misc]
                pytest.raises(Unavailable, match=r"302 sends on to another server"),
            ):
                read(url)
    assert asked == []


@contextmanager
def spoken(answer: bytes) -> Iterator[str]:
    """The URL of a server that says just this."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_nodes_cookie_goes_to_no_other_server(tmp_path: Path) -> None:
    cookie, asked = tmp_path / ".cookie", list[str]()
    cookie.write_bytes(b"__cookie__:secret")

    def inside(target: str) -> Answer:
        asked.append(target)
        return 200, {}, b'{"result": 1}'

    with (
        served(inside) as other,
        spoken(f"HTTP/1.1 302 Found\r\nLocation: {other}/\r\n\r\n".encode()) as url,
        pytest.raises(DecodeError, match="status 302"),
    ):
        NodeRpc(url, cookie).call("getblockcount")
    assert asked == []


@pytest.mark.parametrize("read", READERS)
def test_what_a_server_says_writes_nothing_else_on_the_terminal(
    read: Callable[[str], bytes],
) -> None:
    said = problem(403, "no\x1b[2J\r\n\u202eaudit passed" + "!" * 60_000)
    with served(lambda _: said) as url, pytest.raises(Unavailable, match="403") as caught:
        read(url)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2 * REASON_CHARS_MAX
    line = f"HTTP/1.0 403 no\x1b[2J{'!' * 10_000}\r\n\r\n".encode()
    with spoken(line) as url, pytest.raises(Unavailable, match="403") as caught:
        read(url)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2 * REASON_CHARS_MAX


def test_a_server_may_send_on_to_another_of_its_own_places() -> None:
    def moved(target: str) -> Answer:
        return (200, {}, b"here") if target == "/new" else (301, {"Location": "/new"}, b"")

    with served(moved) as url:
        assert fetch(url + "/old", 10) == b"here"
        with build_opener(SameServer).open(url + "/old") as answer:
            assert answer.url == url + "/new"


@pytest.mark.parametrize("digits", [RETRY_AFTER_DIGITS_MAX + 1, 5_000])
def test_a_wait_of_many_digits_is_a_wait_all_the_same(digits: int) -> None:
    waited: list[int] = []
    with (
        served(lambda _: problem(429, "later", {"Retry-After": "9" * digits})) as url,
        pytest.raises(Unavailable, match="429 later"),
    ):
        ReplicaLog(url, sleep=waited.append).genesis()
    assert len(waited) == TRIES - 1


def test_problem_details_that_are_too_deep_are_not_read() -> None:
    with (
        served(lambda _: (500, {}, b"[" * 60_000)) as url,
        pytest.raises(Unavailable, match="500 Internal Server Error"),
    ):
        ReplicaLog(url).genesis()


@pytest.mark.parametrize("told", ["1e999", "-1e999", "NaN", "true", "1.5", '"7"', "null"])
def test_a_height_that_is_no_whole_number_is_no_status(told: str) -> None:
    with (
        served(lambda _: (200, {}, b'{"height": %s}' % told.encode())) as url,
        pytest.raises(DecodeError, match="no status"),
    ):
        final_height(url)


def test_a_height_is_read() -> None:
    with served(lambda _: (200, {}, json.dumps({"height": 9, "final_height": 7}).encode())) as url:
        assert final_height(url) == 7
