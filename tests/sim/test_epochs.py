"""Changes of members in whole federations, with everything real but time.  Scenario 78."""

import pytest

from chain.records.score_log import KeyActivated, MembersApproved, ResharingFailed
from tests.sim.faults import BadDealer
from tests.sim.host import Host
from tests.sim.miners import HONEST
from tests.sim.moving import Moving, check_epochs
from tests.sim.operators import Operators
from tests.sim.scenarios import kill
from tests.sim.world import World

PLAN = [(0, 1, 4, 3), (0, 1, 4, 3, 5, 6, 7), (0, 1, 4, 3, 5, 6, 7), (7, 1, 4, 3)]
"""Replace one, grow to seven, refresh, shrink to four."""
LIMIT_MS = 400_000


def test_members_come_and_go_under_crashes_and_a_liar_and_the_mill_goes_on() -> None:
    """Who is replaced is dead, one of the seven deals badly all the time, others crash."""
    world = World(7801, spares=4, miners=(HONEST,), kinds={5: BadDealer})
    Operators(world, PLAN)

    def approved(host: Host) -> bool:
        change = host.replica.state.change
        return change is not None and change.transcript is not None

    world.when(lambda host, _: host.index == 2 and approved(host), Host.crash)
    world.when(
        lambda host, _: host.index == 1 and host.replica.state.epoch == 1,
        lambda host: kill(world, host, 3_000),
    )
    world.when(
        lambda host, _: host.index == 4 and host.replica.state.epoch == 2,
        lambda host: kill(world, host, 5_000),
    )
    world.run_until(lambda: world.enough and world.state.epoch == len(PLAN), LIMIT_MS)
    closed = world.state.cycle
    world.run_until(lambda: world.enough and world.state.cycle > closed, LIMIT_MS)
    check_epochs(world, PLAN)
    report = world.verdict()
    assert {finding.rule for finding in report.accusations} <= {"dkg-bad-share", "bad-share"}
    assert {(finding.replicas, finding.epoch) for finding in report.accusations} <= {
        ((4,), 2),
        ((4,), 3),
    }
    assert "dkg-bad-share" in {finding.rule for finding in report.accusations}
    records = world.records()
    assert len([r for r in records if isinstance(r, MembersApproved)]) == len(PLAN)
    keys = {r.federation_key.key for r in records if isinstance(r, KeyActivated)}
    assert len(keys) == 1
    assert not [r for r in records if isinstance(r, ResharingFailed) and r.attempt > 1]


def test_a_member_that_was_away_over_two_epochs_reads_what_is_published_and_counts_again() -> None:
    world = World(7802, spares=2, miners=())
    operators = Operators(world, [(0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4)])
    world.run_until(lambda: world.state.federation_key is not None, LIMIT_MS)
    away = world.hosts[3]
    away.crash()
    world.run_until(lambda: world.enough and world.state.epoch == 2, LIMIT_MS)
    away.start()
    world.run_until(lambda: away.settled.sequence >= world.state.sequence - 4, LIMIT_MS)
    assert away.voting and away.member.epoch == 2 and not away.member.has_share
    operators.plan.append((0, 1, 2, 3, 4))  # a refresh gives it a key share again
    world.run_until(lambda: away.voting and away.member.epoch == 3, LIMIT_MS)
    assert away.member.has_share
    world.hosts[0].crash()  # five members need four: now its vote is one of them
    cycle = world.state.cycle
    world.run_until(lambda: world.state.cycle > cycle + 1, LIMIT_MS)
    world.verdict()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_changes_of_members(seed: int) -> None:
    """`python -m tests.sim.moving` runs as many as you like."""
    Moving(seed).run()
