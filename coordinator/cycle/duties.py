"""What one replica still owes the federation in a given state.

Level-triggered: duties follow from the state alone, so a replica that was restarted, or whose
request was lost, finds out by itself what to do.
Pure.
"""

from dataclasses import dataclass

from chain.records.contribution import WorkUnit
from chain.records.evaluation import ScoreRow
from chain.rules.assignment import (
    challenge_records,
    chunk_records,
    control_records,
    own_records,
)
from chain.rules.audits import audited_units
from coordinator.cycle.phases.clock import RESHARING_MS, duration_ms
from coordinator.cycle.phases.membership import Stage, stage
from coordinator.cycle.phases.resharing import under_way
from coordinator.cycle.phases.signing import Asked, asked
from coordinator.cycle.state import Phase, Reveal, Rules, State


@dataclass(frozen=True, slots=True)
class Ceremony:
    """Say what bft.dkg.participant.owed returns at this point of the ceremony."""

    attempt: int
    phase: int
    complaints: int  # ordered so far


@dataclass(frozen=True, slots=True)
class Sign:
    """Give a share of this signature."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class Watch:
    """Say `Elapsed` when this phase has had its time."""

    cycle: int
    phase: int
    attempt: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class WatchResharing:
    """Say `CeremonyElapsed` when this phase of the resharing has had its time."""

    session: bytes
    phase: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure the revealed updates of a cycle (see `measurement`) and give the table."""

    cycle: int


@dataclass(frozen=True, slots=True)
class Step:
    """Make the cycle's outer step (see `outer_step`) and vote for the next model."""

    cycle: int


@dataclass(frozen=True, slots=True)
class Witness:
    """Vote for the first valid block under this certificate."""

    cycle: int
    rank: int
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Measurement:
    """What to measure, on what."""

    cycle: int
    base: bytes  # digest of the model that the miners started from
    candidates: tuple[tuple[WorkUnit, Reveal], ...]  # by unit, ascending
    challenge: tuple[int, ...]  # record indices
    control: tuple[int, ...]  # record indices, some perhaps of a unit's own chunk
    own: dict[int, tuple[int, ...]]  # unit -> record indices
    caps: tuple[int, ...]  # by segment: the largest norm that counts; 0: any
    seed: bytes  # of the assignment, 32 bytes
    audited: dict[int, tuple[int, ...]]  # unit -> records of its whole chunk, to train again


@dataclass(frozen=True, slots=True)
class OuterStep:
    """Which updates make the next model."""

    cycle: int
    base: bytes  # digest of the model before
    updates: tuple[tuple[ScoreRow, Reveal], ...]  # by unit, ascending; only those with tickets
    randomness: bytes  # of the draw: the order in which updates merge
    challenge: tuple[int, ...]  # record indices by which a step is chosen


Duty = Ceremony | Sign | Watch | WatchResharing | Measure | Step | Witness


def duties(rules: Rules, state: State, index: int) -> tuple[Duty, ...]:
    """All that replica `index` owes."""
    owed: list[Duty] = []
    if state.phase == Phase.KEYGEN:
        transcript = state.transcript
        owed.append(Ceremony(transcript.attempt, int(transcript.phase), len(transcript.complaints)))
    signature = asked(rules, state)
    if signature is not None and index not in state.shares and index not in state.faulty:
        owed.append(Sign(signature))
    limit = duration_ms(rules, state.phase)
    if limit is not None and index not in state.elapsed:
        owed.append(Watch(state.cycle, state.phase, state.attempt, limit))
    if stage(state) in (Stage.RESHARING, Stage.PROOF):
        change, session = under_way(state)
        if index not in change.elapsed:
            owed.append(
                WatchResharing(session.session, int(session.phase), RESHARING_MS[session.phase])
            )
    if state.phase == Phase.EVALUATION and index not in state.tables:
        owed.append(Measure(state.cycle))
    if state.phase == Phase.AGGREGATION and index not in state.votes:
        owed.append(Step(state.cycle))
    if state.phase == Phase.BLOCK and index not in state.seen:
        owed.append(Witness(state.cycle, state.rank, state.certificate))
    return tuple(owed)


def measurement(rules: Rules, state: State) -> Measurement:
    """The work behind `Measure`, in the evaluation phase."""
    revealed = sorted(state.reveals)
    chunks = {
        unit: chunk_records(state.seed, rules.job, state.units[unit].chunk) for unit in revealed
    }
    audited = audited_units(state.challenge, revealed, rules.params, rules.job)
    return Measurement(
        cycle=state.cycle,
        base=state.model,
        candidates=tuple((state.units[unit], state.reveals[unit]) for unit in revealed),
        challenge=challenge_records(state.challenge, rules.params, rules.job),
        control=control_records(state.challenge, rules.params, rules.job),
        own={
            unit: own_records(state.challenge, unit, chunk, rules.params)
            for unit, chunk in chunks.items()
        },
        caps=tuple(reference.norm for reference in state.references),
        seed=state.seed,
        audited={unit: chunks[unit] for unit in audited},
    )


def outer_step(rules: Rules, state: State) -> OuterStep:
    """The work behind `Step`, in the aggregation phase."""
    assert state.scored is not None and state.drawn is not None
    updates = tuple((row, state.reveals[row.unit]) for row in state.scored.rows if row.merit)
    return OuterStep(
        cycle=state.cycle,
        base=state.model,
        updates=updates,
        randomness=state.drawn.randomness,
        challenge=challenge_records(state.challenge, rules.params, rules.job),
    )
