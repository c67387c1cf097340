"""The adapter over etcd3, against a real etcd."""

import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bft.errors import ConfigError, Refused, Unavailable
from deploy.etcd import (
    ABSENT,
    ENDPOINTS_MAX,
    VALUE_BYTES_MAX,
    EtcdClient,
    Lease,
    Tls,
    open_client,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def key() -> bytes:
    """A key that no other test uses."""
    return f"/gristmill/test/{uuid.uuid4()}".encode()


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_key_that_is_not_there_has_no_value(etcd: EtcdClient, key: bytes) -> None:
    assert etcd.get(key) is None
    assert etcd.delete(key) is False


def test_what_is_put_is_got_until_it_is_deleted(etcd: EtcdClient, key: bytes) -> None:
    etcd.put(key, b"one")
    first = etcd.get(key)
    etcd.put(key, b"\x00\xfftwo")
    second = etcd.get(key)
    assert first is not None
    assert second is not None
    assert (first.data, second.data) == (b"one", b"\x00\xfftwo")
    assert first.created == second.created == first.revision < second.revision
    assert etcd.delete(key) is True
    assert etcd.get(key) is None


def test_of_two_swaps_that_expect_one_revision_one_wins(etcd: EtcdClient, key: bytes) -> None:
    assert etcd.compare_and_swap(key, b"first", expected=ABSENT)
    assert not etcd.compare_and_swap(key, b"second", expected=ABSENT)
    value = etcd.get(key)
    assert value is not None
    assert value.data == b"first"
    assert etcd.compare_and_swap(key, b"third", expected=value.revision)
    assert not etcd.compare_and_swap(key, b"fourth", expected=value.revision)
    after = etcd.get(key)
    assert after is not None
    assert (after.data, after.created) == (b"third", value.created)


def test_the_end_of_a_lease_takes_its_keys_along(etcd: EtcdClient, key: bytes) -> None:
    lease = etcd.grant_lease(60)
    assert lease.ttl_s >= 60
    etcd.put(key, b"mine", lease=lease)
    assert etcd.compare_and_swap(key + b"/2", b"mine too", expected=ABSENT, lease=lease)
    held = etcd.get(key)
    assert held is not None
    assert held.lease == lease.id
    assert 1 <= etcd.keep_alive(lease) <= lease.ttl_s
    etcd.revoke(lease)
    assert etcd.get(key) is None
    assert etcd.get(key + b"/2") is None


def test_a_lease_that_has_ended_holds_nothing(etcd: EtcdClient, key: bytes) -> None:
    lease = etcd.grant_lease(60)
    etcd.revoke(lease)
    for act in (
        lambda: etcd.keep_alive(lease),
        lambda: etcd.revoke(lease),
        lambda: etcd.put(key, b"late", lease=lease),
        lambda: etcd.compare_and_swap(key, b"late", expected=ABSENT, lease=lease),
    ):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code == "not-found"
    assert etcd.get(key) is None


def test_a_value_has_a_largest_size(etcd: EtcdClient, key: bytes) -> None:
    etcd.put(key, bytes(VALUE_BYTES_MAX))
    for write in (
        lambda data: etcd.put(key, data),
        lambda data: etcd.compare_and_swap(key, data, expected=ABSENT),
    ):
        with pytest.raises(ValueError, match=str(VALUE_BYTES_MAX)):
            write(bytes(VALUE_BYTES_MAX + 1))
    value = etcd.get(key)
    assert value is not None
    assert len(value.data) == VALUE_BYTES_MAX


def test_a_lease_lasts_at_least_a_second(etcd: EtcdClient) -> None:
    with pytest.raises(ValueError, match="ttl_s is 0"):
        etcd.grant_lease(0)


def test_nobody_at_home_is_unavailable(key: bytes) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with (
            open_client([f"127.0.0.1:{taken.getsockname()[1]}"], timeout_s=1) as client,
            pytest.raises(Unavailable, match=r"127\.0\.0\.1"),
        ):
            client.get(key)


def test_a_silent_server_costs_one_timeout(silent_endpoint: str, key: bytes) -> None:
    lease = Lease(id=1, ttl_s=1)
    with open_client([silent_endpoint], timeout_s=1) as client:
        for act in (lambda: client.put(key, b"x"), lambda: client.keep_alive(lease)):
            with pytest.raises(Unavailable):
                act()


def test_a_dead_member_among_several_is_passed_over(etcd_endpoint: str, key: bytes) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        with open_client([f"127.0.0.1:{dead.getsockname()[1]}", etcd_endpoint]) as client:
            client.put(key, b"x")
            assert client.get(key) is not None


@pytest.mark.parametrize(
    ("endpoints", "text"),
    [
        ([], "0 etcd endpoints"),
        (["127.0.0.1:2379"] * (ENDPOINTS_MAX + 1), "17 etcd endpoints"),
        (["127.0.0.1"], "not host:port"),
        (["127.0.0.1:0"], "not host:port"),
        (["127.0.0.1:65536"], "not host:port"),
        ([":2379"], "not host:port"),
        (["http://127.0.0.1:2379"], "not host:port"),
        (["etcd-1.example:2379", "etcd-2.example:2379"], "all IPv4 or all"),
        (["127.0.0.1:2379", "[::1]:2379"], "all IPv4 or all"),
    ],
)
def test_endpoints_that_cannot_be_are_refused(endpoints: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        open_client(endpoints)


@pytest.mark.parametrize(
    "endpoints",
    [
        ["etcd.example:2379"],
        ["[::1]:2379", "[::2]:2379"],
        ["127.0.0.1:2379"] * ENDPOINTS_MAX,
    ],
)
def test_endpoints_that_can_be_are_taken(endpoints: list[str]) -> None:
    open_client(endpoints).close()


def test_a_timeout_lasts_at_least_a_second() -> None:
    with pytest.raises(ConfigError, match="timeout_s is 0"):
        open_client(["127.0.0.1:2379"], timeout_s=0)


def test_a_missing_tls_file_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match=r"ca\.pem is not there"):
        open_client(["127.0.0.1:2379"], tls=Tls(absent, absent, absent))


@pytest.mark.parametrize("chosen", ["", "upb"])
def test_too_late_for_the_python_parser_is_said_clearly(chosen: str) -> None:
    """etcd3's generated code raises a riddle under the C parser; we raise before it does."""
    first = "import google.protobuf.internal.api_implementation;" if not chosen else ""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PROTOCOL_BUFFERS")}
    if chosen:
        env["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = chosen
    done = subprocess.run(
        [sys.executable, "-c", first + "import deploy.etcd"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "ConfigError: google.protobuf was loaded with its 'upb' implementation" in done.stderr


def test_nobody_uses_what_is_broken_in_etcd3() -> None:
    """Locks and watches of etcd3 0.12.0: see the module's header."""
    broken = re.compile(r"\.lock\(|\.add_watch|\.watch\(|\.watch_")
    for path in sorted((ROOT / "deploy").glob("*.py")):
        assert not broken.search(path.read_text(encoding="utf-8")), path
