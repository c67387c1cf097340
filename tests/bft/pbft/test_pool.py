"""Pending requests: bounds, fairness, deadlines."""

import pytest

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from bft.pbft.messages import ForwardedRequests, RequestBundle
from bft.pbft.pool import Digests, Pool
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import CHAIN, key, request
from tests.bft.pbft.makers import alone
from tests.bft.pbft.test_liveness import FAST, replica_of


def pool(*, requests: int = 40, per_client: int = 4, size: int = 1 << 20) -> Pool:
    return Pool(CHAIN, own=0, replicas=4, per_client=per_client, requests=requests, size=size)


def put(into: Pool, client: int, cseq: int, source: int = 0) -> bool:
    return into.add(request(client, cseq), source=source, now_ms=0, deadline_ms=100)


def test_a_request_is_kept_once_until_it_is_done() -> None:
    p = pool()
    assert put(p, 1, 1)
    assert not put(p, 1, 1)
    p.done(request(1, 1))
    assert len(p) == 0
    assert not put(p, 1, 1), "what was executed does not come back"


def test_each_client_has_its_own_bound() -> None:
    p = pool(per_client=4)
    assert [put(p, 1, i) for i in range(5)] == [True] * 4 + [False]
    assert put(p, 2, 1)
    p.done(request(1, 0))
    assert put(p, 1, 5)


def test_no_replica_fills_the_pool_for_all() -> None:
    """Each source has its part; what a liar forwards takes no room from our own clients."""
    p = pool(requests=40)
    assert sum(put(p, client, 1, source=3) for client in range(20)) == 10
    assert put(p, 30, 1, source=0)


def test_the_bytes_of_a_source_are_bounded() -> None:
    one = len(request(1, 1))
    p = pool(size=4 * 3 * one)
    assert [put(p, client, 1) for client in range(4)] == [True] * 3 + [False]
    assert p.has_room(key("client 9").public_key, one, source=1)


def test_clients_take_turns_and_each_ones_requests_stay_in_order() -> None:
    p = pool()
    for client, cseq in ((1, 1), (1, 2), (1, 3), (2, 1), (3, 1)):
        put(p, client, cseq)
    assert p.take(4, 1 << 20, 0) == tuple(request(*r) for r in ((1, 1), (2, 1), (3, 1), (1, 2)))
    assert p.take(4, 1 << 20, 0) == (request(1, 3),)
    assert p.take(4, 1 << 20, 0) == ()


def test_a_batch_takes_what_fits_and_one_request_always_fits() -> None:
    p = pool()
    for client in (1, 2, 3):
        put(p, client, 1)
    one = len(request(1, 1)) + 8
    assert len(p.take(400, 2 * one, 0)) == 2
    assert len(p.take(400, 1, 0)) == 1


def test_a_new_view_makes_everything_wait_again_with_a_fresh_deadline() -> None:
    p = pool()
    put(p, 1, 1)
    put(p, 2, 1)
    p.take(1, 1 << 20, 0)
    assert p.waiting == 1
    p.restart(50, 500)
    assert p.waiting == 2
    oldest = p.oldest()
    assert oldest is not None
    assert oldest.deadline_ms == 500
    assert len(p.take(9, 1 << 20, 50)) == 2


def test_a_set_of_digests_forgets_its_oldest() -> None:
    seen = Digests(2)
    for name in (b"a", b"b", b"c"):
        seen.add(name)
    assert len(seen) == 2
    assert b"a" not in seen
    assert b"c" in seen


def test_a_request_of_another_chain_is_refused() -> None:
    p = Pool(bytes(32), own=0, replicas=4, per_client=4, requests=40, size=1 << 20)
    with pytest.raises(DecodeError, match="chain"):
        p.verify(request(1, 1))


def test_a_forwarded_request_with_a_bad_signature_is_not_kept() -> None:
    cluster = alone(0)
    bad = bytearray(request(1, 1))
    bad[-1] ^= 1
    forged = encode(RequestBundle(requests=(bytes(bad), request(1, 2))))
    proper = encode(RequestBundle(requests=(request(1, 1),)))
    for data, digest in ((forged, sha256(forged)), (proper, bytes(32))):
        message = ForwardedRequests(chain_id=CHAIN, epoch=0, digest=digest, replica=2)
        cluster.arrive(0, cluster.forge(2, message, data))
    assert replica_of(cluster, 0).pool_size == 0


def test_a_replica_that_forgot_what_was_executed_suspects_nobody_for_it() -> None:
    """Scenario 52 in small: after its restart R3 takes an old request for new."""
    cluster = Cluster(**FAST)
    cluster.submit(3, 1, 1)
    cluster.run(500)
    cluster.crash(3)
    cluster.start(3)
    cluster.run(500)
    cluster.submit(3, 1, 1)
    cluster.run(10_000)
    assert [replica_of(cluster, i).pending_view for i in range(4)] == [0] * 4
    assert replica_of(cluster, 3).pool_size == 0
    assert len(cluster.nodes[3].app.executed) == 1


def test_a_full_pool_says_so_before_it_drops() -> None:
    cluster = Cluster(pool_client=2)
    cluster.split({0}, {1}, {2}, {3})
    for cseq in range(1, 4):
        assert replica_of(cluster, 0).has_room(key("client 1").public_key, 200) == (cseq < 3)
        cluster.submit(0, 1, cseq)
    assert replica_of(cluster, 0).pool_size == 2
