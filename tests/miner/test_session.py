"""The miner's cycle, event by event: what it asks for, and what it makes of refusals and delays."""

from dataclasses import replace

from bft.crypto.hashing import sha256
from chain.records.contribution import ResourceReport, WorkUnit
from chain.records.evaluation import References, ScoreRow
from chain.records.phase import Phase
from chain.records.score_log import Assigned, Scored
from miner.actions import (
    Action,
    Answered,
    AssignmentSeen,
    BlockOffered,
    CertificateSeen,
    Commit,
    ContributionKept,
    Effect,
    Event,
    Failed,
    FetchAssignment,
    FetchCertificate,
    FetchScores,
    Forget,
    KeepContribution,
    MakeBlock,
    Register,
    Report,
    Restored,
    Reveal,
    ScoresSeen,
    Seen,
    StopTraining,
    Train,
    Trained,
    Update,
    Upload,
    Uploaded,
)
from miner.duties import Session
from miner.session import MISSES_MAX, TRAININGS_MAX, WORKS_MAX, step
from tests.chain.federation_fixture import START, certificate_on, key_of

ME = key_of("me").public_key
OTHER = key_of("other").public_key
BASE, SEED = sha256(b"base"), sha256(b"seed")
RECEIPTS = (b"receipt 0", b"receipt 1")
USED = ResourceReport(
    cpu_user_ms=1, cpu_system_ms=1, wall_ms=2, memory_peak_bytes=3, energy_mj=4, estimated=1
)


class Driver:
    """A session that is told what happens; `asked` is what it has asked for since the last look."""

    def __init__(self) -> None:
        self.session = Session(miner=ME)
        self.effects: list[Effect] = []

    def tell(self, *events: Event) -> "Driver":
        for event in events:
            self.session, effects = step(self.session, event)
            self.effects += effects
        return self

    def seen(self, cycle: int, phase: Phase) -> "Driver":
        return self.tell(Seen(cycle, phase))

    def asked(self) -> list[Effect]:
        """What came out since the last time, reports excepted."""
        out = [effect for effect in self.effects if not isinstance(effect, Report)]
        self.told = [effect for effect in self.effects if isinstance(effect, Report)]
        self.effects = []
        return out


def unit_of(number: int = 0, miner: bytes = ME) -> WorkUnit:
    return WorkUnit(unit=number, miner=miner, segment=number % 3, chunk=number, steps=10)


def assigned(cycle: int, *units: WorkUnit) -> AssignmentSeen:
    record = Assigned(cycle=cycle, seed=SEED, base=BASE, units=units)
    return AssignmentSeen(FetchAssignment(cycle), record)


def train(cycle: int, unit: int = 0) -> Train:
    return Train(cycle, BASE, SEED, unit_of(unit))


def update_of(cycle: int, unit: int = 0) -> Update:
    digest = sha256(b"update %d %d" % (cycle, unit))
    return Update(
        cycle=cycle,
        unit=unit,
        segment=unit % 3,
        salt=sha256(b"salt"),
        digest=digest,
        size=100,
        resources=USED,
    )


def accepted(action: Action) -> Answered:
    assert isinstance(action, Register | Commit | Reveal)
    return Answered(action, "accepted", "")


def row_of(cycle: int, miner: bytes = ME, tickets: int = 5) -> ScoreRow:
    return ScoreRow(
        cycle=cycle,
        unit=0,
        miner=miner,
        segment=0,
        parameters=10,
        samples=10,
        valid=1,
        gain=100,
        advantage=50,
        volume=100,
        coverage=65536,
        quality=65536,
        tickets=tickets,
    )


def scores(cycle: int, *rows: ScoreRow) -> ScoresSeen:
    scored = Scored(
        cycle=cycle,
        evaluators=(0, 1, 2),
        references=(References(gain=1, advantage=1),),
        rows=rows,
        tickets_total=sum(row.tickets for row in rows),
        contributions_root=bytes(32),
        struck=(),
    )
    return ScoresSeen(FetchScores(cycle), scored)


def certificate(cycle: int, rank: int = 0, winner: bytes = ME) -> CertificateSeen:
    made = certificate_on(START, cycle=cycle, rank=rank, winner=winner)
    data = made.body() + bytes(48)
    return CertificateSeen(FetchCertificate(cycle), made, data)


def registered() -> Driver:
    """In cycle 1, registered for it and for the next one, its assignment asked for."""
    driver = Driver().seen(1, Phase.REGISTRATION).tell(accepted(Register(1)))
    driver.seen(1, Phase.TRAINING).tell(accepted(Register(2)))
    driver.asked()
    return driver


def committed() -> Driver:
    """One unit of cycle 1 is committed."""
    driver = registered().tell(assigned(1, unit_of()), Trained(train(1), update_of(1)))
    driver.tell(accepted(Commit(update_of(1))))
    driver.asked()
    return driver


def revealed() -> Driver:
    """One unit of cycle 1 is revealed."""
    driver = committed().seen(1, Phase.REVEAL)
    driver.tell(Uploaded(Upload(update_of(1)), RECEIPTS))
    driver.tell(accepted(Reveal(update_of(1), RECEIPTS)))
    driver.asked()
    return driver


def test_before_the_key_exists_there_is_nothing_to_do() -> None:
    assert Driver().seen(0, Phase.KEYGEN).seen(0, Phase.ACTIVATION).asked() == []


def test_a_whole_cycle_in_order() -> None:
    driver = Driver()
    assert driver.seen(1, Phase.REGISTRATION).asked() == [Register(1)]
    assert driver.tell(accepted(Register(1))).asked() == []
    assert driver.seen(1, Phase.TRAINING).asked() == [Register(2), FetchAssignment(1)]
    assert driver.tell(assigned(1, unit_of(0), unit_of(1, OTHER))).asked() == [train(1)]
    assert driver.tell(Trained(train(1), update_of(1))).asked() == [Commit(update_of(1))]
    assert driver.tell(accepted(Commit(update_of(1)))).asked() == []
    assert driver.seen(1, Phase.REVEAL).asked() == [Upload(update_of(1))]
    upload = Uploaded(Upload(update_of(1)), RECEIPTS)
    assert driver.tell(upload).asked() == [Reveal(update_of(1), RECEIPTS)]
    assert driver.tell(accepted(Reveal(update_of(1), RECEIPTS))).asked() == []
    assert driver.seen(1, Phase.EVALUATION).asked() == []
    assert driver.seen(1, Phase.AGGREGATION).asked() == [FetchScores(1)]
    assert driver.tell(scores(1, row_of(1))).asked() == []
    assert driver.seen(1, Phase.BLOCK).asked() == [FetchCertificate(1)]
    seen = certificate(1)
    assert driver.tell(seen).asked() == [MakeBlock(seen.data)]
    assert driver.tell(BlockOffered(MakeBlock(seen.data), 1, bytes(32), 4)).asked() == []
    assert driver.tell(accepted(Register(2))).seen(2, Phase.REGISTRATION).asked() == [
        FetchCertificate(1)
    ]
    scored = scores(1, row_of(1)).scored
    assert scored is not None
    keep = KeepContribution(scored, seen.data)
    assert driver.tell(seen).asked() == [keep]
    assert driver.tell(ContributionKept(keep, "1.json")).asked() == [Forget(1)]
    assert [told.event for told in driver.told] == ["certificate"]
    assert driver.session.works == {}


def test_registration_for_the_next_cycle_does_not_wait_for_the_present_one() -> None:
    """Design, section 5: "Registration for cycle c+1 runs while cycle c trains"."""
    driver = Driver().seen(7, Phase.EVALUATION)
    assert driver.asked() == [Register(8)]


def test_an_action_under_way_is_not_asked_for_twice() -> None:
    driver = Driver().seen(1, Phase.REGISTRATION)
    assert driver.asked() == [Register(1)]
    assert driver.seen(1, Phase.REGISTRATION).seen(1, Phase.REGISTRATION).asked() == []


def test_a_failed_action_is_asked_for_again_with_the_clock_and_not_before() -> None:
    driver = Driver().seen(1, Phase.REGISTRATION)
    driver.asked()
    assert driver.tell(Failed(Register(1), "no answer")).asked() == []
    assert driver.seen(1, Phase.REGISTRATION).asked() == [Register(1)]


def test_a_refused_registration_is_told_and_the_next_cycle_tries_again() -> None:
    driver = Driver().seen(1, Phase.REGISTRATION)
    driver.tell(Answered(Register(1), "full", "64 miners are registered"))
    driver.asked()
    assert [told.event for told in driver.told] == ["refused"]
    assert driver.seen(1, Phase.REGISTRATION).asked() == []
    assert Register(2) in driver.seen(1, Phase.TRAINING).asked()


def test_a_request_whose_answer_was_lost_counts_when_it_is_refused_as_a_repetition() -> None:
    driver = registered().tell(assigned(1, unit_of()), Trained(train(1), update_of(1)))
    driver.tell(Failed(Commit(update_of(1)), "no answer")).seen(1, Phase.TRAINING)
    driver.tell(Answered(Commit(update_of(1)), "twice", "it has its commitment"))
    driver.asked()
    assert driver.seen(1, Phase.REVEAL).asked() == [Upload(update_of(1))]


def test_several_units_go_their_ways_independently() -> None:
    driver = registered().tell(assigned(1, unit_of(0), unit_of(1), unit_of(2, OTHER)))
    assert driver.asked() == [train(1, 0), train(1, 1)]
    driver.tell(Trained(train(1, 1), update_of(1, 1)))
    assert driver.asked() == [Commit(update_of(1, 1))]
    driver.tell(accepted(Commit(update_of(1, 1)))).seen(1, Phase.REVEAL)
    assert driver.asked() == [StopTraining(1), Upload(update_of(1, 1))]
    assert [dict(told.fields)["unit"] for told in driver.told if told.event == "late"] == [0]


def test_a_miner_without_a_unit_waits_for_the_next_cycle() -> None:
    driver = registered().tell(assigned(1, unit_of(0, OTHER)))
    assert driver.asked() == []
    assert [told.event for told in driver.told] == ["idle"]
    assert driver.seen(2, Phase.TRAINING).asked() == [Forget(1), Register(3), FetchAssignment(2)]


def test_training_that_is_too_late_is_stopped_and_its_result_is_not_committed() -> None:
    driver = registered().tell(assigned(1, unit_of()))
    driver.asked()
    assert driver.seen(1, Phase.REVEAL).asked() == [StopTraining(1)]
    assert driver.tell(Trained(train(1), update_of(1))).asked() == []


def test_a_result_for_a_forgotten_cycle_is_deleted() -> None:
    driver = registered().tell(assigned(1, unit_of())).seen(2, Phase.REGISTRATION)
    assert Forget(1) in driver.asked()
    assert driver.tell(Trained(train(1), update_of(1))).asked() == [Forget(1)]


def test_training_that_fails_again_and_again_is_given_up() -> None:
    driver = registered().tell(assigned(1, unit_of()))
    for _ in range(TRAININGS_MAX):
        assert driver.asked() == [train(1)]
        driver.tell(Failed(train(1), "diverged")).seen(1, Phase.TRAINING)
    assert driver.asked() == []


def test_a_refused_commitment_costs_its_unit_only() -> None:
    driver = registered().tell(assigned(1, unit_of()), Trained(train(1), update_of(1)))
    driver.tell(Answered(Commit(update_of(1)), "wrong-phase", "the cycle is in REVEAL"))
    driver.asked()
    assert driver.told[-1].event == "refused"
    assert driver.seen(1, Phase.REVEAL).asked() == []
    assert driver.seen(2, Phase.TRAINING).asked() == [Forget(1), Register(3), FetchAssignment(2)]


def test_the_answer_to_a_commitment_may_come_after_the_phase_it_ended() -> None:
    """The last commitment ends the training phase, which may be seen before the answer."""
    driver = registered().tell(assigned(1, unit_of()), Trained(train(1), update_of(1)))
    driver.seen(1, Phase.REVEAL)
    driver.asked()
    assert [told.event for told in driver.told if told.event == "late"] == []
    assert driver.tell(accepted(Commit(update_of(1)))).asked() == [Upload(update_of(1))]


def test_the_answer_to_a_reveal_may_come_after_the_cycle() -> None:
    driver = committed().seen(1, Phase.REVEAL)
    driver.tell(Uploaded(Upload(update_of(1)), RECEIPTS)).seen(2, Phase.REGISTRATION)
    assert Forget(1) not in driver.asked()
    driver.tell(accepted(Reveal(update_of(1), RECEIPTS)))
    assert driver.asked() == [FetchScores(1)]


def test_a_commitment_whose_fate_is_unknown_is_revealed_on_suspicion() -> None:
    driver = registered().tell(assigned(1, unit_of()), Trained(train(1), update_of(1)))
    driver.tell(Failed(Commit(update_of(1)), "no answer"))
    driver.asked()
    assert driver.seen(1, Phase.REVEAL).asked() == [Upload(update_of(1))]


def test_a_missed_reveal_is_told_and_the_unit_given_up() -> None:
    driver = committed().seen(1, Phase.CHALLENGE)
    driver.asked()
    assert [told.event for told in driver.told] == ["late"]
    assert driver.seen(2, Phase.REGISTRATION).asked() == [Forget(1)]


def test_after_a_restart_a_kept_update_is_committed_and_never_trained_again() -> None:
    driver = Driver().tell(Restored((update_of(1),))).seen(1, Phase.TRAINING)
    assert driver.asked() == [Register(2), FetchAssignment(1), Commit(update_of(1))]
    assert driver.tell(assigned(1, unit_of())).asked() == []


def test_after_a_restart_in_the_reveals_the_kept_update_is_revealed() -> None:
    driver = Driver().tell(Restored((update_of(1),))).seen(1, Phase.REVEAL)
    assert Upload(update_of(1)) in driver.asked()


def test_after_a_restart_the_scores_say_whether_an_update_was_revealed() -> None:
    driver = Driver().tell(Restored((update_of(1), update_of(2)))).seen(3, Phase.TRAINING)
    assert [a for a in driver.asked() if isinstance(a, FetchScores)] == [
        FetchScores(1),
        FetchScores(2),
    ]
    assert driver.tell(scores(1, row_of(1, OTHER))).asked() == [Forget(1)]
    assert driver.tell(scores(2, row_of(2))).asked() == [FetchCertificate(2)]


def test_a_miner_without_tickets_asks_for_no_certificate_before_the_end() -> None:
    driver = revealed().seen(1, Phase.DRAW).tell(scores(1, row_of(1, ME, tickets=0)))
    driver.asked()
    assert driver.seen(1, Phase.BLOCK).asked() == []
    assert driver.seen(2, Phase.REGISTRATION).asked() == [FetchCertificate(1)]


def test_a_runner_up_makes_the_block_when_the_ranks_before_it_were_voided() -> None:
    driver = revealed().seen(1, Phase.DRAW).tell(scores(1, row_of(1), row_of(1, OTHER)))
    driver.asked()
    assert driver.seen(1, Phase.BLOCK).asked() == [FetchCertificate(1)]
    first = certificate(1, 0, OTHER)
    assert driver.tell(first).asked() == []
    assert [told.event for told in driver.told] == ["drawn"]
    assert driver.seen(1, Phase.BLOCK).asked() == [FetchCertificate(1)]
    second = certificate(1, 1, ME)
    assert driver.tell(second).asked() == [MakeBlock(second.data)]
    assert [told.event for told in driver.told] == ["won"]


def test_a_block_that_nobody_took_is_offered_again() -> None:
    driver = revealed().seen(1, Phase.DRAW).tell(scores(1, row_of(1))).seen(1, Phase.BLOCK)
    seen = certificate(1)
    driver.tell(seen)
    driver.asked()
    driver.tell(Failed(MakeBlock(seen.data), "too few"))
    assert MakeBlock(seen.data) in driver.seen(1, Phase.BLOCK).asked()
    driver.tell(BlockOffered(MakeBlock(seen.data), 1, bytes(32), 3))
    assert MakeBlock(seen.data) not in driver.seen(1, Phase.BLOCK).asked()


def test_a_cycle_without_a_certificate_is_asked_about_a_few_times_then_forgotten() -> None:
    """One replica that is behind says "none" as well, so one "none" is not believed."""
    driver = revealed().seen(2, Phase.REGISTRATION).tell(scores(1, row_of(1)))
    for _ in range(MISSES_MAX):
        driver.tell(CertificateSeen(FetchCertificate(1), None, b"")).seen(2, Phase.TRAINING)
        assert Forget(1) not in driver.asked()
    driver.tell(CertificateSeen(FetchCertificate(1), None, b""))
    assert driver.asked() == [Forget(1)]
    assert [told.event for told in driver.told if told.event == "not-certified"]


def test_time_does_not_run_backwards() -> None:
    """A replica that lags may be among those that answered."""
    driver = registered().seen(1, Phase.REVEAL)
    driver.asked()
    assert driver.seen(1, Phase.TRAINING).asked() == []
    assert driver.session.place == (1, Phase.REVEAL)


def test_cycles_that_cannot_be_settled_do_not_pile_up() -> None:
    driver = Driver().tell(Restored(tuple(update_of(n) for n in range(1, 2 * WORKS_MAX))))
    driver.seen(2 * WORKS_MAX, Phase.REGISTRATION)
    assert len(driver.session.works) == WORKS_MAX


def test_a_step_leaves_the_session_before_it_as_it_was() -> None:
    driver = committed()
    before = driver.session
    kept = replace(before)
    step(before, Seen(1, Phase.REVEAL))
    assert before == kept
