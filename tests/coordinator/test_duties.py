"""What a replica owes in each state: it follows from the state alone."""

import pytest
from msgspec.structs import replace

from chain.records.evaluation import EvaluationTable, NextModel, SnapshotVote
from chain.rules.assignment import chunk_records
from coordinator.application import Application
from coordinator.cycle import duties
from coordinator.cycle.phases.clock import duration_ms
from coordinator.cycle.state import Phase, Rules, State
from tests.sim.miners import HONEST, Habits
from tests.sim.world import World

TABLE = EvaluationTable(cycle=1, rows=())
MODEL = NextModel(digest=bytes(32), challenge_loss=0, loss=0, correct=0)
VOTE = SnapshotVote(cycle=1, models=(MODEL,), records=400)
SIGNING = {
    Phase.ACTIVATION,
    Phase.CHALLENGE,
    Phase.DRAW,
    Phase.CERTIFICATION,
    Phase.FINALITY,
}


@pytest.fixture(scope="module")
def world() -> World:
    made = World(900, miners=(HONEST, HONEST, Habits(dies_in=2)))
    made.run_cycles(2)
    return made


@pytest.fixture(scope="module")
def states(world: World) -> list[State]:
    """The state after every batch of two cycles."""
    replay, found = Application(world.rules), []
    for kept in world.hosts[0].disk.safe.batches:
        replay.execute(kept.sequence, kept.batch)
        found.append(replay.state)
    return found


def kinds(rules: Rules, state: State, index: int) -> set[type]:
    return {type(duty) for duty in duties.duties(rules, state, index)}


def test_every_phase_is_among_the_states(states: list[State]) -> None:
    assert {Phase(state.phase) for state in states} == set(Phase)


def test_a_share_is_owed_exactly_where_a_signature_is_asked_for_and_not_given(
    world: World, states: list[State]
) -> None:
    """ADR 1: never before the state that asks for it was executed."""
    for state in states:
        for index in range(4):
            owed = state.phase in SIGNING and index not in state.shares
            assert (duties.Sign in kinds(world.rules, state, index)) == owed


def test_the_author_of_a_bad_share_is_not_asked_again(world: World, states: list[State]) -> None:
    asking = next(state for state in states if state.phase == Phase.DRAW)
    blamed = asking.set(shares={}, faulty=(2,))
    assert duties.Sign not in kinds(world.rules, blamed, 2)
    assert duties.Sign in kinds(world.rules, blamed, 1)


def test_a_clock_is_watched_exactly_where_time_runs_and_until_it_has_spoken(
    world: World, states: list[State]
) -> None:
    """ADR 2: each replica's own clock, one vote a phase."""
    for state in states:
        timed = duration_ms(world.rules, state.phase) is not None
        for index in range(4):
            owed = timed and index not in state.elapsed
            assert (duties.Watch in kinds(world.rules, state, index)) == owed


def test_a_table_is_owed_once_and_measures_what_was_revealed(
    world: World, states: list[State]
) -> None:
    """Every unit's own records lie in its own chunk; the challenge lies in held-out data."""
    rules, job = world.rules, world.rules.job
    evaluating = [state for state in states if state.phase == Phase.EVALUATION]
    for state in evaluating:
        for index in range(4):
            owed = index not in state.tables
            assert (duties.Measure in kinds(rules, state, index)) == owed
        found = duties.measurement(rules, state)
        assert [unit.unit for unit, _ in found.candidates] == sorted(state.reveals)
        assert found.base == state.model
        assert all(job.train_records <= record for record in found.challenge)
        assert len(set(found.challenge)) == rules.params.challenge_records
        for unit, _ in found.candidates:
            chunk = chunk_records(state.seed, job, unit.chunk)
            assert set(found.own[unit.unit]) <= set(chunk)
            assert len(found.own[unit.unit]) == rules.params.own_records


def test_the_outer_step_takes_updates_with_tickets_only(world: World, states: list[State]) -> None:
    state = next(state for state in states if state.phase == Phase.AGGREGATION)
    assert state.scored is not None
    rows = tuple(row if row.unit else replace(row, tickets=0, merit=0) for row in state.scored.rows)
    scored = replace(state.scored, rows=rows)
    step = duties.outer_step(world.rules, state.set(scored=scored))
    assert [row.unit for row, _ in step.updates] == [row.unit for row in rows if row.unit]


def test_who_has_said_everything_owes_only_patience(world: World, states: list[State]) -> None:
    """In the ceremony a duty stands until the phase is over; what it comes to may be nothing."""
    for state in states:
        if state.phase == Phase.KEYGEN:
            continue
        done = state.set(
            shares={index: bytes(48) for index in range(4)},
            elapsed=(0, 1, 2, 3),
            tables={index: TABLE for index in range(4)},
            votes={index: VOTE for index in range(4)},
            seen={index: bytes(80) for index in range(4)},
        )
        assert duties.duties(world.rules, done, 0) == ()
