"""Checkpoints, history and late replicas: scenarios 26, 45, 64 and 70, 71."""

import msgspec
import pytest

from bft.errors import ProtocolViolation
from bft.ordering.proof import QuorumProof
from bft.pbft.checkpoint import Checkpoints, chain_after
from bft.pbft.messages import Checkpoint, Decision, FetchHistory, History, Stable, Status
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import CHAIN
from tests.bft.pbft.makers import (
    D1,
    D2,
    FOUR,
    alone,
    checkpoint,
    commit,
    signed,
    stable,
    tell,
    votes,
)
from tests.bft.pbft.test_liveness import FAST, replica_of


def load(cluster: Cluster, first: int, last: int, to: int = 0) -> None:
    """One request after another, so that each is a batch."""
    for number in range(first, last + 1):
        cluster.submit(to, 1, number)
        cluster.run(60)


# votes


def test_a_checkpoint_is_stable_with_the_vote_that_completes_a_strong_quorum() -> None:
    kept = Checkpoints(FOUR, 8, 16)
    assert kept.add(signed(checkpoint(8, 0))) is None
    assert kept.add(signed(checkpoint(8, 0))) is None
    assert kept.add(signed(checkpoint(8, 1, root=D2))) is None
    assert kept.add(signed(checkpoint(8, 2))) is None
    proof = kept.add(signed(checkpoint(8, 3)))
    assert proof is not None
    assert [entry.replica for entry in proof.signatures] == [0, 2, 3]


def test_a_replica_that_signs_two_states_is_convicted() -> None:
    kept = Checkpoints(FOUR, 8, 16)
    kept.add(signed(checkpoint(8, 1)))
    with pytest.raises(ProtocolViolation):
        kept.add(signed(checkpoint(8, 1, root=D2)))


def test_votes_are_divided_when_no_strong_quorum_can_agree_any_more() -> None:
    """Scenario 65: counted so that f liars alone never bring it about."""
    kept = Checkpoints(FOUR, 8, 16)
    kept.add(signed(checkpoint(8, 0)))
    kept.add(signed(checkpoint(8, 1, root=D2)))
    assert not kept.divided(8)
    kept.add(signed(checkpoint(8, 2, root=D2)))
    assert not kept.divided(8)
    kept.add(signed(checkpoint(8, 3)))
    assert kept.divided(8)
    assert not kept.divided(16)


def test_checkpoint_votes_are_kept_between_the_watermarks_only() -> None:
    kept = Checkpoints(FOUR, 8, 16)
    for sequence in (0, 7, 9, 24, 8_000):
        assert kept.add(signed(checkpoint(sequence, 1))) is None
    assert len(kept) == 0
    kept.add(signed(checkpoint(8, 1)))
    kept.add(signed(checkpoint(16, 1)))
    assert len(kept) == 2
    kept.advance(8)
    assert len(kept) == 1


# federations


def test_the_low_watermark_follows_execution_and_the_journal_is_pruned() -> None:
    cluster = Cluster()
    load(cluster, 1, 100)
    cluster.run(500)
    for node in cluster.nodes:
        assert replica_of(cluster, node.index).low_watermark == 96
        assert len(node.journal) < 40
        assert [s.sequence for s in node.stable] == list(range(8, 97, 8))
        assert len(list(replica_of(cluster, node.index)._core.log)) <= 16


def test_a_federation_with_a_slow_application_waits_at_the_high_watermark() -> None:
    cluster = Cluster()
    execute = cluster.execute
    held = []
    cluster.execute = lambda node, decided: held.append((node, decided))  # type: ignore[method-assign]
    load(cluster, 1, 30)
    assert {replica_of(cluster, i).last_decided for i in range(4)} == {16}
    assert cluster.views() == [0, 0, 0, 0]
    cluster.execute = execute  # type: ignore[method-assign]
    for node, decided in held:
        execute(node, decided)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 30), 5_000)


def test_a_replica_that_missed_messages_gets_them() -> None:
    """Level 1: a gap inside the window."""
    cluster = Cluster(**FAST)
    cluster.split({0, 1, 2}, {3})
    load(cluster, 1, 6)
    cluster.heal()
    cluster.run_until(lambda: cluster.executed_everywhere(1, 6), 3_000)
    assert cluster.sent[FetchHistory] == 0
    assert cluster.sent[Decision] > 0


def test_a_replica_that_was_down_for_long_fetches_history() -> None:
    """Level 2: the others forgot the messages, and kept every decided batch."""
    cluster = Cluster(**FAST)
    load(cluster, 1, 5)
    cluster.crash(3)
    load(cluster, 6, 60)
    cluster.start(3)
    started = cluster.now
    cluster.run_until(lambda: cluster.executed_everywhere(1, 60), 5_000)
    assert cluster.now - started < 3_000
    assert cluster.sent[History] > 0
    load(cluster, 61, 70)
    cluster.run(2_000)
    assert replica_of(cluster, 3).low_watermark == replica_of(cluster, 0).low_watermark
    cluster.crash(0)  # now the late one is needed
    cluster.submit(1, 1, 71)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 71), 10_000)


def test_a_replica_that_lost_nothing_but_time_restarts_in_the_middle_of_history() -> None:
    """Crashes while it catches up; nothing is handed up twice."""
    cluster = Cluster(**FAST)
    cluster.crash(3)
    load(cluster, 1, 60)
    cluster.start(3)
    for _ in range(10):
        cluster.run(97)
        cluster.crash(3)
        cluster.start(3)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 60), 8_000)


def test_a_liar_that_serves_false_history_only_costs_time() -> None:
    """Scenario 67 in small: every entry is checked by its own proof."""
    cluster = Cluster(**FAST)
    cluster.byzantine = {1}
    cluster.crash(3)
    load(cluster, 1, 60)
    cluster.nodes[1].table = [(batch, b"") for batch, _ in reversed(cluster.nodes[1].table)]
    cluster.start(3)
    cluster.run_until(lambda: len(cluster.nodes[3].table) >= 60, 12_000)


def test_a_federation_that_stops_exactly_at_a_checkpoint_still_tells_it_to_the_last() -> None:
    """Scenario 70: idle afterwards; R3 gets state and stable checkpoint all the same."""
    cluster = Cluster(**FAST)
    load(cluster, 1, 4)
    cluster.split({0, 1, 2}, {3})
    load(cluster, 5, 24)
    cluster.run(3_000)
    cluster.heal()
    cluster.run_until(lambda: replica_of(cluster, 3).low_watermark == 24, 5_000)


def test_a_lost_checkpoint_vote_is_sent_again() -> None:
    cluster = Cluster(**FAST)
    lost = {"on": True}
    cluster.incoming = lambda to, found: not (lost["on"] and isinstance(found.message, Checkpoint))
    load(cluster, 1, 8)
    assert replica_of(cluster, 0).low_watermark == 0
    lost["on"] = False
    cluster.run_until(
        lambda: all(replica_of(cluster, i).low_watermark == 8 for i in range(4)), 2_000
    )


def test_what_is_known_already_is_not_handed_up_again() -> None:
    """Scenario 71: decisions and history that arrive once more change nothing."""
    cluster = Cluster(**FAST)
    cluster.duplication = 100
    load(cluster, 1, 20)
    cluster.crash(3)
    load(cluster, 21, 40)
    cluster.start(3)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 40), 5_000)


def test_a_replica_whose_state_differs_from_the_quorums_stops() -> None:
    """Scenario 64: never repaired by majority in silence."""
    cluster = Cluster(**FAST)
    cluster.byzantine = {2}
    cluster.nodes[2].app.root = bytes([1]) * 32
    load(cluster, 1, 20)
    cluster.run(1_000)
    assert cluster.nodes[2].halted is not None
    assert "state" in cluster.nodes[2].halted
    assert replica_of(cluster, 0).low_watermark == 16


def test_a_federation_that_is_divided_about_its_state_stops_loudly() -> None:
    """Scenario 65: f + 1 replicas came to other states; nothing becomes stable, nobody goes on."""
    cluster = Cluster(**FAST)
    cluster.byzantine = {0, 1, 2, 3}  # no replica can know on which side the fault is
    cluster.nodes[2].app.root = bytes([1]) * 32
    cluster.nodes[3].app.root = bytes([2]) * 32
    load(cluster, 1, 10)
    cluster.run(1_000)
    assert ["divided" in (node.halted or "") for node in cluster.nodes] == [True] * 4
    assert all(len(node.table) >= 8 for node in cluster.nodes)


def test_history_that_was_not_asked_for_is_ignored() -> None:
    cluster = alone(1)
    tell(cluster, 1, History(chain_id=CHAIN, epoch=0, first=1, replica=2), b"\x91\x90")
    assert replica_of(cluster, 1).last_decided == 0


def test_the_chain_names_every_batch_in_order() -> None:
    one = chain_after(chain_after(CHAIN, D2), CHAIN)
    other = chain_after(chain_after(CHAIN, CHAIN), D2)
    assert one != other


def test_statuses_of_one_replica_are_answered_at_most_ten_times_a_second() -> None:
    cluster = Cluster()
    cluster.byzantine = {3}
    load(cluster, 1, 12)
    cluster.crash(3)
    before = sum(cluster.sent.values())
    for _ in range(500):
        status = Status(
            chain_id=CHAIN,
            epoch=0,
            view=0,
            pending_view=0,
            wished_view=0,
            low=0,
            decided=0,
            helper=0,
            slots=(),
            replica=3,
        )
        cluster.arrive(0, cluster.forge(3, status))
    cluster.run(40)
    assert sum(cluster.sent.values()) - before < 60


def test_a_decision_or_checkpoint_without_a_quorum_convicts_its_sender() -> None:
    """Certificates convince by themselves, or not at all."""
    cluster = alone(1)
    real = votes(*(commit(0, 1, D1, i) for i in (0, 2, 3)))
    for proof in (QuorumProof(view=1, signatures=real), QuorumProof(view=0, signatures=real[:2])):
        decision = Decision(chain_id=CHAIN, epoch=0, sequence=1, digest=D1, proof=proof, replica=3)
        tell(cluster, 1, decision)
    for claim in (stable(8, (0, 2)), msgspec.structs.replace(stable(8), sequence=800), stable(9)):
        tell(cluster, 1, Stable(chain_id=CHAIN, epoch=0, proof=claim, replica=3))
    assert [a.culprit for a in cluster.nodes[1].accusations] == [3] * 5
    assert not replica_of(cluster, 1).catching_up
    assert all(slot.decided is None for slot in replica_of(cluster, 1)._core.log)


def test_a_replica_counts_its_own_checkpoint_again_after_a_restart() -> None:
    cluster = Cluster(**FAST)
    cluster.crash(3)
    lost = {"on": True}
    cluster.incoming = lambda to, found: (
        not isinstance(found.message, Stable)
        and not (lost["on"] and isinstance(found.message, Checkpoint))
    )
    load(cluster, 1, 8)
    cluster.crash(1)
    cluster.start(1)
    lost["on"] = False
    cluster.run_until(lambda: replica_of(cluster, 1).low_watermark == 8, 3_000)
