"""What a replica owes follows from the state alone, and doing it is enough."""

from bft.crypto.hashing import sha256
from chain.records.phase import Phase
from coordinator.cycle.duties import (
    Ceremony,
    Duty,
    Measure,
    Sign,
    Step,
    Watch,
    Witness,
    measurement,
    outer_step,
)
from tests.chain.audit.mill import Mill


def kinds(duties: tuple[Duty, ...]) -> set[type]:
    return {type(duty) for duty in duties}


def test_each_phase_asks_for_its_own() -> None:
    mill = Mill()
    assert kinds(mill.duties_of(0)) == {Ceremony, Watch}
    while mill.phase is Phase.KEYGEN:
        mill.ceremony_round()
    assert kinds(mill.duties_of(0)) == {Sign}
    mill.sign()
    assert kinds(mill.duties_of(0)) == {Watch}
    mill.to_training().commit()
    mill.reveal()
    assert kinds(mill.duties_of(0)) == {Sign}
    mill.sign()
    assert kinds(mill.duties_of(0)) == {Watch, Measure}
    mill.evaluate()
    mill.sign()
    assert kinds(mill.duties_of(0)) == {Watch, Step}
    mill.aggregate()
    mill.sign()
    assert kinds(mill.duties_of(0)) == {Watch, Witness}


def test_what_was_done_is_owed_no_more() -> None:
    mill = Mill().found().to_evaluation()
    mill.say(mill.replicas[0], mill.table(0))
    mill.say(mill.replicas[1], mill.elapsed())
    assert kinds(mill.duties_of(0)) == {Watch}
    assert kinds(mill.duties_of(1)) == {Measure}


def test_a_replica_whose_share_was_bad_is_not_asked_for_another() -> None:
    mill = Mill().found().to_training()
    mill.commit()
    mill.reveal()
    mill.say(mill.replicas[0], mill.bad_share(0))
    assert kinds(mill.duties_of(0)) == set()
    mill.sign((1, 2))
    assert kinds(mill.duties_of(0)) == set() and kinds(mill.duties_of(3)) == {Sign}


def test_measurement_names_the_base_the_candidates_and_the_records() -> None:
    mill = Mill().found().to_evaluation()
    asked = measurement(mill.rules, mill.state)
    params, job = mill.rules.params, mill.rules.job
    assert (asked.cycle, asked.base) == (1, job.genesis_model)
    assert [unit.unit for unit, _ in asked.candidates] == [0, 1, 2]
    assert [reveal.digest for _, reveal in asked.candidates] == [
        mill.digest(unit) for unit in mill.state.units
    ]
    heldout = range(job.train_records, job.train_records + job.heldout_records)
    assert len(set(asked.challenge)) == params.challenge_records
    assert set(asked.challenge) <= set(heldout)
    own = [set(asked.own[unit]) for unit in sorted(asked.own)]
    count = min(params.own_records, job.chunk_records)
    assert all(len(records) == count for records in own)
    assert all(records <= set(range(job.train_records)) for records in own)
    assert not own[0] & own[1] and not own[1] & own[2] and not own[0] & own[2]


def test_the_outer_step_takes_the_updates_that_earned_tickets() -> None:
    mill = Mill().found().to_aggregation()
    asked = outer_step(mill.rules, mill.state)
    assert [row.unit for row, _ in asked.updates] == [0, 1, 2]
    assert asked.base == mill.rules.job.genesis_model
    assert mill.state.drawn is not None
    assert asked.randomness == mill.state.drawn.randomness
    assert len(set(asked.challenge)) == mill.rules.params.challenge_records


def test_replicas_that_do_their_duties_and_nothing_else_finish_a_cycle() -> None:
    mill = Mill()
    seen: set[type] = set()
    while mill.state.cycle < 2:
        phase = mill.phase
        for replica in range(4):
            for duty in mill.duties_of(replica):
                seen.add(type(duty))
                perform(mill, replica, duty)
                if mill.phase is not phase:
                    break
            if mill.phase is not phase:
                break
        if mill.phase is Phase.REGISTRATION and mill.state.cycle == 1:
            mill.register()
        elif mill.phase is Phase.TRAINING:
            mill.commit()
        elif mill.phase is Phase.REVEAL:
            mill.reveal()
    assert seen == {Ceremony, Sign, Watch, Measure, Step, Witness}
    assert mill.state.tip.height == 1
    assert mill.state.model == sha256(b"model 1")


def perform(mill: Mill, replica: int, duty: Duty) -> None:
    """As a replica does, but time is over only where nobody else ends the phase."""
    author = mill.replicas[replica]
    match duty:
        case Ceremony():
            mill.say(author, *mill.owed(replica))
        case Sign():
            mill.say(author, mill.share(replica))
        case Watch() if mill.phase is Phase.REGISTRATION and mill.state.registrations:
            mill.say(author, mill.elapsed())
        case Measure():
            mill.say(author, mill.table(replica))
        case Step():
            mill.say(author, mill.vote(replica))
        case Witness():
            mill.say(author, mill.seen())
