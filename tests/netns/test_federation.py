"""Four replicas on four hosts, 25 ms apart each way, with loss, cuts and partitions between them.

One federation lives through all of it, in the order of this file; two miners work all the time.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from chain.params import MINIMAL
from tests.netns.lab import REPLICAS, Lab

pytestmark = [
    pytest.mark.netns,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("netns"),
]

PARAMS = replace(MINIMAL, registration_ms=3_000, evaluation_ms=4_000)
DELAY_S, JITTER_S, LOSS = 0.025, 0.002, 0.01
MINERS = 2
ALL = frozenset(range(REPLICAS))
Statuses = Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("far"), PARAMS)
    try:
        lab.network.spread(DELAY_S, JITTER_S, LOSS)
        for index in range(REPLICAS):
            lab.start_replica(index)
        for number in range(MINERS):
            lab.start_miner(number)
        yield lab
    finally:
        lab.close()


@pytest.fixture
def lab(federation: Lab) -> Iterator[Lab]:
    """The federation; whatever a test cuts is whole again after it."""
    yield federation
    federation.network.heal()


def cycle_of(told: Statuses, indices: frozenset[int] = ALL) -> int:
    """The lowest cycle among them."""
    return min(told[index]["cycle"] for index in indices)


def training(lab: Lab) -> Statuses:
    """Wait until all replicas are in training of one cycle, in one view.

    One may have left the view alone and only follow it, as PBFT has it, until the next change.
    """
    return lab.until(
        "training",
        lambda told: (
            len({(one["cycle"], one["view"]) for one in told}) == 1
            and all(one["phase"] == "TRAINING" for one in told)
        ),
    )


def one_log_after(lab: Lab, cycles: int = 1) -> None:
    """Everybody closes the next cycles, and all logs are prefixes of one log."""
    goal = max(one["cycle"] for one in lab.statuses()) + cycles
    lab.until(f"cycle {goal} everywhere", lambda told: cycle_of(told) >= goal)
    logs = [[entry.leaf for entry in lab.log(index)] for index in range(REPLICAS)]
    shared = min(map(len, logs))
    assert all(log[:shared] == logs[0][:shared] for log in logs)
    assert len(lab.certified(0)) >= cycles


def test_a_federation_makes_its_key_and_certifies_far_apart(lab: Lab) -> None:
    told = lab.until("two cycles", lambda told: cycle_of(told) > 2)
    assert len({one["federation_key"] for one in told}) == 1
    assert len(lab.certified(0)) >= 2
    one_log_after(lab)


def test_a_primary_that_is_cut_off_is_replaced_and_comes_back(lab: Lab) -> None:
    """The others need a view change and a whole cycle, so it is away for more than ten seconds."""
    before = training(lab)[0]
    primary = before["primary"]
    others = ALL - {primary}
    lab.network.cut([primary], others)
    lab.until("a cycle without it", lambda told: cycle_of(told, others) > before["cycle"])
    away = lab.status(primary)
    assert (away["cycle"], away["view"]) == (before["cycle"], before["view"])
    lab.network.heal()
    one_log_after(lab)
    lab.until("the new view", lambda told: told[primary]["view"] > before["view"])


def test_halves_decide_nothing_and_go_on_by_themselves_once_healed(lab: Lab) -> None:
    before = training(lab)[0]
    primary = before["primary"]
    friend, *others = sorted(ALL - {primary})
    lab.network.cut([primary, friend], others)
    told = lab.until(
        "two backups that leave their view together",
        lambda told: all(not told[index]["active"] for index in others),
    )
    assert {one["cycle"] for one in told} == {before["cycle"]}
    assert {one["view"] for one in told} == {before["view"]}
    lab.network.heal()
    one_log_after(lab)


def test_a_replica_that_the_primary_hears_but_that_does_not_hear_it_keeps_up(lab: Lab) -> None:
    """TCP needs both directions, so the link is lost for both; the others tell the replica."""
    primary = training(lab)[0]["primary"]
    deaf = min(ALL - {primary})
    lab.network.cut_one_way(primary, deaf)
    one_log_after(lab, cycles=2)


def test_a_replica_that_hears_one_peer_only_catches_up(lab: Lab) -> None:
    """Decisions carry their proofs, so one honest helper is enough."""
    told = training(lab)
    primary = told[0]["primary"]
    lonely, helper, *others = [*sorted(ALL - {primary}), primary]
    lab.network.cut([lonely], others)
    goal = told[0]["cycle"] + 1
    told = lab.until("the next cycle", lambda told: cycle_of(told, ALL - {lonely}) >= goal)
    lab.until("the lonely one", lambda now: now[lonely]["log_size"] >= told[helper]["log_size"])
    lab.network.heal()
    one_log_after(lab)
