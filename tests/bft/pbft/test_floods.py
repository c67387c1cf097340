"""Clients that ask too much or nonsense, and disks that fail: scenarios 53, 54, 73 and 76."""

import pytest

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError, DecodeError
from bft.pbft.config import Config, Recovered
from bft.pbft.messages import ForwardedRequests, RequestBundle
from bft.pbft.replica import Replica
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import CHAIN, key, request, signer
from tests.bft.pbft.makers import FOUR, alone
from tests.bft.pbft.test_liveness import FAST, replica_of

NORMAL, FLOODER = range(20), 99
ROUND_MS = 200


def waits(cluster: Cluster, flood: int) -> list[int]:
    """Virtual ms until each normal client's request was executed everywhere, ascending."""
    asked: dict[tuple[int, int], int] = {}
    found: list[int] = []
    cseq = 0
    for round_ in range(1, 16):
        for client in NORMAL:
            cluster.submit(client % 4, client, round_)
            asked[client, round_] = cluster.now
        for _ in range(flood):
            cseq += 1
            if replica_of(cluster, cseq % 4).has_room(key(f"client {FLOODER}").public_key, 200):
                cluster.submit(cseq % 4, FLOODER, cseq)
        end = cluster.now + ROUND_MS
        while cluster.now < end:
            cluster.run(5)
            for name in [name for name in asked if cluster.executed_everywhere(*name)]:
                found.append(cluster.now - asked.pop(name))
    cluster.run_until(lambda: all(cluster.executed_everywhere(*name) for name in asked), 5_000)
    found += [cluster.now - then for then in asked.values()]
    return sorted(found)


def p99(values: list[int]) -> int:
    return values[len(values) * 99 // 100]


def test_a_client_that_asks_fifty_times_as_much_costs_the_others_little() -> None:
    """Scenario 53: clients take turns, and none has more than its part of the pool."""
    config = {**FAST, "batch_requests": 25, "pipeline": 2}
    calm = waits(Cluster(**config), flood=0)
    loud = Cluster(**config)
    storm = waits(loud, flood=50)
    assert len(calm) == len(storm) == 15 * len(NORMAL)
    assert p99(storm) <= 3 * p99(calm), (p99(calm), p99(storm))
    assert all(node.replica.pool_size <= 4 * 64 for node in loud.nodes if node.replica)
    assert loud.views() == [0, 0, 0, 0]


def test_a_full_clients_next_request_is_refused_aloud_and_the_others_are_taken() -> None:
    """Scenario 53: the door asks `has_room` and answers 429; nothing is dropped in silence."""
    cluster = Cluster(pool_client=8)
    cluster.split({0}, {1}, {2}, {3})
    flooder, other = key(f"client {FLOODER}").public_key, key("client 1").public_key
    for cseq in range(1, 9):
        assert replica_of(cluster, 1).has_room(flooder, 200)
        cluster.submit(1, FLOODER, cseq)
    assert not replica_of(cluster, 1).has_room(flooder, 200)
    assert replica_of(cluster, 1).has_room(other, 200)


def test_requests_that_nobody_signed_leave_nothing_behind() -> None:
    """Scenario 54: each is another one; no verdict about any of them is kept."""
    cluster = alone(0)
    pool = replica_of(cluster, 0)._core.pool
    real = request(1, 1)
    for number in range(2_000):
        forged = real[:-8] + number.to_bytes(8, "big")
        bundle = encode(RequestBundle(requests=(forged,)))
        message = ForwardedRequests(chain_id=CHAIN, epoch=0, digest=sha256(bundle), replica=2)
        cluster.arrive(0, cluster.forge(2, message, bundle))
        with pytest.raises(DecodeError):
            pool.verify(forged)
    assert (len(pool), len(pool._verified), len(pool.executed)) == (0, 0, 0)


# disks


class Unlucky(Cluster):
    """A power failure leaves any part of what was written since the last fsync."""

    def lose_power(self, index: int) -> None:
        node = self.nodes[index]
        kept = self.random.randrange(len(node.unsynced) + 1)
        node.unsynced = node.unsynced[:kept]  # a journal keeps a prefix: its records are chained
        node.synced()
        self.crash(index)


@pytest.mark.parametrize("seed", range(8))
def test_power_failures_that_lose_any_part_of_what_was_not_synced(seed: int) -> None:
    """Scenario 73: what went out was durable, so nobody contradicts itself."""
    cluster = Unlucky(seed=seed, **FAST)
    cluster.sync = (0, 60)
    for number in range(1, 41):
        cluster.submit(number % 4, number % 3, number)
        cluster.run(cluster.random.randrange(120))
        victim = cluster.random.randrange(4)
        if cluster.nodes[victim].replica is not None:
            cluster.lose_power(victim)
            cluster.at(cluster.random.randrange(1, 400), lambda v=victim: cluster.start(v))
    cluster.run(500)
    for number in range(1, 41):
        cluster.submit(number % 4, number % 3, number)
    cluster.run_until(
        lambda: all(cluster.executed_everywhere(i % 3, i) for i in range(1, 41)), 60_000
    )


def test_a_journal_in_which_a_middle_record_was_lost_gives_no_vote() -> None:
    """Scenario 73: a subset that is no prefix is damage, not an old state."""
    cluster = Cluster(**FAST)
    for number in range(1, 8):
        cluster.submit(0, 1, number)
        cluster.run(60)
    records = cluster.nodes[1].journal
    config = Config(membership=FOUR, index=1, sign=signer(1), checkpoint_interval=8, window=16)
    for place in range(1, len(records) - 1):
        lossy = (*records[:place], *records[place + 1 :])
        with pytest.raises(ConfigError, match="missing"):
            Replica(config, Recovered(records=lossy, executed=len(cluster.nodes[1].table)))


class BadDisk(Cluster):
    """The fsync of one replica fails from its k-th on; its driver then stops for good."""

    def __init__(self, victim: int, moment: int) -> None:
        self.victim, self.to_go = victim, moment
        super().__init__(seed=moment, **FAST)

    def flush(self, index: int, life: int) -> None:
        node = self.nodes[index]
        if index == self.victim and node.life == life and node.unsynced:
            self.to_go -= 1
            if self.to_go <= 0:
                node.halted = "EIO"
                return
        super().flush(index, life)


@pytest.mark.parametrize("victim", [0, 2])
def test_a_disk_that_fails_takes_its_replica_along_and_no_other(victim: int) -> None:
    """Scenario 76: nothing that rests on an unwritten record is sent; the others go on."""
    for moment in (1, 2, 3, 5, 8, 13):
        cluster = BadDisk(victim, moment)

        def outgoing(source: int, to: int, data: bytes, cluster: BadDisk = cluster) -> list[bytes]:
            assert cluster.nodes[source].halted is None
            return [data]

        cluster.outgoing = outgoing
        for number in range(1, 13):
            cluster.submit((1, 3)[number % 2], 1, number)
            cluster.run(100)
        cluster.byzantine = {victim}  # from here on it counts as gone
        cluster.run_until(
            lambda c=cluster: all(c.executed_everywhere(1, i) for i in range(1, 13)), 20_000
        )
        assert cluster.nodes[victim].halted == "EIO"
