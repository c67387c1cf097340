"""One holder of a key at a time, and a memory that only the holder raises; against a real etcd."""

import time
import uuid
from collections.abc import Callable

import pytest

from bft.crypto.hashing import sha256
from bft.errors import Busy, Refused
from deploy.etcd import EtcdClient, Lease
from deploy.lease import Hold, acquire, disable, enable, holder_of, key_prefix

TTL_S = 1
PATIENCE_S = 30


@pytest.fixture
def prefix() -> bytes:
    """Of a key that no other test uses."""
    return key_prefix(sha256(uuid.uuid4().bytes), b"\x02" * 33)


def taken_over(etcd: EtcdClient, prefix: bytes, ttl_s: int = TTL_S) -> Hold:
    """The next hold, as soon as it is to be had."""
    return eventually(lambda: acquire(etcd, prefix, b"next", ttl_s))


def eventually(attempt: Callable[[], Hold]) -> Hold:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return attempt()
        except Busy:
            assert time.monotonic() < deadline, "nobody lets go of the key"


def end_lease(etcd: EtcdClient, prefix: bytes) -> None:
    """What time does to the holder's lease in the end."""
    lock = etcd.get(prefix + b"lock")
    assert lock is not None
    etcd.revoke(Lease(id=lock.lease, ttl_s=TTL_S))


def kept(etcd: EtcdClient, prefix: bytes, hold: Hold) -> bool:
    """Renew for three times as long as the lease lasts.  False: too late, so nothing is shown."""
    renewed = time.monotonic()
    until = renewed + 3 * TTL_S
    while renewed < until:
        asked = time.monotonic()
        try:
            hold.renew()
            acquire(etcd, prefix, b"bob", TTL_S).release()
        except Busy:
            renewed = asked
        except Refused:
            if time.monotonic() - renewed < TTL_S:
                raise
            return False
        else:
            assert time.monotonic() - asked >= TTL_S, "somebody else has taken the key"
            return False
    return True


def test_one_process_holds_a_key(etcd: EtcdClient, prefix: bytes) -> None:
    hold = acquire(etcd, prefix, b"ada, since noon", 60)
    assert hold.current and holder_of(etcd, prefix) == "ada, since noon"
    with pytest.raises(Busy, match="held by ada, since noon"):
        acquire(etcd, prefix, b"bob", 60)
    hold.release()
    assert holder_of(etcd, prefix) is None
    acquire(etcd, prefix, b"bob", 60).release()


def test_every_holder_has_a_higher_token(etcd: EtcdClient, prefix: bytes) -> None:
    first = acquire(etcd, prefix, b"ada", 60)
    first.release()
    second = acquire(etcd, prefix, b"ada", 60)
    assert second.fence > first.fence
    second.release()


def test_the_memory_outlives_its_holder(etcd: EtcdClient, prefix: bytes) -> None:
    first = acquire(etcd, prefix, b"ada", 60)
    assert first.look().memory is None
    first.raise_to(b"one")
    first.raise_to(b"two")
    first.release()
    second = acquire(etcd, prefix, b"bob", 60)
    assert second.look().memory == b"two"
    second.raise_to(b"three")
    second.release()


def test_whoever_lost_the_key_raises_nothing(etcd: EtcdClient, prefix: bytes) -> None:
    """Its lease has ended, and it still believes that it holds the key."""
    first = acquire(etcd, prefix, b"ada", 60)
    first.look()
    first.raise_to(b"one")
    end_lease(etcd, prefix)
    second = acquire(etcd, prefix, b"next")
    assert first.current
    with pytest.raises(Refused, match="another process holds") as caught:
        first.raise_to(b"two")
    assert caught.value.code == "fenced"
    assert second.look().memory == b"one"
    second.release()


def test_the_token_alone_is_not_enough(etcd: EtcdClient, prefix: bytes) -> None:
    """A memory that changed under the holder was changed by somebody else with its key."""
    hold = acquire(etcd, prefix, b"ada", 60)
    hold.look()
    etcd.put(prefix + b"memory", b"from elsewhere")
    with pytest.raises(Refused):
        hold.raise_to(b"mine")
    hold.release()


def test_a_lock_without_its_lease_raises_nothing(etcd: EtcdClient, prefix: bytes) -> None:
    hold = acquire(etcd, prefix, b"ada", 60)
    hold.look()
    etcd.delete(prefix + b"lock")
    with pytest.raises(Refused):
        hold.raise_to(b"mine")
    assert etcd.get(prefix + b"memory") is None


def test_renewing_keeps_the_key_beyond_its_time(etcd: EtcdClient, prefix: bytes) -> None:
    while True:
        hold = acquire(etcd, prefix, b"ada", TTL_S)
        hold.look()
        if kept(etcd, prefix, hold):
            break
        hold.release()  # this process stood still for longer than the lease; once more
    hold.raise_to(b"still mine")
    hold.release()


def test_an_ended_lease_is_not_renewed(etcd: EtcdClient, prefix: bytes) -> None:
    first = acquire(etcd, prefix, b"ada", TTL_S)
    second = taken_over(etcd, prefix)
    with pytest.raises(Refused) as caught:
        first.renew()
    assert caught.value.code == "fenced" and not first.current
    first.release()  # changes nothing
    assert holder_of(etcd, prefix) == "next"
    second.release()


def test_a_disabled_key_is_not_taken_and_not_raised(etcd: EtcdClient, prefix: bytes) -> None:
    hold = acquire(etcd, prefix, b"ada", 60)
    hold.look()
    disable(etcd, prefix, b"moved to another machine")
    with pytest.raises(Refused):
        hold.raise_to(b"mine")
    hold.release()
    with pytest.raises(Refused, match="moved to another machine"):
        acquire(etcd, prefix, b"bob", 60)
    assert enable(etcd, prefix)
    acquire(etcd, prefix, b"bob", 60).release()


def test_etcd_says_how_far_it_has_come(etcd: EtcdClient, prefix: bytes) -> None:
    hold = acquire(etcd, prefix, b"ada", 60)
    before = hold.look().standing
    hold.raise_to(b"one")
    after = hold.look().standing
    assert after.cluster == before.cluster and after.revision > before.revision
    hold.release()
