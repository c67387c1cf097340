"""The replicated state: it follows from the decided batches, and survives being stored."""

import pytest

from bft.codec.canonical import decode, encode
from bft.errors import DecodeError
from coordinator.application import Application
from coordinator.cycle.state import State
from tests.sim.miners import HONEST, Habits
from tests.sim.world import World

Batches = tuple[tuple[int, bytes], ...]


@pytest.fixture(scope="module")
def world() -> World:
    """Two cycles with a dead miner, so that every dictionary of the state was filled."""
    made = World(800, miners=(HONEST, HONEST, HONEST, Habits(dies_in=1)))
    made.run_cycles(2)
    return made


@pytest.fixture(scope="module")
def batches(world: World) -> Batches:
    return tuple((kept.sequence, kept.batch) for kept in world.hosts[0].disk.safe.batches)


def test_the_decided_batches_alone_give_the_state_of_the_living(
    world: World, batches: Batches
) -> None:
    """PBFT: replicas are copies of one deterministic state machine."""
    replay = Application(world.rules)
    for sequence, batch in batches:
        replay.execute(sequence, batch)
    assert encode(replay.state) == encode(world.hosts[0].settled)


def test_a_state_stored_after_any_batch_goes_on_like_one_that_never_was(
    world: World, batches: Batches
) -> None:
    """Whatever order its dictionaries were filled in, a restored state has the same bytes."""
    living = Application(world.rules)
    stored = Application(world.rules)
    for sequence, batch in batches:
        expected = living.execute(sequence, batch)
        assert stored.execute(sequence, batch) == expected
        assert stored.root() == living.root()
        saved = stored.save()
        stored = Application(world.rules, saved)
        assert stored.save() == saved


def test_a_state_has_one_encoding(world: World, batches: Batches) -> None:
    """Maps in it stand in key order, as docs/PROTOCOL.md section 1 says."""
    replay = Application(world.rules)
    for sequence, batch in batches:
        replay.execute(sequence, batch)
        state = replay.state
        for name in ("registrations", "commitments", "reveals", "tables", "votes", "shares"):
            keys = list(getattr(state, name))
            assert keys == sorted(keys)
        assert decode(State, encode(state)) == state


def test_a_damaged_state_is_refused(world: World) -> None:
    saved = world.hosts[0].disk.saved()
    assert saved is not None
    for damaged in (b"", saved[:-1], saved + b"\0", b"\xc0" + saved[1:]):
        with pytest.raises(DecodeError):
            Application(world.rules, damaged)


def test_a_batch_out_of_order_stops_the_replica(world: World, batches: Batches) -> None:
    """Consensus hands up each batch once, in order; anything else is our own bug."""
    replay = Application(world.rules)
    with pytest.raises(AssertionError, match="in order"):
        replay.execute(2, batches[1][1])


def test_a_request_that_is_decided_twice_executes_once(world: World, batches: Batches) -> None:
    """At most once per (client, number), whoever orders it again."""
    replay = Application(world.rules)
    for sequence, batch in batches[:3]:
        replay.execute(sequence, batch)
    before = replay.state.set(sequence=0, log=replay.state.log)
    answers = replay.execute(4, batches[0][1]).answers
    assert {answer.code for answer in answers} == {"executed-before"}
    after = replay.state
    assert after.transcript == before.transcript
    assert after.phase == before.phase
