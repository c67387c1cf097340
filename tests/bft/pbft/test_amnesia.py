"""Who has forgotten promises never votes again: scenarios 75 and 77."""

from copy import deepcopy
from dataclasses import replace

import pytest

from bft.errors import ConfigError
from bft.ordering.batch import NULL_DIGEST
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    Verified,
    ViewChange,
)
from tests.bft.pbft.cluster import Cluster
from tests.bft.pbft.disk import Node
from tests.bft.pbft.makers import (
    D1,
    D2,
    alone,
    checkpoint,
    commit,
    header,
    new_view,
    prepare,
    prepared,
    signed,
    stable,
    status,
    tell,
    view_change,
)
from tests.bft.pbft.test_catchup import load
from tests.bft.pbft.test_liveness import FAST, replica_of

LISTENING = {**FAST, "probation_ms": 1_000}
VOTES = (PrePrepare, Prepare, Commit, Checkpoint, ViewChange, NewView)


def copied(node: Node) -> Node:
    """What a backup of its directory holds."""
    return replace(
        node,
        replica=None,
        journal=list(node.journal),
        table=list(node.table),
        roots=dict(node.roots),
        app=deepcopy(node.app),
        unsynced=[],
        outbox=[],
        todo=[],
        accusations=[],
        stable=[],
        installed=[],
    )


class Listening(Cluster):
    """Replicas on probation, and an ear on the wire."""

    def __init__(self) -> None:
        self.wire: dict[bytes, Verified] = {}  # votes by envelope
        super().__init__(**LISTENING)
        self.outgoing = self.listen
        self.run(2_000)

    def listen(self, source: int, to: int, data: bytes) -> list[bytes]:
        found = self.open(data)
        if isinstance(found.message, VOTES):
            self.wire[found.envelope] = found
        return [data]


def restored(cluster: Listening, index: int, backup: Node) -> None:
    """Replica `index` starts again from `backup`; whatever it repeats, it must say nothing new."""
    cluster.crash(index)
    backup.life = cluster.nodes[index].life
    cluster.nodes[index] = backup
    cluster.byzantine.add(index)  # the oracles hold for it no more
    before = set(cluster.wire)
    cluster.start(index)
    cluster.run_until(lambda: cluster.nodes[index].halted is not None, 3_000)
    new = [vote for envelope, vote in cluster.wire.items() if envelope not in before]
    assert [vote for vote in new if vote.sender == index] == []
    assert "forgotten" in (cluster.nodes[index].halted or "")


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("batches", [1, 5, 60])
def test_an_old_copy_of_the_journal_is_found_out_before_it_votes(index: int, batches: int) -> None:
    """Scenario 77: self-evidence, from whoever has heard its newer votes."""
    cluster = Listening()
    load(cluster, 1, 3)
    backup = copied(cluster.nodes[index])
    load(cluster, 4, 3 + batches)
    restored(cluster, index, backup)


@pytest.mark.parametrize("index", [1, 2, 3])
@pytest.mark.parametrize("alone", [1, 8, 40])
def test_an_old_copy_is_found_out_also_when_the_others_went_on_without_it(
    index: int, alone: int
) -> None:
    """Their stable checkpoint, which it takes over, lies above what it forgot."""
    cluster = Listening()
    load(cluster, 1, 3)
    backup = copied(cluster.nodes[index])
    load(cluster, 4, 6)
    cluster.crash(index)
    load(cluster, 7, 6 + alone)
    restored(cluster, index, backup)


@pytest.mark.parametrize("index", range(4))
def test_a_wiped_replica_is_found_out_before_it_votes(index: int) -> None:
    """Also in an idle federation, where nothing but memories is left."""
    cluster = Listening()
    load(cluster, 1, 8)
    cluster.run(5_000)
    restored(cluster, index, Node(index=index))


def test_it_stays_found_out_when_it_is_started_again() -> None:
    cluster = Listening()
    load(cluster, 1, 3)
    backup = copied(cluster.nodes[3])
    load(cluster, 4, 9)
    restored(cluster, 3, backup)
    cluster.crash(3)
    with pytest.raises(ConfigError, match="forgotten"):
        cluster.start(3)


def test_an_old_copy_that_left_a_view_since_is_found_out() -> None:
    cluster = Listening()
    load(cluster, 1, 2)
    backup = copied(cluster.nodes[3])
    cluster.crash(0)
    cluster.submit(1, 1, 3)
    cluster.run_until(lambda: cluster.views()[1:] == [1, 1, 1], 5_000)
    cluster.run(500)
    restored(cluster, 3, backup)


def test_a_replica_with_its_own_journal_is_believed() -> None:
    """Restarts of everybody, at any moment, with echoes of all their votes: no false alarm."""
    cluster = Cluster(**LISTENING)
    cluster.delay = (1, 60)
    cluster.duplication = 30
    number = 0
    for turn in range(12):
        for _ in range(4):
            number += 1
            cluster.submit(number % 4, 1, number)
            cluster.run(90)
        for index in range(4) if turn % 4 == 3 else [turn % 4]:
            cluster.crash(index)
            cluster.start(index)
        cluster.run(1_500)
    for left in range(1, number + 1):
        cluster.submit(left % 4, 1, left)
    cluster.run_until(lambda: cluster.executed_everywhere(1, number), 20_000)
    assert [node.halted for node in cluster.nodes] == [None] * 4


def test_a_new_federation_votes_after_its_probation() -> None:
    cluster = Cluster(**LISTENING)
    cluster.submit(1, 1, 1)
    cluster.run(800)
    assert set(cluster.sent) & set(VOTES) == set()
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 4_000)
    assert cluster.views() == [0, 0, 0, 0]


def test_probation_lasts_until_a_correct_replica_was_heard() -> None:
    """Alone it could vote for nothing that counts, and would hear of nothing that it forgot."""
    cluster = Cluster(**LISTENING)
    cluster.split({0}, {1}, {2}, {3})
    cluster.submit(0, 1, 1)
    cluster.run(30_000)
    assert set(cluster.sent) & set(VOTES) == set()
    cluster.heal()
    cluster.run_until(lambda: cluster.executed_everywhere(1, 1), 6_000)


@pytest.mark.parametrize(
    "message",
    [
        header(0, 1, D1),
        header(4, 1, D1),
        commit(0, 1, D1, 0),
        prepare(1, 3, D2, 0),
        checkpoint(8, 0),
        view_change(1, 0),
        new_view(4, tuple(view_change(4, i) for i in (0, 1, 2)), ()),
    ],
)
def test_whatever_it_never_said_in_its_name_stops_it(message: object) -> None:
    cluster = alone(0)
    cluster.byzantine.add(0)
    cluster.arrive(0, signed(message).frame)  # type: ignore[arg-type]
    assert "forgotten" in (cluster.nodes[0].halted or "")


def test_its_own_words_come_back_and_nothing_happens() -> None:
    cluster = Cluster(**FAST)
    frames: list[tuple[int, bytes]] = []

    def listen(source: int, to: int, data: bytes) -> list[bytes]:
        frames.append((source, data))
        return [data]

    cluster.outgoing = listen
    load(cluster, 1, 12)
    cluster.crash(0)
    cluster.submit(1, 1, 13)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 13), 6_000)
    cluster.crash(1)
    cluster.start(1)
    for source, data in frames:
        if source != 0 and not isinstance(cluster.open(data).message, Status):
            cluster.arrive(source, data)
    cluster.run(100)
    assert [node.halted for node in cluster.nodes] == [None] * 4
    assert replica_of(cluster, 1).last_decided >= 13


def lagging_primary() -> Cluster:
    """Replica 1 led view 1 and is in view 2 now; its NEW-VIEW proposed beyond its watermarks."""
    cluster = alone(1)
    others, theirs = (0, 2, 3), stable(16, (0, 2, 3))
    carried = prepared(0, 20, backups=(2, 3))
    for view in (1, 2):
        for index in others:
            change = view_change(view, index, carried, low=16, certificate=theirs)
            tell(cluster, 1, change)
        if view == 1:
            assert replica_of(cluster, 1).view == 1  # it is the primary of this one
    changes = tuple(view_change(2, i, carried, low=16, certificate=theirs) for i in others)
    proposals = tuple((at, NULL_DIGEST) for at in (17, 18, 19))
    tell(cluster, 1, new_view(2, changes, (*proposals, (20, D1))))
    assert replica_of(cluster, 1).view == 2
    assert replica_of(cluster, 1).low_watermark == 0
    cluster.byzantine.add(1)
    return cluster


def test_what_a_lagging_primary_had_to_carry_over_is_its_own_word_in_later_views_too() -> None:
    """Its NEW-VIEW had to propose beyond its own watermarks; the next view keeps no trace of it."""
    cluster = lagging_primary()
    cluster.arrive(1, signed(header(1, 20, D1)).frame)
    assert cluster.nodes[1].halted is None


@pytest.mark.parametrize(
    "vote", [commit(1, 20, D1, 1), commit(0, 20, D1, 1), prepare(0, 20, D2, 1)]
)
def test_a_vote_beyond_the_watermarks_of_a_view_that_was_left_is_no_such_word(vote: object) -> None:
    """Only a PRE-PREPARE is let pass: a COMMIT says that something was prepared and must stay."""
    cluster = lagging_primary()
    cluster.arrive(1, signed(vote).frame)  # type: ignore[arg-type]
    assert "forgotten" in (cluster.nodes[1].halted or "")


def test_in_a_view_that_it_left_nobody_gets_a_second_proposal_from_it() -> None:
    """So a PRE-PREPARE of such a view, forgotten or not, is never contradicted."""
    cluster = lagging_primary()
    wire: list[Verified] = []

    def listen(source: int, to: int, data: bytes) -> list[bytes]:
        wire.append(cluster.open(data))
        return [data]

    cluster.outgoing = listen
    others, theirs = (0, 2, 3), stable(16, (0, 2, 3))
    for index in others:
        tell(cluster, 1, view_change(1, index, low=16, certificate=theirs))
    cluster.submit(1, 1, 1)
    cluster.run(3_000)
    mine = [found.message for found in wire if found.sender == 1]
    assert mine  # it is alive: it asks for the next view
    assert not [m for m in mine if isinstance(m, PrePrepare | NewView | Commit) and m.view < 2]


def shown(cluster: Cluster, view: int, decided: int = 0) -> list[type]:
    """What replica 0 sends back of replica 1's votes when 1 says that it is in this view."""
    wire: list[Verified] = []

    def listen(source: int, to: int, data: bytes) -> list[bytes]:
        wire.append(cluster.open(data))
        return [data]

    cluster.outgoing = listen
    cluster.run(1_000)  # a STATUS is answered that often
    tell(cluster, 0, status(1, view=view, decided=decided))
    return [type(found.message) for found in wire if found.sender == 1]


def test_a_commit_is_shown_to_its_author_in_every_view_until_it_is_decided() -> None:
    """It is what a VIEW-CHANGE must not leave out; a PREPARE of a view that is over is nothing."""
    cluster = alone(0)
    tell(cluster, 0, commit(0, 1, D1, 1))
    tell(cluster, 0, prepare(0, 2, D2, 1))
    assert shown(cluster, 0) == [Prepare, Commit]
    assert shown(cluster, 1) == [Commit]
    assert shown(cluster, 1, decided=1) == []


def test_a_commit_of_a_view_that_is_over_finds_its_author_out() -> None:
    """Its own memory says that it prepared nothing there."""
    cluster = lagging_primary()
    cluster.arrive(1, signed(commit(0, 3, D1, 1)).frame)
    assert "forgotten" in (cluster.nodes[1].halted or "")
