"""What a view change carries over, and what it refuses: scenarios 7 and 14 to 26."""

from typing import Any

import msgspec
import pytest

from bft.errors import DecodeError, ProtocolViolation
from bft.ordering.batch import NULL_BATCH, NULL_DIGEST, batch_digest
from bft.pbft.certificates import Verifier, verify_prepared, verify_stable
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Stable,
    ViewChange,
)
from bft.pbft.view_change import (
    ViewChanges,
    check_new_view,
    check_view_change,
    choose,
    plan_new_view,
    weakest_proven,
)
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.identities import opened
from tests.bft.pbft.makers import (
    D1,
    D2,
    FOUR,
    alone,
    checkpoint,
    new_view,
    operation,
    prepare,
    prepared,
    propose,
    signed,
    stable,
    tell,
    view_change,
    votes,
)

LIMITS = {"window": 16, "interval": 8}
QUORUM = (view_change(1, 0), view_change(1, 1), view_change(1, 2))


def check(vc: ViewChange) -> None:
    check_view_change(vc, Verifier(FOUR), **LIMITS)


def open_new_view(nv: NewView) -> None:
    check_new_view(nv, Verifier(FOUR), **LIMITS)


def altered(record: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(record, **fields)


# certificates


def test_a_prepared_proof_of_a_primary_and_two_backups_stands() -> None:
    verify_prepared(prepared(0, 1), Verifier(FOUR))


@pytest.mark.parametrize(
    "backups", [(1, 1), (1,), (1, 2, 3), (2, 1), (0, 1)], ids=lambda b: "-".join(map(str, b))
)
def test_a_prepared_proof_needs_distinct_backups(backups: tuple[int, ...]) -> None:
    """Scenario 7: the same signer twice, too few, too many, not ascending, the primary."""
    with pytest.raises(DecodeError):
        verify_prepared(prepared(0, 1, backups=backups), Verifier(FOUR))


def test_a_prepared_proof_of_another_place_or_digest_does_not_stand() -> None:
    for change in ({"view": 4}, {"sequence": 2}, {"digest": D2}):
        with pytest.raises(DecodeError):
            verify_prepared(altered(prepared(0, 1), **change), Verifier(FOUR))


@pytest.mark.parametrize("signers", [(0, 0, 1), (0, 1), (0, 1, 2, 3), (2, 1, 0)])
def test_a_stable_proof_needs_a_strong_quorum_of_distinct_replicas(signers: Any) -> None:
    """Scenario 7."""
    verify_stable(stable(8), Verifier(FOUR))
    with pytest.raises(DecodeError):
        verify_stable(stable(8, signers), Verifier(FOUR))


def test_checkpoint_votes_of_two_roots_make_no_stable_proof() -> None:
    mixed = votes(checkpoint(8, 0), checkpoint(8, 1), checkpoint(8, 2, root=D2))
    with pytest.raises(DecodeError):
        verify_stable(altered(stable(8), signatures=mixed), Verifier(FOUR))


# VIEW-CHANGE


def test_a_view_change_with_all_it_may_carry_is_accepted() -> None:
    check(view_change(3, 2, prepared(0, 9), prepared(2, 11), prepared(1, 24), low=8))


@pytest.mark.parametrize(
    "vc",
    [
        view_change(0, 1),
        view_change(1, 1, prepared(1, 1)),
        view_change(2, 1, prepared(0, 2), prepared(0, 1)),
        view_change(2, 1, prepared(0, 2), prepared(1, 2)),
        view_change(2, 1, prepared(0, 8), low=8),
        view_change(2, 1, prepared(0, 25), low=8),
        view_change(2, 1, prepared(0, 17)),
        view_change(2, 1, low=9),
        view_change(2, 1, low=16, certificate=stable(8)),
        altered(view_change(2, 1, low=8), stable=()),
        altered(view_change(2, 1), stable=(stable(8),)),
        view_change(2, 1, low=1000, certificate=altered(stable(8), sequence=1000)),
        view_change(2, 1, altered(prepared(1, 1), proposal=bytes(64))),
    ],
    ids=[
        "view 0",
        "prepared in its own view",
        "not ascending",
        "one slot twice",
        "below its low watermark",
        "beyond its window",
        "beyond the first window",
        "low is no checkpoint",
        "proof of another checkpoint",
        "low without proof",
        "proof without low",
        "forged stable proof",
        "forged prepared proof",
    ],
)
def test_one_bad_element_makes_the_whole_view_change_bad(vc: ViewChange) -> None:
    """Scenarios 18, 24 and 25."""
    with pytest.raises(DecodeError):
        check(vc)


def test_an_invalid_view_change_convicts_its_sender_and_counts_for_nothing() -> None:
    """Scenario 18: the forged proof shadows nothing."""
    cluster = alone(1)
    forged = altered(prepared(2, 1), proposal=bytes(64))
    tell(cluster, 1, view_change(3, 3, forged))
    tell(cluster, 1, view_change(3, 2))
    replica = cluster.nodes[1].replica
    assert replica is not None
    assert [a.culprit for a in cluster.nodes[1].accusations] == [3]
    assert replica.active


def test_a_replica_keeps_two_view_changes_of_each_other_and_no_more() -> None:
    kept = ViewChanges()
    for view in range(1, 50):
        kept.add(signed(view_change(view, 1)), awaited=7)
    assert [v for v in range(60) if kept.get(1, v)] == [7, 49]


def test_two_view_changes_for_one_view_convict() -> None:
    kept = ViewChanges()
    kept.add(signed(view_change(1, 3)), awaited=1)
    with pytest.raises(ProtocolViolation) as found:
        kept.add(signed(view_change(1, 3, prepared(0, 1))), awaited=1)
    assert found.value.culprit == 3


# computing the new view


def test_nothing_prepared_means_nothing_proposed() -> None:
    plan = plan_new_view(QUORUM)
    assert (plan.low, plan.stable, plan.proposals, plan.last) == (0, None, (), 0)


def test_gaps_become_null_batches() -> None:
    """Scenario 19: prepared at 5, nothing at 4."""
    plan = plan_new_view([view_change(1, 1, prepared(0, 3), prepared(0, 5)), *QUORUM[1:]])
    assert plan.proposals == (
        (1, NULL_DIGEST),
        (2, NULL_DIGEST),
        (3, D1),
        (4, NULL_DIGEST),
        (5, D1),
    )


def test_the_higher_view_wins_also_when_it_is_the_null_batch() -> None:
    """Scenario 17: view 1 filled the gap, so view 0's batch is dead."""
    changes = (
        view_change(2, 1, prepared(1, 1, NULL_DIGEST)),
        view_change(2, 2, prepared(1, 1, NULL_DIGEST)),
        view_change(2, 3, prepared(0, 1, D1)),
    )
    assert plan_new_view(changes).proposals == ((1, NULL_DIGEST),)
    assert plan_new_view(changes[::-1]).proposals == ((1, NULL_DIGEST),)


def test_what_is_stable_anywhere_is_not_proposed_again() -> None:
    """Scenario 26: min_s is the highest proven checkpoint of the set."""
    changes = (view_change(1, 0, prepared(0, 7), prepared(0, 9)), view_change(1, 1, low=8))
    plan = plan_new_view(changes)
    assert plan.low == 8
    assert plan.stable == stable(8)
    assert plan.proposals == ((9, D1),)


def test_a_new_primary_takes_exactly_a_quorum_its_own_first_then_the_furthest() -> None:
    all_four = [signed(view_change(1, i, low=8 if i == 3 else 0)) for i in range(4)]
    assert [vc.sender for vc in choose(all_four, 1, 3)] == [0, 1, 3]


def test_the_weak_th_largest_view_is_one_that_a_correct_replica_reached() -> None:
    """Scenario 35: one liar's view never counts alone."""
    assert weakest_proven([0, 2**40, 0, 0], 2) == 0
    assert weakest_proven([0, 2**40, 5, 0], 2) == 5
    assert weakest_proven([3, 9, 9, 4, 9, 0, 0], 3) == 9


# NEW-VIEW


def test_a_new_view_that_follows_from_its_view_changes_is_accepted() -> None:
    changes = (QUORUM[0], QUORUM[1], view_change(1, 3, prepared(0, 2)))
    open_new_view(new_view(1, changes, ((1, NULL_DIGEST), (2, D1))))


@pytest.mark.parametrize(
    "nv",
    [
        new_view(1, QUORUM[:2], ()),
        new_view(1, (*QUORUM, view_change(1, 3)), ()),
        new_view(1, (QUORUM[0], QUORUM[0], QUORUM[1]), ()),
        new_view(1, (QUORUM[1], QUORUM[0], QUORUM[2]), ()),
        new_view(1, (QUORUM[0], QUORUM[1], view_change(2, 2)), ()),
        altered(new_view(1, QUORUM, ()), replica=2),
        new_view(1, QUORUM, ((1, NULL_DIGEST),)),
        new_view(1, (*QUORUM[:2], view_change(1, 2, prepared(0, 1))), ()),
        new_view(1, (*QUORUM[:2], view_change(1, 2, prepared(0, 1))), ((1, NULL_DIGEST),)),
        new_view(1, (*QUORUM[:2], view_change(1, 2, prepared(0, 1))), ((1, D2),)),
        new_view(1, (*QUORUM[:2], view_change(1, 2, low=8, certificate=stable(8, (0, 1)))), ()),
    ],
    ids=[
        "too few",
        "more than a quorum",
        "one sender twice",
        "not ascending",
        "one for another view",
        "not the primary",
        "proposes what nobody prepared",
        "drops a prepared batch",
        "null for a prepared batch",
        "another batch for a prepared one",
        "contains an invalid VIEW-CHANGE",
    ],
)
def test_a_new_view_that_does_not_follow_is_refused(nv: NewView) -> None:
    """Scenarios 20, 23 and 24."""
    with pytest.raises(DecodeError):
        open_new_view(nv)


def test_an_invalid_new_view_convicts_its_primary_and_the_next_view_is_asked_for() -> None:
    """Scenario 20, seen by one backup."""
    cluster = alone(3)
    for replica in (0, 2):
        tell(cluster, 3, view_change(1, replica))
    tell(cluster, 3, new_view(1, QUORUM, ((1, NULL_DIGEST),)))
    replica_3 = cluster.nodes[3].replica
    assert replica_3 is not None
    assert (replica_3.view, replica_3.pending_view) == (0, 2)
    assert cluster.nodes[3].accusations[-1].culprit == 1


def test_an_invalid_new_view_of_a_far_view_moves_nobody() -> None:
    """Only its author is convicted; a lone liar chooses no view."""
    cluster = alone(3)
    tell(cluster, 3, new_view(2**40 + 1, QUORUM, ()))
    replica = cluster.nodes[3].replica
    assert replica is not None
    assert (replica.view, replica.pending_view) == (0, 0)
    assert [a.culprit for a in cluster.nodes[3].accusations] == [1]


def test_two_new_views_for_one_view_convict_their_primary() -> None:
    """Scenario 22."""
    cluster = alone(3)
    tell(cluster, 3, new_view(1, QUORUM, ()))
    tell(cluster, 3, new_view(1, (*QUORUM[:2], view_change(1, 3)), ()))
    replica = cluster.nodes[3].replica
    assert replica is not None
    assert replica.view == 1
    assert [a.culprit for a in cluster.nodes[3].accusations] == [1]


def test_a_replica_that_asked_for_nothing_installs_a_valid_new_view_and_votes_in_it() -> None:
    """6.6: it need not have sent a VIEW-CHANGE itself; 6.7: it prepares without the batch."""
    cluster = alone(3)
    changes = (*QUORUM[:2], view_change(1, 2, prepared(0, 2)))
    tell(cluster, 3, new_view(1, changes, ((1, NULL_DIGEST), (2, D1))))
    assert cluster.sent[Prepare] == 2
    for sequence, digest in ((1, NULL_DIGEST), (2, D1)):
        tell(cluster, 3, prepare(1, sequence, digest, 0))
        tell(cluster, 3, prepare(1, sequence, digest, 2))
    assert cluster.sent[Commit] == 2


def test_a_prepared_proof_stays_until_a_later_view_prepares_the_slot_again() -> None:
    """Scenario 16: view 1 proposed it again, nobody prepared; the VIEW-CHANGE to 2 still has it."""
    cluster = alone(3)
    digest = propose(cluster, 3, 1, operation(1))
    for replica in (1, 2):
        tell(cluster, 3, prepare(0, 1, digest, replica))
    changes = (*QUORUM[:2], view_change(1, 2, prepared(0, 1, digest)))
    tell(cluster, 3, new_view(1, changes, ((1, digest),)))
    asked: list[ViewChange] = []

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        message = cluster.open(data).message
        if isinstance(message, ViewChange):
            asked.append(message)
        return []

    cluster.outgoing = outgoing
    for replica in (0, 2):
        tell(cluster, 3, view_change(2, replica))
    assert [(p.view, p.sequence, p.digest) for p in asked[-1].prepared] == [(0, 1, digest)]


# whole federations


def committed_at_one(cluster: Cluster) -> bytes:
    """R0, R1, R2 prepare; their COMMITs of view 0 reach R2 only, which executes and is cut off."""

    def incoming(to: int, found: Any) -> bool:
        return not (isinstance(found.message, Commit) and found.message.view == 0 and to != 2)

    cluster.incoming = incoming
    cluster.outgoing = lambda source, to, data: (
        []
        if source == 2 and not isinstance(cluster.open(data).message, Prepare | Commit)
        else [data]
    )
    cluster.submit(0, 1, 1)
    cluster.run_until(lambda: len(cluster.nodes[2].table) == 1, 1_000)
    cluster.split({0, 1, 3}, {2})
    return batch_digest(cluster.nodes[2].table[0][0])


def test_what_one_replica_executed_the_next_view_proposes_again() -> None:
    """Scenario 14."""
    cluster = Cluster()
    digest = committed_at_one(cluster)
    cluster.crash(0)
    cluster.start(0)
    cluster.run_until(lambda: len(cluster.nodes[3].table) >= 1, 30_000)
    assert cluster.agreed[1] == digest
    assert min(cluster.nodes[i].replica.view for i in (0, 1, 3)) >= 1  # type: ignore[union-attr]
    cluster.heal()
    cluster.outgoing = lambda source, to, data: [data]
    cluster.submit(2, 1, 2)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 2), 60_000)


def test_and_so_does_the_view_after_one_that_failed_before_any_vote() -> None:
    """Scenario 15: the primary of view 1 dies after its NEW-VIEW."""
    cluster = Cluster()
    digest = committed_at_one(cluster)
    before = cluster.incoming
    cluster.incoming = lambda to, found: (
        before(to, found)
        and not (isinstance(found.message, Prepare | Commit) and found.message.view == 1)
    )
    cluster.run_until(lambda: 1 in (cluster.views()[0], cluster.views()[3]), 30_000)
    cluster.crash(1)
    cluster.start(1)
    cluster.run_until(lambda: len(cluster.nodes[3].table) >= 1, 60_000)
    assert cluster.agreed[1] == digest
    assert (cluster.views()[3] or 0) >= 2


def test_a_gap_is_filled_and_the_batch_behind_it_executes() -> None:
    """Scenario 19: nobody saw the proposal for 1; 2 was prepared."""
    cluster = Cluster(batch_ms=0)
    cluster.incoming = lambda to, found: (
        not (
            isinstance(found.message, PrePrepare)
            and (found.message.view, found.message.sequence) == (0, 1)
        )
    )
    cluster.submit(0, 1, 1)
    cluster.run(20)
    cluster.submit(0, 2, 1)
    cluster.run(200)
    cluster.crash(0)
    cluster.submit(1, 1, 1)
    cluster.run_until(
        lambda: cluster.executed_everywhere(1, 1) and cluster.executed_everywhere(2, 1), 30_000
    )
    assert cluster.nodes[1].table[0][0] == NULL_BATCH
    assert cluster.nodes[1].app.executed[0][1] == 1


def test_a_new_primary_that_drops_a_prepared_batch_is_passed_over() -> None:
    """Scenario 20: R1 signs a NEW-VIEW without it; view 2 has it."""
    cluster = Cluster()
    cluster.byzantine = {1}
    digest_of = []

    def incoming(to: int, found: Any) -> bool:
        return not (isinstance(found.message, Commit) and found.message.view == 0)

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        message = cluster.open(data).message if source != 1 else None
        if source == 1:
            found = opened(data, cluster.members)
            if found is not None and isinstance(found.message, NewView) and found.sender == 1:
                return [cluster.forge(1, altered(found.message, proposals=()))]
        if isinstance(message, PrePrepare) and message.view == 0:
            digest_of.append(message.digest)
        return [data]

    cluster.incoming, cluster.outgoing = incoming, outgoing
    cluster.submit(2, 1, 1)
    cluster.run(300)
    cluster.crash(0)
    cluster.start(0)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 60_000)
    assert cluster.agreed[1] == digest_of[0]
    assert any(a.culprit == 1 for node in cluster.correct() for a in node.accusations)


def test_a_late_view_change_request_is_answered_with_the_new_view() -> None:
    """Scenario 38: NEW-VIEW never reached R3, in spite of all retransmission from its primary."""
    cluster = Cluster()
    cluster.crash(0)
    lost = {"on": True}
    cluster.incoming = lambda to, found: (
        not (lost["on"] and to == 3 and isinstance(found.message, NewView))
    )
    cluster.submit(1, 1, 1)
    cluster.run(6_000)
    assert cluster.views()[1:3] == [1, 1]
    lost["on"] = False
    cluster.run_until(lambda: cluster.views()[3] == 1, 3_000)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 3_000)


def test_a_replica_behind_adopts_the_checkpoint_inside_the_new_view() -> None:
    """Scenario 45: it saw no CHECKPOINT of others, and learns the stable one from the NEW-VIEW."""
    cluster = Cluster()
    cluster.incoming = lambda to, found: (
        not (to == 3 and isinstance(found.message, Checkpoint | Stable))
    )
    for number in range(1, 10):
        cluster.submit(1, 1, number)
        cluster.run(100)
    low = [node.replica.low_watermark for node in cluster.correct() if node.replica]
    assert low == [8, 8, 8, 0]
    cluster.crash(0)
    cluster.submit(1, 1, 10)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 10), 30_000)
    replica = cluster.nodes[3].replica
    assert replica is not None
    assert replica.low_watermark == 8
