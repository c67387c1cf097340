"""The network falls in two halves, neither of which is a quorum."""

import pytest

from chain.records.score_log import Scored
from coordinator.cycle.state import Phase
from tests.sim.host import anybody_in
from tests.sim.network import STORM
from tests.sim.world import World

SPLIT_MS = 8_000


@pytest.mark.parametrize("phase", [Phase.KEYGEN, Phase.TRAINING, Phase.DRAW, Phase.BLOCK])
def test_two_halves_decide_nothing_and_go_on_together_when_it_heals(phase: Phase) -> None:
    """Safety without synchrony: a half has no quorum.  Liveness when the network is whole again."""
    world = World(600 + phase)
    trigger = world.when(anybody_in(phase), lambda _: world.network.split((0, 1), (2, 3)))
    world.run_until(lambda: trigger.pulled, 30_000)
    world.run_for(1_000)
    before = world.state.sequence
    world.run_for(SPLIT_MS)
    assert world.state.sequence == before
    world.network.heal()
    world.run_cycles(1)
    world.verdict()
    assert world.state.tip.height == 1


def test_a_lone_replica_finds_back_after_the_others_went_on_without_it() -> None:
    """The others' checkpoint and history bring it back, and what it says counts again."""
    world = World(620)
    world.run_cycles(1)
    world.network.split((0, 1, 2), (3,))
    ahead = world.hosts[0]
    world.run_until(lambda: ahead.settled.cycle >= 3, 100_000)
    world.network.heal()
    lone = world.hosts[3]
    world.run_until(lambda: lone.settled.sequence == world.state.sequence, 30_000)
    world.run_cycles(4)
    world.verdict()
    scored = [record for record in world.records() if isinstance(record, Scored)]
    assert 3 not in scored[1].evaluators
    assert scored[-1].evaluators == (0, 1, 2, 3)


def test_a_replica_that_suspects_alone_is_still_heard() -> None:
    """f + 1 leave together; one that suspects alone must not fall silent.

    The others keep their view, and the cycle does not wait its whole time for the lone one's table.
    """
    world = World(622)
    lone = world.hosts[3]
    world.when(
        anybody_in(Phase.EVALUATION), lambda _: world.network.split((0, 1, 2), (lone.index,))
    )
    world.run_until(lambda: lone.replica.suspects, 30_000)
    world.network.heal()
    world.run_cycles(1)
    world.verdict()
    (scored,) = (record for record in world.records() if isinstance(record, Scored))
    assert scored.evaluators == (0, 1, 2, 3)


def test_lost_late_doubled_and_overtaking_frames_change_nothing_but_the_time() -> None:
    """6 % loss, 10 % duplicates, delays of up to 150 ms."""
    world = World(621, weather=STORM)
    world.run_cycles(1)
    world.verdict()
    assert world.state.tip.height == 1
