"""Taking over a key with a bound instead of a journal: silent below it, a full voice above it."""

from functools import partial
from unittest.mock import patch

import pytest

from bft.pbft.config import Inherited, Recovered
from bft.pbft.messages import Checkpoint, NewView, ViewChange
from tests.bft.pbft import cluster as clusters
from tests.bft.pbft.disk import Node
from tests.bft.pbft.test_amnesia import VOTES, Listening, copied
from tests.bft.pbft.test_catchup import load

MARGIN = 5  # slots that were reserved and not used


class TakeOver(Listening):
    """A cluster in which a replica's next process may inherit."""

    def __init__(self) -> None:
        self.inherited: dict[int, Inherited] = {}
        super().__init__()

    def begin(self, node: Node, epoch: int) -> None:
        found = self.inherited.get(node.index, Inherited())
        with patch.object(clusters, "Recovered", partial(Recovered, inherited=found)):
            super().begin(node, epoch)

    def signed_by(self, index: int) -> dict[tuple[str, int, int], bytes]:
        """Place -> envelope of all votes that a replica ever let out; fails if two share one."""
        found: dict[tuple[str, int, int], bytes] = {}
        for envelope, vote in self.wire.items():
            message = vote.message
            if vote.sender != index:
                continue
            assert isinstance(message, VOTES)
            view = 0 if isinstance(message, Checkpoint) else message.view
            sequence = 0 if isinstance(message, ViewChange | NewView) else message.sequence
            place = "prepare" if message.TAG == "pbft.pre-prepare/1" else message.TAG
            known = found.setdefault((place, view, sequence), envelope)
            assert known == envelope, f"two votes at {place} ({view}, {sequence})"
        return found

    def bound(self, index: int) -> Inherited:
        """What a guard would say: nothing was signed beyond."""
        places = self.signed_by(index)
        return Inherited(
            max((sequence for _, _, sequence in places), default=0) + MARGIN,
            max((view for _, view, _ in places), default=0),
        )

    def replace(self, index: int, journal: Node) -> None:
        """Another process goes on with the key of `index`."""
        self.inherited[index] = self.bound(index)
        if self.nodes[index].up:
            self.crash(index)
        journal.life = self.nodes[index].life
        self.nodes[index] = journal
        self.start(index)


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("wiped", [True, False])
def test_a_standby_says_nothing_below_the_bound_and_votes_above(index: int, wiped: bool) -> None:
    cluster = TakeOver()
    load(cluster, 1, 3)
    old = Node(index=index) if wiped else copied(cluster.nodes[index])
    load(cluster, 4, 20)
    before = cluster.signed_by(index)
    cluster.replace(index, old)
    bound = cluster.inherited[index]
    other = (index + 1) % 4
    load(cluster, 21, 40, to=other)  # a primary that is silent is replaced meanwhile
    cluster.run_until(lambda: cluster.executed_everywhere(1, 40), 60_000)
    load(cluster, 41, 70, to=other)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 70), 60_000)
    after = cluster.signed_by(index)
    new = {place: after[place] for place in after if place not in before}
    assert new, "it never voted again"
    for _, view, sequence in new:
        assert not (0 < sequence <= bound.sequence and view <= bound.view)
    assert [node.halted for node in cluster.nodes] == [None] * 4


@pytest.mark.parametrize("wiped", [True, False])
def test_what_is_decided_below_the_bound_gets_no_vote_when_it_is_shown_again(wiped: bool) -> None:
    """Also when the silence is over: laggards' friends send old proposals and votes."""
    cluster = TakeOver()
    load(cluster, 1, 3)
    old = Node(index=3) if wiped else copied(cluster.nodes[3])
    load(cluster, 4, 9)
    cluster.replace(3, old)
    bound = cluster.inherited[3]
    load(cluster, 10, bound.sequence + 1)
    cluster.run_until(lambda: len(cluster.nodes[3].table) > bound.sequence, 30_000)
    before = cluster.signed_by(3)
    for vote in list(cluster.wire.values()):
        if vote.sender != 3 and not isinstance(vote.message, ViewChange | NewView | Checkpoint):
            cluster.arrive(3, vote.frame)
    cluster.run(2_000)
    new = [place for place in cluster.signed_by(3) if place not in before]
    assert [place for place in new if 0 < place[2] <= bound.sequence] == []
    assert cluster.nodes[3].halted is None


def test_below_the_bound_it_does_not_even_ask_for_another_view() -> None:
    """Its account of the past would lack what its predecessor had prepared."""
    cluster = TakeOver()
    load(cluster, 1, 6)
    cluster.replace(3, Node(index=3))
    before = cluster.signed_by(3)
    cluster.crash(0)  # nobody can decide now: the two others leave the view
    cluster.submit(2, 1, 7)
    cluster.run(30_000)
    assert cluster.signed_by(3) == before
    assert any(
        vote.sender == 2 for vote in cluster.wire.values() if isinstance(vote.message, ViewChange)
    )


def test_a_standby_takes_part_in_view_changes_again() -> None:
    cluster = TakeOver()
    load(cluster, 1, 6)
    cluster.replace(3, Node(index=3))
    load(cluster, 7, 30)
    cluster.run_until(lambda: cluster.executed_everywhere(1, 30), 30_000)
    cluster.run(2_000)
    cluster.crash(0)
    load(cluster, 31, 34, to=1)
    cluster.run_until(
        lambda: (
            all(len(node.table) >= len(cluster.nodes[1].table) for node in cluster.nodes[1:])
            and all(view for view in cluster.views()[1:])
        ),
        60_000,
    )
    assert any(place == ViewChange.TAG for place, _, _ in cluster.signed_by(3))


def test_a_key_that_had_left_a_view_does_not_vote_in_it_again() -> None:
    """Its predecessor alone had asked for view 5; the others are in view 0."""
    cluster = TakeOver()
    load(cluster, 1, 6)
    cluster.crash(3)
    cluster.inherited[3] = Inherited(cluster.bound(3).sequence, 5)
    life = cluster.nodes[3].life
    cluster.nodes[3] = Node(index=3, life=life)
    before = cluster.signed_by(3)
    cluster.start(3)
    load(cluster, 7, 40)
    cluster.run(3_000)
    new = {place for place in cluster.signed_by(3) if place not in before}
    assert {(place, view) for place, view, _ in new if place != Checkpoint.TAG} == {
        (ViewChange.TAG, 6)
    }


def test_without_the_bound_the_same_standby_is_found_out() -> None:
    """What is tested above is not harmless by itself."""
    cluster = TakeOver()
    load(cluster, 1, 20)
    cluster.crash(3)
    cluster.nodes[3] = Node(index=3, life=cluster.nodes[3].life)
    cluster.byzantine.add(3)
    cluster.start(3)
    cluster.run_until(lambda: cluster.nodes[3].halted is not None, 5_000)
    assert "forgotten" in (cluster.nodes[3].halted or "")
