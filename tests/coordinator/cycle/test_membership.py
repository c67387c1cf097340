"""A change of members on the machine: who may say what, and what becomes of it.  Scenario 78."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from bft.dkg.messages import Phase as Ceremony
from chain.audit.replay import audit
from chain.params import MINIMAL
from chain.records.certificate import decode_certificate
from chain.records.membership import Approve, CeremonyElapsed, VoidReason, Withdraw
from chain.records.phase import Phase
from chain.records.profile import SIGNET
from chain.records.score_log import (
    BlockFinal,
    Certified,
    KeyActivated,
    MembersApproved,
    ProposalVoided,
    ResharingFailed,
    SharingProven,
    decode_leaf,
)
from chain.rules.limits import PROPOSAL_CYCLES, RESHARING_ATTEMPTS
from coordinator.cycle.phases import resharing
from coordinator.cycle.phases.membership import Stage
from tests.chain.audit import epochs
from tests.chain.audit.mill import Mill, key, make_genesis, make_member

QUICK = make_genesis(params=replace(MINIMAL, checkpoint_interval=4, window=8))


MILLS: list[Mill] = []


@pytest.fixture(autouse=True)
def audited() -> Iterator[None]:
    """Whatever a test makes of a mill, the auditor derives the same from its log."""
    MILLS.clear()
    yield
    for mill in MILLS:
        report = audit(encode(QUICK), mill.entries)
        assert report.passed, report.to_text()
        assert report.log_root == mill.state.log.root


def founded() -> Mill:
    """Four members, an epoch's end within 12 batches."""
    mill = Mill(genesis=QUICK).found()
    MILLS.append(mill)
    return mill


def logged(mill: Mill, kind: type) -> list:  # type: ignore[type-arg]
    """All leaves of a kind."""
    records = [decode_leaf(entry.leaf) for entry in mill.entries]
    return [record for record in records if isinstance(record, kind)]


# Proposals.


def test_before_there_is_a_key_nobody_proposes() -> None:
    assert epochs.propose(Mill(genesis=QUICK), range(4)) == ["wrong-stage"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"epoch": 0}, "wrong-epoch"),
        ({"epoch": 2}, "wrong-epoch"),
        ({"reason": b"\x1b[2J"}, "no-text"),
        ({"members": tuple(make_member(n) for n in (0, 1))}, "no-members"),
        ({"members": tuple(make_member(n) for n in (0, 1, 2))}, "no-members"),
        ({"members": tuple(make_member(n) for n in (0, 1, 2, 2))}, "no-members"),
        ({"members": tuple(make_member(n) for n in range(64))}, "no-members"),
    ],
)
def test_a_proposal_is_a_complete_list_for_the_next_epoch(change: dict, code: str) -> None:  # type: ignore[type-arg]
    mill = founded()
    said = replace(epochs.proposal(mill, range(4)), **change)
    assert mill.say(mill.replicas[0], said) == [code]
    assert mill.state.change is None


@pytest.mark.parametrize("field", ["tls_certificate", "link", "api"])
def test_members_share_neither_certificate_nor_address(field: str) -> None:
    mill = founded()
    said = epochs.proposal(mill, range(4))
    twin = replace(said.members[3], **{field: getattr(said.members[0], field)})
    said = replace(said, members=(*said.members[:3], twin))
    assert mill.say(mill.replicas[0], said) == ["no-members"]


@pytest.mark.parametrize("size", [1, 4, 5, 63])
def test_an_epoch_has_one_member_or_four_and_more(size: int) -> None:
    mill = founded()
    assert epochs.propose(mill, range(size)) == ["accepted"]


def test_only_members_propose_and_one_thing_at_a_time() -> None:
    mill = founded()
    said = epochs.proposal(mill, (0, 1, 2, 4))
    assert mill.say(key("replica 4"), said) == ["not-a-member"]
    assert mill.say(mill.miners[0], said) == ["not-a-member"]
    assert mill.say(mill.replicas[3], said) == ["accepted"]
    assert mill.say(mill.replicas[0], said) == ["wrong-stage"]
    change = mill.state.change
    assert change is not None and change.approvals == (3,)


def test_whoever_mines_becomes_no_member_and_a_member_to_be_does_not_mine() -> None:
    mill = founded()
    mill.register((0,))
    joiner = replace(make_member(4), key=mill.miners[0].public_key)
    said = epochs.proposal(mill, range(4))
    said = replace(said, members=(*said.members, joiner))
    assert mill.say(mill.replicas[0], said) == ["miner"]
    assert epochs.propose(mill, (0, 1, 2, 3, 4)) == ["accepted"]
    assert mill.say(key("replica 4"), mill.registration()) == ["replica"]
    epochs.approve(mill, (1, 2))
    epochs.reshare(mill)
    epochs.prove(mill)
    epochs.activate(mill)
    assert mill.say(key("replica 4"), mill.registration()) == ["replica"]


def test_a_strong_quorum_approves_each_once() -> None:
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    said = epochs.approval(mill)
    assert mill.say(mill.replicas[0], said) == ["twice"]
    assert mill.say(mill.replicas[1], Approve(proposal=bytes(32))) == ["other-proposal"]
    assert mill.say(key("replica 4"), said) == ["not-a-member"]
    assert epochs.approve(mill, (1,)) == ["accepted"]
    assert epochs.standing(mill) is Stage.PROPOSED
    assert epochs.approve(mill, (3,)) == ["accepted"]
    assert epochs.standing(mill) is Stage.RESHARING
    (approved,) = logged(mill, MembersApproved)
    assert approved == MembersApproved(epoch=1, proposal=said.proposal, approvals=(0, 1, 3))
    assert epochs.approve(mill, (2,)) == ["wrong-stage"]


def test_its_proposer_withdraws_it_while_it_is_not_approved() -> None:
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    digest = epochs.approval(mill).proposal
    said = Withdraw(proposal=digest)
    assert mill.say(mill.replicas[1], said) == ["not-its-proposer"]
    assert mill.say(mill.replicas[0], Withdraw(proposal=bytes(32))) == ["other-proposal"]
    assert mill.say(mill.replicas[0], said) == ["accepted"]
    withdrawn = ProposalVoided(epoch=1, proposal=digest, reason=int(VoidReason.WITHDRAWN))
    assert logged(mill, ProposalVoided) == [withdrawn]
    assert epochs.propose(mill, (0, 1, 2, 4)) == ["accepted"]
    epochs.approve(mill, (1, 2))
    assert mill.say(mill.replicas[0], said) == ["wrong-stage"]


def test_a_proposal_that_nobody_approves_expires_with_the_last_of_its_cycles() -> None:
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    for _ in range(PROPOSAL_CYCLES):
        assert mill.state.change is not None
        mill.time_out()  # nobody registers: the cycle closes
    assert mill.state.change is not None
    mill.time_out()
    assert mill.state.change is None
    (voided,) = logged(mill, ProposalVoided)
    assert voided.reason == VoidReason.EXPIRED


# Resharing.


def test_a_member_is_replaced_and_the_key_stays() -> None:
    mill = founded()
    before = mill.state.federation_key
    epochs.change_members(mill, (0, 1, 4, 3))
    state = mill.state
    assert (state.epoch, state.last) == (1, None)
    assert state.members == tuple(make_member(n) for n in (0, 1, 4, 3))
    assert before is not None and state.federation_key is not None
    assert state.federation_key.key == before.key
    assert state.federation_key.commitments[1:] != before.commitments[1:]
    activated = logged(mill, KeyActivated)[-1]
    assert activated.federation_key == state.federation_key
    assert activated.boundary == state.began == state.sequence
    assert len(logged(mill, SharingProven)) == 1
    assert epochs.propose(mill, range(4), by=2) == ["accepted"]  # operator 4's word counts now


def test_the_epoch_ends_at_a_checkpoint_a_window_ahead() -> None:
    mill = founded()
    epochs.to_successor(mill, (0, 1, 2, 3, 4, 5, 6))
    fixed = mill.state.sequence
    last = mill.state.last
    assert last is not None and last % 4 == 0 and fixed + 8 <= last < fixed + 12
    while mill.state.sequence < last - 1:
        mill.order()
    assert (mill.state.epoch, mill.state.membership.n) == (0, 4)
    mill.order()
    assert (mill.state.epoch, mill.state.membership.n, mill.state.sequence) == (1, 7, last)
    assert mill.state.former == tuple(make_member(n).key for n in range(4))


def test_while_one_epoch_ends_no_other_change_begins() -> None:
    mill = founded()
    epochs.to_successor(mill, (0, 1, 2, 4))
    assert mill.say(mill.replicas[0], epochs.proposal(mill, range(4))) == ["wrong-stage"]
    assert mill.say(mill.replicas[0], epochs.proposal(mill, range(4), 2)) == ["wrong-stage"]


def test_growing_shrinking_refreshing_and_replacing_in_turn() -> None:
    mill = founded()
    for numbers in ((0, 1, 2, 4), (0, 1, 2, 4, 5, 6, 7), (0, 1, 2, 4, 5, 6, 7), (7, 4, 1, 0), (3,)):
        epochs.change_members(mill, numbers)
        mill.cycle()
    finals = logged(mill, BlockFinal)
    assert [final.height for final in finals] == [1, 2, 3, 4, 5]
    assert len({made.federation_key.key for made in logged(mill, KeyActivated)}) == 1


def test_silent_members_do_not_hold_up_a_resharing() -> None:
    """An old member does not deal, a new one announces nothing: clocks close the phases."""
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 3, 4, 5, 6))
    epochs.approve(mill, (1, 2))
    for phase, silent in ((Ceremony.KEYS, 6), (Ceremony.DEALING, 3), (Ceremony.COMPLAINT, 3)):
        epochs.session_round(mill, {make_member(silent).key})
        _, transcript = resharing.under_way(mill.state)
        assert transcript.phase is phase
        assert epochs.session_elapsed(mill, (0,)) == ["accepted"]
        assert epochs.session_elapsed(mill, (0,)) == ["twice"]
        assert resharing.under_way(mill.state)[1].phase is phase
        epochs.session_elapsed(mill, (1,))
    assert epochs.standing(mill) is Stage.PROOF
    epochs.prove(mill, (0, 1, 2, 4, 5))
    epochs.activate(mill, (0, 1, 2))
    epochs.to_boundary(mill)
    assert mill.state.membership.n == 7


def test_the_clock_of_a_phase_that_is_over_closes_nothing() -> None:
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    epochs.approve(mill, (1, 2))
    _, transcript = resharing.under_way(mill.state)
    late = CeremonyElapsed(session=transcript.session, phase=int(Ceremony.KEYS))
    other = CeremonyElapsed(session=bytes(32), phase=int(Ceremony.KEYS))
    assert mill.say(mill.replicas[0], other) == ["late"]
    assert mill.say(key("replica 4"), late) == ["not-a-member"]
    epochs.session_round(mill)
    assert mill.say(mill.replicas[0], late) == ["late"]


def test_too_few_who_speak_are_another_attempt_and_at_last_the_end() -> None:
    mill = founded()
    epochs.propose(mill, (4, 5, 6, 7))
    epochs.approve(mill, (1, 2))
    sessions = set()
    for attempt in range(RESHARING_ATTEMPTS):
        _, transcript = resharing.under_way(mill.state)
        assert transcript.attempt == attempt
        sessions.add(transcript.session)
        epochs.session_round(mill, {make_member(4).key, make_member(5).key})
        epochs.session_elapsed(mill)
    assert len(sessions) == RESHARING_ATTEMPTS
    assert mill.state.change is None and mill.state.epoch == 0
    failed = logged(mill, ResharingFailed)
    assert [record.attempt for record in failed] == list(range(RESHARING_ATTEMPTS))
    assert {record.awaited for record in failed} == {(0, 1)}
    assert logged(mill, ProposalVoided)[-1].reason == VoidReason.FAILED
    epochs.change_members(mill, (0, 1, 2, 4))  # and the next one succeeds


def test_shares_that_do_not_work_prove_nothing() -> None:
    """Two of four new members give another's share: time passes, the next attempt begins."""
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    epochs.approve(mill, (1, 2))
    epochs.reshare(mill)
    for index in (0, 1):
        wrong = epochs.share_proof(mill, index + 1)
        assert mill.say(mill.replicas[index], wrong) == ["accepted"]
        assert mill.say(mill.replicas[index], wrong) == ["twice"]
    epochs.prove(mill, (2, 3))
    change, _ = resharing.under_way(mill.state)
    assert change.faulty == (0, 1) and epochs.standing(mill) is Stage.PROOF
    epochs.session_elapsed(mill)
    _, transcript = resharing.under_way(mill.state)
    assert (transcript.attempt, transcript.phase) == (1, Ceremony.KEYS)
    (failed,) = logged(mill, ResharingFailed)
    assert (failed.phase, failed.awaited) == (Ceremony.DONE, ())
    epochs.reshare(mill)
    epochs.prove(mill)
    epochs.activate(mill)
    epochs.to_boundary(mill)
    assert mill.state.epoch == 1


def test_proofs_and_shares_come_from_whom_they_must() -> None:
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    epochs.approve(mill, (1, 2))
    epochs.reshare(mill)
    said = epochs.share_proof(mill, 3)
    assert mill.say(mill.replicas[3], said) == ["not-a-member"]  # it leaves
    assert mill.say(key("replica 4"), replace(said, session=bytes(32))) == ["late"]
    assert mill.say(key("replica 4"), said) == ["accepted"]
    epochs.prove(mill, (0, 1))
    share = epochs.activation_share(mill, 3)
    assert mill.say(key("replica 4"), share) == ["not-a-member"]  # it is not there yet
    assert mill.say(mill.replicas[3], share) == ["accepted"]
    wrong = epochs.activation_share(mill, 2)
    assert mill.say(mill.replicas[0], wrong) == ["accepted"]
    epochs.activate(mill, (1,))
    change, _ = resharing.under_way(mill.state)
    assert change.faulty == (0,) and set(change.shares) == {1, 3}
    epochs.activate(mill, (2,))
    assert epochs.standing(mill) is Stage.ENDING


def test_no_clock_ends_an_activation() -> None:
    """After the proof there is no way back: else an epoch could have two certificates."""
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    epochs.approve(mill, (1, 2))
    epochs.reshare(mill)
    epochs.prove(mill)
    assert epochs.standing(mill) is Stage.ACTIVATION
    assert epochs.session_elapsed(mill) == ["wrong-stage", "wrong-stage"]
    assert mill.say(mill.replicas[0], Withdraw(proposal=bytes(32))) == ["wrong-stage"]


def test_what_members_sign_for_an_epoch_is_one_message_until_it_is_signed() -> None:
    """So these shares need no guard: the log never asks a key for two of them (THREATS.md)."""
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    epochs.approve(mill, (1, 2))
    epochs.reshare(mill)
    epochs.prove(mill)
    asked = resharing.signed_message(mill.rules, mill.state)
    said = [epochs.proposal(mill, (0, 1, 2, 5)), epochs.approval(mill), *dealt(mill)]
    for record in said:
        assert mill.say(mill.replicas[1], record)[0] in ("wrong-stage", "wrong-phase")
    epochs.activate(mill, (0,))
    mill.cycle()
    assert epochs.standing(mill) is Stage.ACTIVATION
    assert resharing.signed_message(mill.rules, mill.state) == asked
    epochs.activate(mill, (1, 2))
    (record,) = [made.federation_key for made in logged(mill, KeyActivated)[1:]]
    assert (record.epoch, record.message) == (1, asked)


def dealt(mill: Mill) -> tuple[Record, ...]:
    """The dealings of the session that is done."""
    _, transcript = resharing.under_way(mill.state)
    return tuple(dealing.message for dealing in transcript.dealings)


def test_nothing_leads_back_from_the_activation_of_the_first_key() -> None:
    mill = Mill(genesis=QUICK)
    MILLS.append(mill)
    while mill.phase is Phase.KEYGEN:
        mill.ceremony_round()
    wanted = mill.wanted()
    assert wanted is not None
    assert mill.time_out() == ["untimed", "untimed"]
    for dealing in mill.state.transcript.dealings:
        assert mill.say(mill.replicas[0], dealing.message) == ["wrong-phase"]
    mill.sign((0, 1))
    assert mill.wanted() == wanted
    mill.sign((2,))
    assert mill.state.federation_key is not None
    assert mill.state.federation_key.message == wanted.message


def test_a_resharing_holds_no_cycle_up() -> None:
    mill = founded()
    epochs.propose(mill, (0, 1, 2, 4))
    mill.to_training()
    epochs.approve(mill, (1, 2))
    mill.commit()
    epochs.session_round(mill)
    mill.reveal()
    mill.sign()
    epochs.session_round(mill)
    assert mill.phase is Phase.EVALUATION
    mill.evaluate()
    epochs.session_round(mill)
    mill.sign()
    epochs.prove(mill)
    mill.aggregate()
    mill.sign()
    epochs.activate(mill)
    mill.witness()
    assert mill.phase is Phase.FINALITY
    epochs.to_boundary(mill)
    assert mill.phase is Phase.FINALITY and mill.state.epoch == 1
    mill.sign()
    assert mill.phase is Phase.REGISTRATION and mill.state.tip.height == 1


def test_a_certificate_names_the_newest_epoch_key() -> None:
    mill = founded()
    mill.cycle()
    epochs.to_successor(mill, (0, 1, 2, 4))
    successor = mill.state.successor
    mill.to_training()
    assert successor is not None
    epochs.to_boundary(mill)
    mill.commit()
    mill.reveal()
    mill.sign()
    mill.evaluate()
    mill.sign()
    mill.aggregate()
    mill.sign()
    certificate, _ = decode_certificate(logged(mill, Certified)[-1].certificate)
    assert certificate.next_federation == successor.federation_key.digest
    assert certificate.epoch == 1


def test_where_members_sign_blocks_their_keys_stay() -> None:
    """Profile signet: another challenge would be another network.  The auditor says the same."""
    slow = {"profile": SIGNET.number, "block_ms": 60_000, "halving_interval": 210_000}
    genesis = make_genesis(params=replace(QUICK.params, **slow))
    mill = Mill(genesis=genesis).found()
    assert epochs.propose(mill, (0, 1, 2, 4)) == ["no-members"]
    assert epochs.propose(mill, (0, 1, 2, 3, 4)) == ["no-members"]
    assert epochs.propose(mill, (3, 1, 2, 0)) == ["accepted"]
    report = audit(encode(genesis), mill.entries)
    assert report.passed and report.log_root == mill.state.log.root, report.to_text()
