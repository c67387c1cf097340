"""When secrets of key ceremonies come and go, and that a wrong one signs nothing."""

import pytest
from msgspec.structs import replace

from bft.crypto.threshold import KeyShare
from bft.dkg.secrets import Secrets
from coordinator.custody import SHARES_KEPT_CHECKPOINTS, Custody
from coordinator.cycle.state import State, opening_state
from coordinator.effects import DrawSeed, KeepSecrets
from tests.sim.world import World


@pytest.fixture(scope="module")
def world() -> World:
    """A federation that has its key."""
    found = World(490)
    found.run_cycles(1)
    return found


def custody(world: World, secrets: Secrets, index: int = 0) -> Custody:
    """Of one replica."""
    return Custody(world.rules, world.keys[index].public_key, secrets)


def test_a_seed_is_drawn_before_anything_is_said(world: World) -> None:
    opening = opening_state(world.rules)
    held = custody(world, Secrets())
    assert held.speak(opening.transcript) == ()
    assert held.wanted(opening) == DrawSeed(opening.transcript.session)
    assert held.wanted(opening) is None  # told once
    held.kept(Secrets().with_seed(opening.transcript.session, bytes(32)))
    assert len(held.speak(opening.transcript)) == 1
    assert held.wanted(opening) is None


def test_with_the_key_the_seed_is_gone_and_the_share_stays(world: World) -> None:
    for host in world.hosts:
        secrets = host.disk.secrets
        assert secrets.seeds == () and secrets.share_of(0) is not None
        held = custody(world, secrets, host.index)
        assert held.wanted(world.state) is None
        assert held.share(world.state) == secrets.share_of(0)


def next_epoch(state: State, batches: int) -> State:
    """So many batches into an epoch 1 with the same members and sharing."""
    return replace(state, epoch=1, began=state.sequence, sequence=state.sequence + batches)


def test_shares_of_an_epoch_that_is_over_go_after_some_checkpoints(world: World) -> None:
    """Not at once: until then the old epoch might still be needed."""
    secrets = world.hosts[0].disk.secrets
    share = secrets.share_of(0)
    assert share is not None
    both = secrets.with_share(1, share)
    kept = SHARES_KEPT_CHECKPOINTS * world.rules.params.checkpoint_interval
    assert custody(world, both).wanted(next_epoch(world.state, kept - 1)) is None
    told = custody(world, both).wanted(next_epoch(world.state, kept))
    assert isinstance(told, KeepSecrets)
    assert told.secrets.share_of(0) is None and told.secrets.share_of(1) == share


@pytest.mark.parametrize("change", ["index", "secret"])
def test_a_share_of_another_sharing_is_not_used(world: World, change: str) -> None:
    share = world.hosts[0].disk.secrets.share_of(0)
    assert share is not None
    wrong = {
        "index": KeyShare(index=1, secret=share.secret),
        "secret": KeyShare(index=0, secret=share.secret + 1),
    }[change]
    held = custody(world, Secrets().with_share(0, wrong))
    assert held.share(world.state) is None


def test_without_a_change_nothing_is_owed(world: World) -> None:
    assert custody(world, Secrets()).duties(world.state) == ()
