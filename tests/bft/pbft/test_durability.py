"""Crashes at every point, and journals that cannot be trusted: scenarios 46, 72 and 75."""

import pytest

from bft.codec.canonical import encode
from bft.errors import ConfigError
from bft.pbft.config import Config, Recovered
from bft.pbft.journal import Entry, recall
from bft.pbft.replica import Replica
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import signer
from tests.bft.pbft.makers import FOUR, alone, operation, prepare, propose, tell
from tests.bft.pbft.test_liveness import FAST, replica_of


class Fragile(Cluster):
    """One replica dies at its k-th fsync, before or after it, and comes back."""

    def __init__(self, index: int, moment: int, *, synced: bool) -> None:
        self.victim, self.left_to_go, self.synced = index, moment, synced
        super().__init__(seed=moment, **FAST)

    def flush(self, index: int, life: int) -> None:
        node = self.nodes[index]
        if index == self.victim and node.life == life and node.unsynced:
            self.left_to_go -= 1
            if self.left_to_go == 0:
                if self.synced:  # durable, but nothing was sent or executed
                    node.synced()
                self.crash(index)
                self.at(300, lambda: self.start(index))
                return
        super().flush(index, life)


def exercise(cluster: Cluster) -> None:
    """Three phases, a checkpoint, a view change, a NEW-VIEW: every kind of journal record."""
    for number in range(1, 12):
        cluster.submit(1, 1, number)
        cluster.run(40)
    cluster.split({1, 2, 3}, {0})
    cluster.submit(2, 2, 1)
    cluster.run(3_000)
    cluster.heal()
    for client, cseq in [(1, number) for number in range(1, 12)] + [(2, 1)]:
        for to in range(4):
            cluster.submit(to, client, cseq)
    cluster.run_until(
        lambda: (
            all(node.replica is not None for node in cluster.nodes)
            and all(cluster.executed_everywhere(1, i) for i in range(1, 12))
            and cluster.executed_everywhere(2, 1)
        ),
        30_000,
    )


@pytest.mark.parametrize("synced", [False, True], ids=["before fsync", "after fsync"])
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_crash_at_any_journal_record_costs_neither_agreement_nor_progress(
    victim: int, synced: bool
) -> None:
    """Scenario 72: R0 is the first primary, R1 the second, R2 a backup."""
    for moment in range(1, 60, 2):
        cluster = Fragile(victim, moment, synced=synced)
        exercise(cluster)


def test_a_replica_restarts_as_what_it_was() -> None:
    """View, watermark, execution, prepared proofs: all from the journal."""
    cluster = Cluster(**FAST)
    cluster.crash(0)
    for number in range(1, 14):
        cluster.submit(1, 1, number)
        cluster.run(400 if number == 1 else 60)
    cluster.run(4_000)
    before = replica_of(cluster, 2)
    cluster.crash(2)
    cluster.start(2)
    after = replica_of(cluster, 2)
    assert after is not before
    for name in ("view", "pending_view", "active", "last_decided", "last_executed"):
        assert getattr(after, name) == getattr(before, name)
    assert after.low_watermark == before.low_watermark
    assert [s.prepared for s in after._core.log] == [s.prepared for s in before._core.log]
    assert after._core.chain == before._core.chain


def test_votes_after_a_restart_have_the_same_bytes() -> None:
    cluster = alone(3)
    digest = propose(cluster, 3, 1, operation(1))
    tell(cluster, 3, prepare(0, 1, digest, 1))
    heard: list[bytes] = []

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        heard.append(data)
        return []

    cluster.outgoing = outgoing
    cluster.crash(3)
    cluster.start(3)
    cluster.run(60)
    said = [cluster.open(data) for data in heard]
    assert [m.message.digest for m in said if m.message.TAG == "pbft.prepare/1"][:1] == [digest]  # type: ignore[union-attr]


def test_an_own_vote_counts_only_when_it_is_durable() -> None:
    """1.2: otherwise a crash erases a vote that others' certificates rest on."""
    cluster = alone(3)
    cluster.sync = (1_000, 1_000)
    digest = propose(cluster, 3, 1, operation(1))
    core = replica_of(cluster, 3)._core
    slot = core.log.find(1)
    assert slot is not None
    assert slot.own_prepare is not None
    assert slot.prepares.matching(0, digest) == {}
    cluster.run(1_100)
    assert list(slot.prepares.matching(0, digest)) == [3]


def test_a_damaged_or_missing_record_ends_the_right_to_vote() -> None:
    """Scenario 75: what was forgotten stands in other replicas' certificates."""
    cluster = Cluster(**FAST)
    for number in range(1, 6):
        cluster.submit(0, 1, number)
        cluster.run(60)
    records = cluster.nodes[1].journal
    executed = len(cluster.nodes[1].table)

    def restart(changed: list[tuple[int, bytes]], done: int = executed) -> Replica:
        config = Config(membership=FOUR, index=1, sign=signer(1), checkpoint_interval=8, window=16)
        return Replica(config, Recovered(records=tuple(changed), executed=done))

    assert restart(records).last_decided == executed
    with pytest.raises(ConfigError, match="damaged"):
        restart([*records[:3], (records[3][0], records[3][1][:-1]), *records[4:]])
    with pytest.raises(ConfigError, match="missing"):
        restart([*records[:3], *records[4:]])
    with pytest.raises(ConfigError, match="journal does not know"):
        restart(records[:2])


def test_an_application_that_forgot_what_is_stable_cannot_start() -> None:
    cluster = Cluster(**FAST)
    for number in range(1, 20):
        cluster.submit(0, 1, number)
        cluster.run(60)
    config = Config(membership=FOUR, index=1, sign=signer(1), checkpoint_interval=8, window=16)
    recovered = Recovered(records=tuple(cluster.nodes[1].journal), executed=3)
    with pytest.raises(ConfigError, match="the application holds batches through 3"):
        Replica(config, recovered)


def test_decisions_that_the_application_lost_are_handed_up_again() -> None:
    """The journal's decisions beyond `executed`, with batch and proof, without asking anyone."""
    cluster = Cluster(**FAST)
    for number in range(1, 6):
        cluster.submit(0, 1, number)
        cluster.run(60)
    for index in range(4):
        cluster.crash(index)
    table = list(cluster.nodes[2].table)
    cluster.nodes[2].table = table[:2]
    cluster.start(2)
    cluster.run(200)
    assert cluster.nodes[2].table == table


def test_records_of_the_journal_may_come_twice() -> None:
    """Merging takes maxima, so what is written again at a checkpoint changes nothing."""
    cluster = Cluster(**FAST)
    for number in range(1, 6):
        cluster.submit(0, 1, number)
        cluster.run(60)
    records = tuple(cluster.nodes[1].journal)
    last = records[-1][0]
    again = tuple((last + 1 + i, record) for i, (_, record) in enumerate(records))
    once, twice = recall(records, FOUR), recall(records + again, FOUR)
    assert {s: m[0] for s, m in once.prepared.items()} == {
        s: m[0] for s, m in twice.prepared.items()
    }
    assert {s: m[0] for s, m in once.headers.items()} == {s: m[0] for s, m in twice.headers.items()}


def test_bytes_that_are_no_journal_record_are_named() -> None:
    with pytest.raises(ConfigError, match="record 1 is damaged"):
        recall(((1, b"noise"),), FOUR)
    with pytest.raises(ConfigError, match="kind 99"):
        recall(((1, encode(Entry(kind=99, body=b""))),), FOUR)
