"""Servers that cut their answers off, trickle them, or send whoever asks somewhere else."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from urllib.error import URLError
from urllib.request import Request

import pytest

from bft.errors import DecodeError, Unavailable
from chain.audit.fetch import RETRY_AFTER_DIGITS_MAX, TRIES, ReplicaLog
from chain.federation.bounded import ANSWER_S, REASON_CHARS_MAX, ask
from chain.federation.fetch import fetch
from chain.federation.rpc_client import NodeRpc
from chain.wallet.sync import final_height
from tests.chain.audit.log_server import Answer, problem, served
from tests.patience import PATIENCE_S

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
        pytest.raises(Unavailable, match="does not answer: its answer ended 800 bytes too early"),
    ):
        read(url)


def test_an_answer_that_trickles_is_given_up_however_steadily_it_comes() -> None:
    hours = count(step=ANSWER_S // 2)
    with (
        served(lambda _: (200, {}, bytes(4_000_000))) as url,
        pytest.raises(TimeoutError, match=f"not ended after {ANSWER_S} s"),
    ):
        ask(Request(url), 4_000_000, PATIENCE_S, clock=lambda: next(hours))


LATE = r"not ended after 0\.2 s"
BEGUN = (
    b"HTT",
    b"HTTP/1.1 200 OK\r\nX-A",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0000",
)


@pytest.mark.parametrize("begun", BEGUN)
def test_an_answer_whose_lines_do_not_end_is_given_up(begun: bytes) -> None:
    """The deadline's, not that of one read: the clock goes on while lines are read."""
    hours = count(step=ANSWER_S / 3)
    with (
        spoken(begun, stays=True) as url,
        pytest.raises(TimeoutError, match=f"not ended after {ANSWER_S} s"),
    ):
        ask(Request(url), 1_000, PATIENCE_S, clock=lambda: next(hours))


def test_a_handshake_that_trickles_is_given_up() -> None:
    """A TLS record of 16 KiB is announced; urllib's own timeout is for all of the handshake."""
    with (
        trickled(b"\x16\x03\x03\x40\x00\x02") as port,
        pytest.raises(URLError, match=f"timed out|{LATE}"),
    ):
        ask(Request(f"https://127.0.0.1:{port}"), 1_000, PATIENCE_S, allowed_s=0.2)


def test_lines_that_trickle_are_given_up_by_the_clock_of_the_machine() -> None:
    with (
        trickled(b"HTTP/1.1 200 OK\r\nX: ") as port,
        pytest.raises((TimeoutError, URLError), match=LATE),
    ):
        ask(Request(f"http://127.0.0.1:{port}"), 1_000, PATIENCE_S, allowed_s=0.2)


def test_a_name_with_many_addresses_gets_no_more_time_than_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours = count(step=ANSWER_S / 3)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 5)
    with pytest.raises(URLError, match=f"not ended after {ANSWER_S} s"):
        ask(Request(f"http://many.test:{port}"), 1_000, PATIENCE_S, clock=lambda: next(hours))


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
def spoken(answer: bytes, *, stays: bool = False) -> Iterator[str]:
    """The URL of a server that says just this, and with `stays` waits for whoever asked to go."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)
            if stays:
                self.rfile.read()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("read", READERS)
def test_a_server_that_is_not_there_is_told_without_a_number(
    read: Callable[[str], bytes], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    (tmp_path / ".cookie").write_bytes(b"__cookie__:secret")
    with pytest.raises(Unavailable, match=r"does not answer: Connection refused$"):
        read(url)
    with pytest.raises(Unavailable, match=r"does not answer: Connection refused$"):
        NodeRpc(url, tmp_path / ".cookie").call("getblockcount")


@contextmanager
def trickled(begun: bytes) -> Iterator[int]:
    """The port of a server that says this, and then a byte every few milliseconds, for ever."""
    over = Event()

    def speak() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(begun)
            while not over.wait(0.005):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=speak)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            with socket.create_connection(listener.getsockname()):  # for one that nobody asked
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
