"""Equivocation, votes and certificates: scenarios 1 to 13, 28 and 50, one replica or four."""

from dataclasses import replace

import pytest

from bft.codec.canonical import encode
from bft.codec.envelope import Envelope, pre_authentication_encoding
from bft.errors import DecodeError
from bft.ordering.batch import batch_digest
from bft.ordering.request import Request, open_request
from bft.pbft.messages import (
    Commit,
    FetchBatch,
    Prepare,
    PrePrepare,
    Verified,
    ViewChange,
    open_news,
)
from tests.bft.pbft.cluster import WALL_0, Cluster
from tests.bft.pbft.identities import CHAIN, key, request
from tests.bft.pbft.makers import (
    alone,
    batch_of,
    commit,
    header,
    operation,
    prepare,
    propose,
    signed,
    tell,
    view_change,
)


def equivocal(cluster: Cluster) -> tuple[bytes, bytes]:
    """R0 proposes one batch to R1 and another to R2 and R3."""
    cluster.crash(0)
    cluster.byzantine = {0}
    one = propose(cluster, 1, 1, operation(1), timestamp_ms=WALL_0)
    two = propose(cluster, 2, 1, operation(2), timestamp_ms=WALL_0)
    propose(cluster, 3, 1, operation(2), timestamp_ms=WALL_0)
    return one, two


def test_a_primary_that_proposes_two_batches_is_convicted_and_replaced() -> None:
    """Scenario 1."""
    cluster = Cluster()
    equivocal(cluster)
    propose(cluster, 1, 1, operation(2), timestamp_ms=WALL_0)
    accusation = cluster.nodes[1].accusations[0]
    assert accusation.culprit == 0
    assert len(accusation.evidence) == 2
    for number in (1, 2, 3):
        cluster.submit(1 + number % 3, number % 3, number)
    cluster.run_until(lambda: all(cluster.executed_everywhere(i % 3, i) for i in (1, 2, 3)), 30_000)
    assert min(v or 0 for v in cluster.views()[1:]) >= 1


def test_a_primary_that_also_votes_for_both_batches_gets_at_most_one_prepared() -> None:
    """Scenario 2."""
    cluster = Cluster()
    one, two = equivocal(cluster)
    for to in (1, 2, 3):
        for digest in (one, two):
            tell(cluster, to, prepare(0, 1, digest, 0))
            tell(cluster, to, commit(0, 1, digest, 0))
    said = {key: what for key, what in cluster.said.items() if key[0] == Commit.TAG}
    assert len(set(said.values())) <= 1
    cluster.submit(1, 0, 9)
    cluster.run_until(lambda: cluster.executed_everywhere(0, 9), 30_000)


def test_a_signature_serves_for_one_type_only() -> None:
    """Scenario 5."""
    cluster = alone(1)
    genuine = signed(prepare(0, 1, bytes(32), 2))
    body = encode(commit(0, 1, bytes(32), 2))
    forged = Envelope(
        tag=Commit.TAG.encode(),
        body=body,
        signer=cluster.members.keys[2],
        signature=genuine.signature,
    )
    frame = Verified(2, genuine.message, encode(forged), genuine.signature).frame
    cluster.arrive(1, frame)
    core = cluster.nodes[1].replica
    assert core is not None
    assert list(core._core.log) == []


def test_a_second_encoding_of_a_request_is_no_request() -> None:
    """Scenario 9."""
    private = key("client 0")
    good = encode(Request(chain_id=CHAIN, client=private.public_key, cseq=5, operation=b""))
    assert good[-2:] == b"\x05\xc4" or good.count(b"\x05\xc4") == 1
    body = good.replace(b"\x05\xc4", b"\xcc\x05\xc4")  # 5 as a two-byte integer
    signature = private.sign(pre_authentication_encoding(Request.TAG.encode(), body))
    envelope = encode(
        Envelope(
            tag=Request.TAG.encode(),
            body=body,
            signer=private.public_key,
            signature=signature,
        )
    )
    with pytest.raises(DecodeError, match="canonical"):
        open_request(envelope, CHAIN)
    cluster = alone(1)
    propose(cluster, 1, 1, envelope)
    assert cluster.nodes[1].accusations[0].culprit == 0


@pytest.mark.parametrize("wrong", [b"", batch_of(operation(2))])
def test_a_batch_that_the_primary_withholds_comes_from_a_peer(wrong: bytes) -> None:
    """Scenarios 10 and 11: header to all, R3 gets other bytes or none."""
    cluster = Cluster()
    cluster.byzantine = {0}
    cluster.submitted.add(operation(2))

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        found = cluster.open(data)
        if isinstance(found.message, PrePrepare) and source == 0 and to == 3:
            return [Verified(0, found.message, found.envelope, found.signature, wrong).frame]
        return [data]

    cluster.outgoing = outgoing
    cluster.submit(1, 1, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 3_000)
    assert cluster.sent[FetchBatch] > 0
    assert cluster.views() == [0, 0, 0, 0]


def test_votes_before_the_proposal_out_of_order_and_five_times_count() -> None:
    """Scenario 12."""
    cluster = alone(3)
    batch = batch_of(operation(1))
    cluster.submitted.add(operation(1))
    digest = batch_digest(batch)
    for _ in range(5):
        for replica in (2, 1, 0):
            tell(cluster, 3, commit(0, 1, digest, replica))
        for replica in (2, 1):
            tell(cluster, 3, prepare(0, 1, digest, replica))
    assert cluster.nodes[3].table == []
    for _ in range(5):
        tell(cluster, 3, header(0, 1, digest), batch)
    assert len(cluster.nodes[3].table) == 1
    assert cluster.sent[Commit] == cluster.sent[Prepare] == 1


def test_a_replica_that_votes_twice_counts_once() -> None:
    """PBFT 4.2: commits "from different replicas"."""
    cluster = alone(3)
    digest = propose(cluster, 3, 1, operation(1))
    for replica in (0, 1, 1, 1):
        tell(cluster, 3, commit(0, 1, digest, replica))
    assert cluster.nodes[3].table == []
    tell(cluster, 3, commit(0, 1, digest, 2))
    assert len(cluster.nodes[3].table) == 1


def test_the_primarys_prepare_is_no_vote() -> None:
    """PBFT 4.2: the PRE-PREPARE is its vote, and counts once."""
    cluster = alone(3)
    digest = propose(cluster, 3, 1, operation(1))
    tell(cluster, 3, prepare(0, 1, digest, 0))
    assert cluster.sent[Commit] == 0
    tell(cluster, 3, prepare(0, 1, digest, 2))
    assert cluster.sent[Commit] == 1


def test_a_replica_that_gets_commits_and_a_batch_only_executes_but_does_not_vote() -> None:
    """Scenario 13."""
    cluster = Cluster()
    cluster.incoming = lambda to, found: (
        to != 3 or not isinstance(found.message, PrePrepare | Prepare)
    )
    spoken: list[type] = []

    def outgoing(source: int, to: int, data: bytes) -> list[bytes]:
        found = cluster.open(data)
        if source == found.sender == 3:  # others' votes it may show to their authors
            spoken.append(type(found.message))
        return [data]

    cluster.outgoing = outgoing
    for number in range(1, 6):
        cluster.submit(1, 1, number)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 5), 5_000)
    assert Commit not in spoken
    assert Prepare not in spoken


def test_two_different_votes_of_one_replica_convict_it() -> None:
    """Scenario 3, seen by one replica."""
    cluster = alone(3)
    for make in (prepare, commit):
        tell(cluster, 3, make(0, 1, bytes([7]) * 32, 1))
        tell(cluster, 3, make(0, 1, bytes([8]) * 32, 1))
    assert [a.culprit for a in cluster.nodes[3].accusations] == [1, 1]


def test_no_vote_in_a_view_that_was_left_not_even_after_a_restart() -> None:
    """Scenario 28."""
    cluster = alone(2)
    tell(cluster, 2, view_change(1, 1))
    tell(cluster, 2, view_change(1, 3))
    assert cluster.sent[ViewChange] == 1
    for again in range(2):
        digest = propose(cluster, 2, 9, operation(1))
        tell(cluster, 2, prepare(0, 9, digest, 1))
        tell(cluster, 2, prepare(0, 9, digest, 3))
        assert cluster.sent[Prepare] == cluster.sent[Commit] == 0
        if not again:
            cluster.crash(2)
            cluster.start(2)


def test_a_commit_certificate_decides_also_while_the_view_changes() -> None:
    """Scenario 29: delivered once, and nothing is voted."""
    cluster = alone(2)
    digest = propose(cluster, 2, 1, operation(1))
    tell(cluster, 2, view_change(1, 1))
    tell(cluster, 2, view_change(1, 3))
    for _ in range(2):
        for replica in (0, 1, 3):
            tell(cluster, 2, commit(0, 1, digest, replica))
    assert len(cluster.nodes[2].table) == 1
    assert cluster.sent[Commit] == 0


def test_a_batch_with_a_forged_request_convicts_its_primary() -> None:
    """Scenario 50."""
    cluster = Cluster()
    cluster.crash(0)
    cluster.byzantine = {0}
    forged = bytearray(operation(1))
    forged[-1] ^= 1
    for to in (1, 2, 3):
        propose(cluster, to, 1, operation(2), bytes(forged))
        assert cluster.nodes[to].accusations[0].culprit == 0
    assert cluster.sent[Prepare] == 0
    cluster.submit(2, 2, 2)
    cluster.run_until(lambda: cluster.executed_everywhere(2, 2), 30_000)


def test_an_empty_batch_is_no_proposal() -> None:
    """Null batches fill gaps of a new view only; an idle primary stays silent."""
    cluster = alone(3)
    propose(cluster, 3, 1)
    assert cluster.sent[Prepare] == 0
    replica = cluster.nodes[3].replica
    assert replica is not None
    assert replica._core.wished_view == 1


def test_a_request_in_many_batches_and_twice_in_one_executes_once() -> None:
    """Scenario 49: a no-op, no reason for a view change."""
    cluster = alone(3)
    twice = operation(1)
    for sequence in (1, 2, 3):
        digest = propose(cluster, 3, sequence, twice, twice)
        for replica in (0, 1, 2):
            tell(cluster, 3, commit(0, sequence, digest, replica))
    assert len(cluster.nodes[3].table) == 3
    assert len(cluster.nodes[3].app.executed) == 1
    assert cluster.sent[ViewChange] == 0


def test_a_proposal_from_the_future_is_held_until_its_time_comes() -> None:
    """Scenario 51: more than skew_ms ahead."""
    cluster = alone(3)
    propose(cluster, 3, 1, operation(1), timestamp_ms=WALL_0 + cluster.now + 10_500)
    assert cluster.sent[Prepare] == 0
    cluster.run(1_000)
    assert cluster.sent[Prepare] == 1


@pytest.mark.parametrize("hours", [1, -1])
def test_a_primary_with_a_wrong_clock_is_replaced(hours: int) -> None:
    """Scenario 51: an hour fast or an hour slow, agreed time is neither rushed nor frozen."""
    cluster = Cluster()
    cluster.nodes[0].clock_ms = hours * 3_600_000
    cluster.submit(1, 1, 1)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 10_000)
    assert min(v or 0 for v in cluster.views()) >= 1


def test_messages_far_outside_the_window_leave_nothing_behind() -> None:
    """Scenario 61: sequence numbers to 10^9, views to 10^6, from one replica."""
    cluster = alone(3)
    for number in range(300):
        far = 17 + number * 3_333_333
        for make in (prepare, commit):
            cluster.arrive(3, cluster.forge(1, make(0, far, bytes(32), 1)))
            cluster.arrive(3, cluster.forge(1, make(2 + number * 3_333, 1, bytes(32), 1)))
    cluster.run(5)
    replica = cluster.nodes[3].replica
    assert replica is not None
    assert list(replica._core.log) == []
    assert not replica.catching_up


def test_a_request_with_two_operations_under_one_number_executes_one_of_them() -> None:
    """Scenario 55."""
    cluster = Cluster()
    for to in range(4):
        cluster.submit(to, 1, 7, b"one" if to % 2 else b"two")
    cluster.run_until(lambda: cluster.executed_everywhere(1, 7), 5_000)
    cluster.run(1_000)
    assert len({node.app.root for node in cluster.nodes}) == 1
    assert request(1, 7, b"one") != request(1, 7, b"two")


def test_a_vote_is_needless_once_its_quorum_is_complete_and_only_if_it_says_the_same() -> None:
    """PBFT 4.2 needs 2f + 1; a further vote tells nothing new, unless it convicts its author."""
    cluster = alone(1)
    digest = propose(cluster, 1, 1, operation(1), timestamp_ms=WALL_0)
    replica = cluster.nodes[1].replica
    assert replica is not None
    other = bytes(32)
    late_prepare, late_commit = prepare(0, 1, digest, 3), commit(0, 1, digest, 3)
    assert not replica.needless(late_prepare) and not replica.needless(late_commit)
    tell(cluster, 1, prepare(0, 1, digest, 2))
    assert replica.needless(late_prepare) and not replica.needless(late_commit)
    for voter in (0, 2):
        tell(cluster, 1, commit(0, 1, digest, voter))
    assert replica.last_decided == 1
    assert replica.needless(late_commit)
    for news in (
        prepare(0, 1, other, 3),
        commit(0, 1, other, 3),
        prepare(1, 1, digest, 3),
        commit(1, 1, digest, 3),
        prepare(0, 2, digest, 3),
        view_change(1, 3),
    ):
        assert not replica.needless(news)


def test_a_needless_message_is_dropped_before_its_signature_is_checked() -> None:
    members = Cluster().members
    genuine = signed(prepare(0, 1, bytes(32), 2))
    forged = replace(genuine, envelope=genuine.envelope[:-1] + bytes([genuine.envelope[-1] ^ 1]))
    assert open_news(forged.frame, members, lambda message: True) is None
    assert open_news(genuine.frame, members, lambda message: False) == genuine
    with pytest.raises(DecodeError):
        open_news(forged.frame, members, lambda message: False)
    with pytest.raises(DecodeError):  # malformed is malformed, needed or not
        open_news(genuine.frame + b"\0", members, lambda message: True)
