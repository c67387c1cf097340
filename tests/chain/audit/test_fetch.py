"""Reading a log over HTTP: page after page, bounded, and nothing is believed."""

import pytest

from bft.codec.canonical import encode
from bft.errors import ConfigError, DecodeError, Unavailable
from chain.audit.fetch import PAGE_BYTES_MAX, TRIES, Missing, ReplicaLog
from chain.federation.api import LOG
from chain.records.federation import GENESIS_BYTES_MAX
from tests.chain.audit.log_server import Answer, log_answers, problem, served
from tests.chain.audit.mill import Mill


def test_a_log_is_read_to_its_end_whatever_the_size_of_its_pages() -> None:
    mill = Mill().found()
    for page in (1, 3, 1_000):
        with served(log_answers(encode(mill.genesis), mill.entries, page)) as url:
            log = ReplicaLog(url)
            assert log.genesis() == encode(mill.genesis)
            assert list(log.entries()) == [encode(entry) for entry in mill.entries]


def test_an_address_needs_no_scheme() -> None:
    assert ReplicaLog("replica.example:8080").url == "http://replica.example:8080"
    assert ReplicaLog("https://replica.example/mill/").url == "https://replica.example/mill"


@pytest.mark.parametrize(
    "url", ["", "ftp://replica.example", "http://", "http://a:99999", "file:///etc/passwd", "a?b=c"]
)
def test_what_is_no_address_is_the_users_mistake(url: str) -> None:
    with pytest.raises(ConfigError, match="no replica's address"):
        ReplicaLog(url)


def test_nobody_there_is_unavailable() -> None:
    with served(lambda _: (200, {}, b"")) as url:
        pass  # closed again
    with pytest.raises(Unavailable, match="does not answer"):
        ReplicaLog(url).genesis()


def test_an_error_says_what_the_replica_said() -> None:
    with (
        served(lambda _: problem(404, "no log here")) as url,
        pytest.raises(Unavailable, match="404 no log here"),
    ):
        list(ReplicaLog(url).entries())


def test_an_error_without_problem_details_is_told_by_its_reason() -> None:
    with (
        served(lambda _: (500, {}, b"[]")) as url,
        pytest.raises(Unavailable, match="500 Internal Server Error"),
    ):
        ReplicaLog(url).genesis()


def test_a_busy_replica_is_asked_again_and_given_up_in_the_end() -> None:
    asked = []

    def busy(target: str) -> Answer:
        asked.append(target)
        return problem(429, "too many requests", {"Retry-After": "0"})

    waited: list[float] = []
    with served(busy) as url:
        log = ReplicaLog(url, sleep=waited.append)
        with pytest.raises(Unavailable, match="429 too many requests"):
            log.genesis()
    assert (len(asked), waited) == (TRIES, [1] * (TRIES - 1))


def test_an_answer_beyond_its_limit_is_not_read_to_the_end() -> None:
    with (
        served(lambda _: (200, {}, bytes(GENESIS_BYTES_MAX + 1))) as url,
        pytest.raises(DecodeError, match="more than"),
    ):
        ReplicaLog(url).genesis()
    with served(lambda _: (200, {}, bytes(GENESIS_BYTES_MAX))) as url:
        assert len(ReplicaLog(url).genesis()) == GENESIS_BYTES_MAX
    with (
        served(lambda _: (200, {}, bytes(PAGE_BYTES_MAX + 1))) as url,
        pytest.raises(DecodeError, match="more than"),
    ):
        next(ReplicaLog(url).entries())


@pytest.mark.parametrize("body", [b"", b"\x93\x01", b"\x01", b"<html>"])
def test_an_answer_that_is_no_page_is_refused(body: bytes) -> None:
    with served(lambda _: (200, {}, body)) as url, pytest.raises(DecodeError, match="no page"):
        list(ReplicaLog(url).entries())


def test_a_replica_cannot_send_the_auditor_to_a_file() -> None:
    with (
        served(lambda _: (302, {"Location": "file:///etc/hostname"}, b"")) as url,
        pytest.raises(Unavailable),
    ):
        ReplicaLog(url).genesis()


def test_a_replica_that_sends_one_page_for_ever_is_cut_off_by_the_audit_not_by_memory() -> None:
    mill = Mill().found()
    page = encode(tuple(mill.entries))

    def repeating(target: str) -> Answer:
        return 200, {}, page if target.startswith(LOG) else encode(mill.genesis)

    with served(repeating) as url:
        entries = ReplicaLog(url).entries()
        for _ in range(3 * len(mill.entries)):
            next(entries)  # a stream: nothing is kept


def test_a_server_that_has_no_log_is_named_as_such() -> None:
    with served(lambda _: (404, {}, b"")) as url, pytest.raises(Missing, match="is neither a rep"):
        ReplicaLog(url).genesis()


def test_why_nobody_answered_is_said_in_words() -> None:
    with served(lambda _: (200, {}, b"")) as url:
        secure = url.replace("http://", "https://")
        with pytest.raises(Unavailable, match="it speaks no TLS; http:// may be meant"):
            ReplicaLog(secure).genesis()
    with pytest.raises(ConfigError, match=r"the address of host:1 has a user's name in it"):
        ReplicaLog("http://user:secret@host:1")
