"""Several processes hold one key in turn; against a real etcd."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bft.crypto.hashing import sha256
from bft.errors import Busy, ConfigError
from coordinator.guard.claims import Domain
from coordinator.guard.rules import Reservation
from coordinator.guard.shared import SharedGuard
from coordinator.guard.store import Fenced, SqliteGuard
from deploy.etcd import EtcdClient, open_client
from deploy.lease import Hold, acquire, key_prefix
from tests.coordinator.guard.messages import OWNER, claim
from tests.deploy.etcd_server import running_etcd

Take = Callable[[], Hold]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdClient]:
    with (
        running_etcd(tmp_path_factory.mktemp("etcd"), None) as endpoint,
        open_client([endpoint]) as client,
    ):
        yield client


@pytest.fixture
def take(etcd: EtcdClient) -> Iterator[Take]:
    """Takes a key that no other test uses, from whoever had it."""
    prefix = key_prefix(sha256(uuid.uuid4().bytes), OWNER)
    held: list[Hold] = []

    def next_hold() -> Hold:
        if held:
            held[-1].release()
        held.append(acquire(etcd, prefix, b"test", 60))
        return held[-1]

    yield next_hold
    held[-1].release()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[SqliteGuard, SqliteGuard]]:
    """Guard files of two processes with one key."""
    two = [SqliteGuard(tmp_path / name, OWNER, create=True) for name in ("a.db", "b.db")]
    yield two[0], two[1]
    for file in two:
        file.close()


def raised(before: Reservation, slot: int) -> Reservation:
    return before.raised([claim(Domain.PREPARE, slot)], 8)


def test_the_next_holder_inherits_what_the_one_before_may_have_signed(
    take: Take, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    first = SharedGuard(files[0], take())
    first.raise_to(raised(first.reservation, 10))
    second = SharedGuard(files[1], take())
    assert files[1].inherited.covers(claim(Domain.PREPARE, 18))
    assert not files[1].inherited.covers(claim(Domain.PREPARE, 19))
    assert second.reservation.covers(claim(Domain.PREPARE, 18))
    assert second.reservation.number == first.reservation.number


def test_a_holder_that_comes_back_inherits_nothing_from_itself(
    take: Take, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    before = SharedGuard(files[0], take())
    before.raise_to(raised(before.reservation, 10))
    again = SharedGuard(files[0], take())
    assert files[0].inherited == Reservation()
    again.raise_to(raised(again.reservation, 20))


def test_a_holder_that_does_not_know_whether_it_was_heard_still_knows_its_words(
    take: Take, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    """The file was raised, etcd was not: a crash in between."""
    before = SharedGuard(files[0], take())
    before.raise_to(raised(before.reservation, 10))
    files[0].raise_to(raised(before.reservation, 20))
    again = SharedGuard(files[0], take())
    assert files[0].inherited == Reservation()
    again.raise_to(raised(again.reservation, 30))
    SharedGuard(files[1], take())
    assert files[1].inherited.covers(claim(Domain.PREPARE, 38))


def test_whoever_lost_the_key_cannot_raise_its_bounds(
    take: Take, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    first = SharedGuard(files[0], take())
    first.raise_to(raised(first.reservation, 10))
    SharedGuard(files[1], take())
    with pytest.raises(Fenced, match="another process holds"):
        first.raise_to(raised(first.reservation, 20))


def test_two_holders_in_turn_inherit_from_each_other(
    take: Take, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    for turn in range(4):
        guard = SharedGuard(files[turn % 2], take())
        slot = 100 * turn
        if turn:
            assert files[turn % 2].inherited.covers(claim(Domain.PREPARE, slot - 100 + 8))
        assert not files[turn % 2].inherited.covers(claim(Domain.PREPARE, slot))
        guard.raise_to(raised(guard.reservation, slot))


def test_an_etcd_that_forgot_is_not_believed(
    etcd: EtcdClient, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    prefix = key_prefix(sha256(uuid.uuid4().bytes), OWNER)
    hold = acquire(etcd, prefix, b"test", 60)
    guard = SharedGuard(files[0], hold)
    guard.raise_to(raised(guard.reservation, 10))
    etcd.delete(prefix + b"memory")
    with pytest.raises(ConfigError, match="has no memory of this key"):
        SharedGuard(files[0], hold)
    known = files[0].cluster
    assert known is not None
    files[0].saw_cluster(known[0], known[1] + 1_000_000)
    with pytest.raises(ConfigError, match="was restored or replaced"):
        SharedGuard(files[0], hold)
    files[0].saw_cluster(known[0] + 1, 1)
    with pytest.raises(ConfigError, match="was restored or replaced"):
        SharedGuard(files[0], hold)
    hold.release()


def test_an_etcd_that_was_set_back_is_noticed_by_whoever_raised_the_bounds_since(
    etcd: EtcdClient, take: Take, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    """Its revision may have passed the one that was seen; the memory in it is the old one."""
    hold = take()
    guard = SharedGuard(files[0], hold)
    guard.raise_to(raised(guard.reservation, 10))
    old = hold.look().memory
    assert old is not None
    for slot in (20, 30):
        guard.raise_to(raised(guard.reservation, slot))
    SharedGuard(files[0], take())  # the newest memory is believed
    etcd.put(hold._prefix + b"memory", old)
    with pytest.raises(ConfigError, match="restored from an old copy"):
        SharedGuard(files[0], take())


def test_an_old_copy_of_a_guard_file_is_noticed(
    take: Take, tmp_path: Path, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    copy = tmp_path / "copy.db"
    guard = SharedGuard(files[0], take())
    guard.raise_to(raised(guard.reservation, 10))
    copy.write_bytes((tmp_path / "a.db").read_bytes())
    guard.raise_to(raised(guard.reservation, 20))
    old = SqliteGuard(copy, OWNER)
    with pytest.raises(ConfigError, match="the file is an old copy"):
        SharedGuard(old, take())
    old.close()


def test_what_is_no_memory_is_not_guessed(
    etcd: EtcdClient, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    prefix = key_prefix(sha256(uuid.uuid4().bytes), OWNER)
    hold = acquire(etcd, prefix, b"test", 60)
    for data in (b"", b"{}", b"[" * 1_000):
        etcd.put(prefix + b"memory", data)
        with pytest.raises(ConfigError, match="the key's memory in etcd"):
            SharedGuard(files[0], hold)
    hold.release()


def test_words_that_never_arrived_are_known_to_others_before_they_are_used(
    take: Take, files: tuple[SqliteGuard, SqliteGuard]
) -> None:
    """A raise stood in the file and not in etcd when its process died; now it votes under it."""
    first = SharedGuard(files[0], take())
    first.raise_to(raised(first.reservation, 10))
    files[0].raise_to(raised(first.reservation, 30))  # and here it was killed
    assert SharedGuard(files[0], take()).reservation.covers(claim(Domain.PREPARE, 38))
    SharedGuard(files[1], take())
    assert files[1].inherited.covers(claim(Domain.PREPARE, 38))


def test_the_guard_of_a_standby_waits_for_the_first_memory(
    take: Take, files: tuple[SqliteGuard, SqliteGuard], tmp_path: Path
) -> None:
    standby = SqliteGuard(tmp_path / "standby.db", OWNER, create=True, second=True)
    try:
        with pytest.raises(Busy, match="comes first"):
            SharedGuard(standby, take())
        SharedGuard(files[0], take()).raise_to(raised(Reservation(), 10))
        SharedGuard(standby, take())
        assert standby.inherited.covers(claim(Domain.PREPARE, 18))
    finally:
        standby.close()
