"""What each phase refuses, with which word; a refused step leaves the state equal."""

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record
from bft.crypto.hashing import sha256
from bft.dkg.messages import DkgReady
from bft.dkg.messages import Phase as Ceremony
from bft.ordering.request import seal_request
from chain.params import MINIMAL
from chain.records.contribution import UpdateCommitment
from chain.records.evaluation import EvaluationTable, SnapshotVote
from chain.records.phase import Phase
from chain.records.votes import Elapsed
from chain.rules.limits import ATTEMPTS, WINDOW_FACTOR
from coordinator.cycle.machine import TABLE
from tests.chain.audit.mill import Mill, key, make_genesis
from tests.coordinator.cycle.refusals import assert_refused, still


def samples(mill: Mill) -> list[Record]:
    """One well-formed operation of every kind but key generation's."""
    unit = mill.state.units[0]
    return [
        mill.registration(),
        mill.commitment(unit),
        mill.opening(unit),
        mill.table(0),
        mill.vote(0),
        mill.elapsed(),
    ]


# The door.


def test_an_operation_that_the_table_does_not_know_in_this_phase_is_refused() -> None:
    mill = Mill().found().to_training()
    miner = mill.miner_of(mill.state.units[0])
    for record in samples(mill):
        if (mill.phase, type(record)) not in TABLE:
            assert_refused(mill, miner, record, "wrong-phase")
    ready = DkgReady(session=bytes(32), phase=Ceremony.COMPLAINT)
    assert_refused(mill, mill.replicas[0], ready, "wrong-phase")


def test_before_there_is_a_key_nobody_can_register() -> None:
    mill = Mill()
    assert_refused(mill, mill.miners[0], mill.registration(), "wrong-phase")


def test_only_a_replica_may_say_what_replicas_say() -> None:
    mill = Mill().found()
    for author in (mill.miners[0], key("stranger")):
        assert_refused(mill, author, mill.elapsed(), "not-a-replica")


def test_a_request_is_executed_once_and_a_refused_one_may_come_again() -> None:
    mill = Mill().found()
    early = mill.request(mill.replicas[0], replace(mill.elapsed(), phase=Phase.TRAINING), 700)
    assert mill.order(early) == ["late"]
    mill.register()
    mill.time_out((1, 2))
    assert mill.order(early) == ["accepted"]
    state = still(mill.state)
    assert mill.order(early) == ["executed-before"]
    assert still(mill.state) == state


def test_an_operation_that_cannot_be_read_is_refused() -> None:
    mill = Mill().found()
    state, replica = still(mill.state), mill.replicas[0]
    for operation in (b"", b"\x92\xa1x\xc4\x00"):
        request = seal_request(
            mill.rules.chain_id, replica.public_key, 900, operation, replica.sign
        )
        assert mill.order(request) == ["malformed"]
        assert still(mill.state) == state


def test_what_was_refused_stands_in_the_log_and_changes_nothing_else() -> None:
    mill = Mill().found()
    size = mill.state.log.size
    mill.say(mill.miners[0], mill.elapsed())
    assert mill.state.log.size == size + 1


# Registration.


def test_registration_refuses_what_its_rules_say() -> None:
    mill = Mill(genesis=make_genesis(params=replace(MINIMAL, miners_max=2))).found()
    first, second, third = mill.miners
    assert_refused(mill, first, mill.registration(ahead=1), "wrong-cycle")
    assert_refused(mill, mill.replicas[0], mill.registration(), "replica")
    unit = mill.rules.params.unit_capacity
    assert_refused(mill, first, mill.registration(capacity=unit - 1), "too-small")
    assert mill.say(first, mill.registration(capacity=unit)) == ["accepted"]
    assert_refused(mill, first, mill.registration(), "twice")
    assert mill.say(second, mill.registration()) == ["accepted"]
    assert_refused(mill, third, mill.registration(), "full")


def test_while_a_cycle_runs_miners_register_for_the_next_one_only() -> None:
    mill = Mill().found().to_training()
    now = replace(mill.registration(), cycle=mill.state.cycle)
    assert_refused(mill, mill.miners[0], now, "wrong-cycle")
    assert mill.say(mill.miners[0], mill.registration()) == ["accepted"]


# Commitments and reveals.


def test_a_commitment_is_its_units_miners_once_in_the_running_cycle() -> None:
    mill = Mill().found().to_training()
    unit = mill.state.units[1]
    miner, said = mill.miner_of(unit), mill.commitment(unit)
    other = next(m for m in mill.miners if m.public_key != unit.miner)
    assert_refused(mill, miner, replace(said, cycle=2), "wrong-cycle")
    assert_refused(mill, other, said, "not-assigned")
    assert_refused(mill, miner, replace(said, unit=len(mill.state.units)), "not-assigned")
    assert mill.say(miner, said) == ["accepted"]
    changed = UpdateCommitment(cycle=1, unit=unit.unit, commitment=bytes(32))
    assert_refused(mill, miner, changed, "twice")


def test_a_reveal_must_open_its_commitment_and_be_available() -> None:
    mill = Mill().found().to_training()
    mill.commit([0, 1])
    mill.time_out()
    unit, uncommitted = mill.state.units[0], mill.state.units[2]
    miner, said = mill.miner_of(unit), mill.opening(unit)
    size_max = mill.rules.params.update_bytes_max
    receipt = said.receipts[0]
    for wrong, code in (
        (replace(said, cycle=2), "wrong-cycle"),
        (replace(said, unit=1), "not-assigned"),
        (replace(said, salt=bytes(32)), "mismatch"),
        (replace(said, digest=bytes(32)), "mismatch"),
        (replace(said, size=0), "too-long"),
        (replace(said, size=size_max + 1), "too-long"),
        (replace(said, parameters=said.parameters + 1), "wrong-parameters"),
        (replace(said, receipts=()), "unavailable"),
        (replace(said, receipts=(receipt,)), "unavailable"),
        (replace(said, receipts=(receipt, receipt)), "unavailable"),
        (replace(said, receipts=(receipt, b"nonsense")), "unavailable"),
        (
            replace(said, receipts=(receipt, mill.receipt(uncommitted, mill.replicas[1]))),
            "unavailable",
        ),
        (replace(said, size=said.size + 1), "unavailable"),  # receipts are for other bytes
    ):
        assert_refused(mill, miner, wrong, code)
    dead = mill.miner_of(uncommitted)
    assert_refused(mill, dead, mill.opening(uncommitted), "not-committed")
    assert mill.say(miner, said) == ["accepted"]
    assert_refused(mill, miner, said, "twice")


def test_a_receipt_of_a_stranger_counts_for_nothing() -> None:
    mill = Mill().found().to_training()
    mill.commit()
    unit = mill.state.units[0]
    receipts = tuple(mill.receipt(unit, signer) for signer in (mill.replicas[0], key("stranger")))
    said = replace(mill.opening(unit), receipts=receipts)
    assert_refused(mill, mill.miner_of(unit), said, "unavailable")


# Measurements and models.


def test_a_table_lists_exactly_the_revealed_units_once() -> None:
    mill = Mill().found().to_evaluation()
    replica, said = mill.replicas[0], mill.table(0)
    first = replace(said.rows[0], valid=2)
    for wrong, code in (
        (replace(said, cycle=2), "wrong-cycle"),
        (replace(said, rows=said.rows[1:]), "wrong-units"),
        (replace(said, rows=said.rows[::-1]), "wrong-units"),
        (replace(said, rows=(*said.rows, said.rows[-1])), "wrong-units"),
        (replace(said, rows=(first, *said.rows[1:])), "out-of-range"),
    ):
        assert_refused(mill, replica, wrong, code)
    assert mill.say(replica, said) == ["accepted"]
    assert_refused(mill, replica, mill.lying_table(0), "twice")


def with_correct(vote: SnapshotVote, correct: int) -> SnapshotVote:
    (model,) = vote.models
    return replace(vote, models=(replace(model, correct=correct),))


def test_a_vote_for_a_model_is_one_a_replica_and_counts_all_held_out_records() -> None:
    mill = Mill().found().to_aggregation()
    replica, said = mill.replicas[0], mill.vote(0)
    records = mill.rules.job.heldout_records
    for wrong, code in (
        (replace(said, cycle=2), "wrong-cycle"),
        (replace(said, records=records - 1), "out-of-range"),
        (with_correct(said, records + 1), "out-of-range"),
        (replace(said, models=said.models * 2), "out-of-range"),
    ):
        assert_refused(mill, replica, wrong, code)
    assert mill.say(replica, with_correct(said, records)) == ["accepted"]
    assert_refused(mill, replica, mill.vote(0, sha256(b"other")), "twice")


# Signatures.


def test_a_share_is_taken_once_and_only_for_what_is_asked() -> None:
    mill = Mill().found().to_training()
    mill.commit()
    mill.reveal()
    assert mill.phase is Phase.CHALLENGE
    replica, said = mill.replicas[0], mill.share(0)
    for wrong in (
        replace(said, subject=said.subject + 1),
        replace(said, rank=1),
        replace(said, purpose=3),
        replace(said, purpose=255),
    ):
        assert_refused(mill, replica, wrong, "late")
    assert mill.say(replica, said) == ["accepted"]
    assert_refused(mill, replica, said, "twice")


def test_a_replica_that_gave_a_bad_share_is_not_asked_again_in_this_phase() -> None:
    mill = Mill().found().to_training()
    mill.commit()
    mill.reveal()
    mill.say(mill.replicas[0], mill.bad_share(0))
    mill.sign((1, 2))
    assert mill.phase is Phase.CHALLENGE and mill.state.faulty == (0,)
    assert_refused(mill, mill.replicas[0], mill.share(0), "twice")
    mill.sign((3,))
    assert mill.phase is Phase.EVALUATION and mill.state.faulty == ()


# Blocks.


def test_a_vote_for_a_block_is_one_a_replica_for_the_rank_on_the_tip_in_its_window() -> None:
    mill = Mill().found().to_block()
    replica, said = mill.replicas[0], mill.seen()
    window = WINDOW_FACTOR * mill.rules.params.block_ms // 1000
    elsewhere = said.header[:4] + bytes(32) + said.header[36:]
    for wrong, code in (
        (replace(said, cycle=2), "late"),
        (replace(said, rank=1), "late"),
        (replace(said, header=elsewhere), "wrong-parent"),
        (mill.seen(mill.block(-1)[:80]), "wrong-time"),
        (mill.seen(mill.block(window + 1)[:80]), "wrong-time"),
    ):
        assert_refused(mill, replica, wrong, code)
    assert mill.say(replica, mill.seen(mill.block(window)[:80])) == ["accepted"]
    assert_refused(mill, replica, said, "twice")


# Clocks.


def test_a_clock_counts_for_this_phase_and_attempt_once() -> None:
    mill = Mill().found()
    replica, said = mill.replicas[0], mill.elapsed()
    for wrong in (
        replace(said, cycle=2),
        replace(said, phase=Phase.TRAINING),
        replace(said, attempt=1),
    ):
        assert_refused(mill, replica, wrong, "late")
    assert mill.say(replica, said) == ["accepted"]
    assert_refused(mill, replica, said, "twice")


def test_a_clocks_vote_for_the_end_of_one_rank_never_serves_the_next() -> None:
    mill = Mill().found().to_block()
    said = mill.elapsed()
    mill.time_out((0, 1))
    mill.sign()
    assert (mill.phase, mill.state.rank) == (Phase.BLOCK, 1)
    assert_refused(mill, mill.replicas[0], said, "late")
    assert mill.say(mill.replicas[0], mill.elapsed()) == ["accepted"]


def test_a_clocks_vote_for_one_attempt_never_ends_the_next_however_many_there_were() -> None:
    """A founding may wait for hours for its last member; every attempt has its whole time."""
    mill = Mill()
    for attempt in range(ATTEMPTS + 2):
        assert mill.state.attempt == attempt % ATTEMPTS
        said = mill.elapsed()
        codes = mill.order(*(mill.request(replica, said) for replica in mill.replicas))
        assert codes == ["accepted", "accepted", "late", "late"]
    assert mill.state.transcript.attempt == ATTEMPTS + 2


@pytest.mark.parametrize("phase", [Phase.ACTIVATION, Phase.CHALLENGE])
def test_no_time_runs_while_the_federation_signs(phase: Phase) -> None:
    mill = Mill()
    while mill.phase is Phase.KEYGEN:
        mill.ceremony_round()
    if phase is Phase.CHALLENGE:
        mill.found().to_training().commit()
        mill.reveal()
    said = Elapsed(cycle=mill.state.cycle, phase=phase, attempt=0)
    assert_refused(mill, mill.replicas[0], said, "untimed")


def test_a_miner_whose_audited_unit_fails_earns_nothing_and_is_barred() -> None:
    """PROTOCOL.md 10, Audits: its registration for the next cycle is forgotten as well."""
    params = replace(MINIMAL, audit_share=1 << 16, barred_cycles=2)
    mill = Mill(genesis=make_genesis(params=params)).found().to_evaluation()
    mill.register()
    victim = mill.miner_of(mill.state.units[0])

    def table(replica: int) -> EvaluationTable:
        told = mill.table(replica)
        first, *others = told.rows
        low = params.audit_cosine - 1
        return replace(told, rows=(replace(first, replay=low), *others))

    mill.all_say(table, range(4))
    assert mill.state.scored is not None
    assert mill.state.scored.struck == (victim.public_key,)
    assert mill.state.scored.rows[0].tickets == 0
    assert all(row.tickets for row in mill.state.scored.rows[1:])
    assert victim.public_key not in mill.state.registrations
    assert_refused(mill, victim, mill.registration(), "barred")
    assert mill.state.standings[victim.public_key].barred_until == mill.state.cycle + 3
