"""The auditor follows changes of members from the log alone, and names who broke their rules."""

from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from bft.dkg import participant
from bft.dkg.messages import DkgComplaint, DkgDealing
from bft.dkg.messages import Phase as Ceremony
from bft.errors import BadSignature, Refused
from chain.audit.anchor import derive_key
from chain.audit.findings import AuditReport, Finding
from chain.audit.replay import audit
from chain.epochs import follow_epochs, verify_epoch
from chain.params import MINIMAL
from chain.records.federation import FederationKey
from chain.records.score_log import (
    KeyActivated,
    LogEntry,
    MembersApproved,
    Ordered,
    SharingProven,
    decode_leaf,
    encode_leaf,
)
from coordinator.cycle.phases import resharing
from tests.chain.audit import epochs
from tests.chain.audit.mill import Mill, make_genesis, make_member

QUICK = make_genesis(params=replace(MINIMAL, checkpoint_interval=4, window=8))
LISTS = ((0, 1, 2, 4), (0, 1, 2, 4, 5, 6, 7), (0, 1, 2, 4, 5, 6, 7), (7, 5, 1, 0))
"""Replace, grow, refresh, shrink."""


@cache
def log() -> tuple[LogEntry, ...]:
    """Four changes of members, a cycle before, between and after them."""
    mill = Mill(genesis=QUICK).found().cycle()
    for numbers in LISTS:
        epochs.change_members(mill, numbers)
        mill.cycle()
    return tuple(mill.entries)


@cache
def certificates() -> tuple[FederationKey, ...]:
    """Of all epochs in the log."""
    return tuple(
        record.federation_key
        for record in (decode_leaf(entry.leaf) for entry in log())
        if isinstance(record, KeyActivated)
    )


def report_on(entries: tuple[LogEntry, ...] | list[LogEntry]) -> AuditReport:
    return audit(encode(QUICK), entries)


def position(kind: type[Record], skip: int = 0) -> int:
    """Index of the log's first leaf of this kind, after `skip` others."""
    return [e.index for e in log() if isinstance(decode_leaf(e.leaf), kind)][skip]


def first_broken(entries: tuple[LogEntry, ...] | list[LogEntry]) -> tuple[int, str]:
    """(entry, rule) of the first thing that does not follow."""
    finding = report_on(entries).broken[0]
    return finding.entry, finding.rule


def test_a_log_of_five_epochs_follows_from_the_genesis_record() -> None:
    report = report_on(log())
    assert report.passed and not report.findings
    assert [(epoch.epoch, epoch.replicas) for epoch in report.epochs] == [
        (0, 4),
        (1, 4),
        (2, 7),
        (3, 7),
        (4, 4),
    ]
    assert report.replicas == 4 and len(report.cycles) == 5
    boundaries = [epoch.boundary for epoch in report.epochs]
    assert boundaries == sorted(boundaries) and all(last % 4 == 0 for last in boundaries)
    assert "epoch 2: 7 replicas, from batch" in report.to_text()


@pytest.mark.parametrize(
    ("kind", "change", "rule"),
    [
        (KeyActivated, lambda r: replace(r, boundary=r.boundary + 4), "key-activated"),
        (KeyActivated, lambda r: replace(r, boundary=r.boundary - 4), "key-activated"),
        (
            KeyActivated,
            lambda r: replace(
                r,
                federation_key=replace(
                    r.federation_key, members=tuple(make_member(n) for n in range(4))
                ),
            ),
            "key-activated",
        ),
        (MembersApproved, lambda r: replace(r, approvals=(0, 1, 3)), "members-approved"),
        (SharingProven, lambda r: replace(r, attempt=1), "sharing-proven"),
    ],
)
def test_a_leaf_about_members_that_does_not_follow_is_named(
    kind: type[Record], change: Callable[[Record], Record], rule: str
) -> None:
    entries = list(log())
    index = position(kind, 1 if kind is KeyActivated else 0)
    leaf = encode_leaf(change(decode_leaf(entries[index].leaf)))
    entries[index] = replace(entries[index], leaf=leaf)
    assert first_broken(entries) == (index, rule)


def test_each_batch_is_decided_by_the_members_of_its_epoch() -> None:
    """The last batch of an epoch under the next one's proof, and the other way round."""
    mill = Mill(genesis=QUICK).found()
    epochs.to_successor(mill, (0, 1, 4, 3))
    ordinary = mill.state
    epochs.to_boundary(mill)
    mill.order()
    ordered = [e for e in mill.entries if isinstance(decode_leaf(e.leaf), Ordered)]
    ahead = mill.state
    for entry, state in ((ordered[-1], ordinary), (ordered[-2], ahead)):
        record = decode_leaf(entry.leaf)
        assert isinstance(record, Ordered)
        mill.state = state
        entries = list(mill.entries)
        wrong = mill.proof(record.sequence, record.batch)
        entries[entry.index] = replace(entry, proof=wrong)
        assert first_broken(entries) == (entry.index, "proof")
    assert report_on(mill.entries).passed


def test_proofs_are_checked_under_the_right_epoch_although_nothing_follows_any_more() -> None:
    """A certificate in the log proves itself, so a break before it does not hide its epoch."""
    entries = list(log())
    entries[position(MembersApproved)] = replace(
        entries[position(MembersApproved)], leaf=encode_leaf(decode_leaf(entries[-1].leaf))
    )
    report = report_on(entries)
    assert {finding.rule for finding in report.broken} == {"members-approved", "log-root"}
    assert len(report.epochs) == 5


# Who broke a rule.


def in_session(numbers: tuple[int, ...]) -> Mill:
    """Resharing to these has begun."""
    mill = Mill(genesis=QUICK).found()
    epochs.propose(mill, numbers)
    epochs.approve(mill, (1, 2))
    return mill


def finish(mill: Mill) -> Finding:
    """The change of members comes to its end; the one accusation that stands in the log."""
    if mill.state.change is not None:
        _, transcript = resharing.under_way(mill.state)
        if transcript.phase is not Ceremony.DONE:
            epochs.reshare(mill)
        change, _ = resharing.under_way(mill.state)
        if change.proof is None:
            members = range(len(change.proposal.members))
            epochs.prove(mill, (i for i in members if i not in {*change.shares, *change.faulty}))
        change, _ = resharing.under_way(mill.state)
        rest = [i for i in range(4) if i not in {*change.shares, *change.faulty}]
        epochs.activate(mill, rest)
    epochs.to_boundary(mill)
    report = report_on(mill.entries)
    assert report.passed
    (finding,) = report.accusations
    return finding


def newest_batch(mill: Mill) -> int:
    """Index of the newest ordered entry."""
    return [e.index for e in mill.entries if e.proof][-1]


def dealing(mill: Mill, person: bytes) -> DkgDealing:
    """What this member would deal if it were honest."""
    (message,) = epochs.session_messages(mill, person)
    assert isinstance(message, DkgDealing)
    return message


def test_a_member_that_does_not_deal_its_own_share_is_named() -> None:
    mill = in_session((0, 1, 2, 4))
    epochs.session_round(mill)
    liar, other = mill.replicas[3], mill.replicas[2]
    honest = dealing(mill, other.public_key)
    assert mill.say(liar, honest) == ["accepted"]  # a copy: its C_0 is another's share key
    entry = newest_batch(mill)
    finding = finish(mill)
    assert (finding.rule, finding.replicas, finding.epoch) == ("dkg-void-dealing", (3,), 0)
    assert finding.entry == entry


def test_a_bad_share_for_a_joiner_convicts_the_member_that_dealt_it() -> None:
    mill = in_session((0, 1, 2, 4))
    epochs.session_round(mill)
    liar = mill.replicas[1]
    honest = dealing(mill, liar.public_key)
    epochs.session_round(mill, {liar.public_key})
    sealed = (*honest.ciphertexts[:2], honest.ciphertexts[3], honest.ciphertexts[2])
    assert mill.say(liar, replace(honest, ciphertexts=sealed)) == ["accepted"]
    finding = finish(mill)
    assert (finding.rule, finding.replicas, finding.epoch) == ("dkg-bad-share", (1,), 0)
    assert mill.state.federation_key is not None
    assert 1 not in mill.state.federation_key.qualified


def test_a_joiners_false_complaint_is_held_against_it_by_its_new_index() -> None:
    mill = in_session((0, 1, 2, 4))
    epochs.session_round(mill)
    epochs.session_round(mill)
    _, transcript = resharing.under_way(mill.state)
    joiner = make_member(4).key
    seed = mill.secrets_in(transcript, joiner).seed_for(transcript.session)
    assert seed is not None
    secret = participant._one_time_secret(transcript.session, 2, seed)
    complaint = DkgComplaint(session=transcript.session, dealer=2, secret_key=secret)
    assert mill.say(mill.people[joiner], complaint) == ["accepted"]
    finding = finish(mill)
    assert (finding.rule, finding.replicas, finding.epoch) == ("dkg-false-complaint", (3,), 1)
    assert "[signed by replica 3 of epoch 1]" in finding.line()


def test_a_new_share_that_does_not_work_is_named() -> None:
    mill = in_session((0, 1, 2, 4))
    epochs.reshare(mill)
    wrong = epochs.share_proof(mill, 2)
    mill.say(mill.people[make_member(4).key], wrong)
    entry = newest_batch(mill)
    finding = finish(mill)
    assert (finding.rule, finding.replicas, finding.epoch) == ("bad-share", (3,), 1)
    assert finding.entry == entry and "proof of shares" in finding.text


def test_a_bad_share_of_a_certificate_is_named() -> None:
    mill = in_session((0, 1, 2, 4))
    epochs.reshare(mill)
    epochs.prove(mill)
    mill.say(mill.replicas[2], epochs.activation_share(mill, 0))
    finding = finish(mill)
    assert (finding.rule, finding.replicas, finding.epoch) == ("bad-share", (2,), 0)
    assert "certificate of epoch 1" in finding.text


def test_a_share_under_the_sharing_before_is_nobodys_fault() -> None:
    """It was given in time and ordered after the boundary: refused, and held against nobody."""
    mill = Mill(genesis=QUICK).found().to_training()
    epochs.to_successor(mill, (0, 1, 2, 4))
    mill.commit()
    mill.reveal()
    late = mill.request(mill.replicas[0], mill.share(0))
    epochs.to_boundary(mill)
    assert mill.order(late) == ["late"]
    mill.sign()
    assert not report_on(mill.entries).findings


# The chain of epochs.


def test_the_epochs_follow_from_genesis_record_and_key() -> None:
    made = certificates()
    key = made[0].key
    assert follow_epochs(QUICK, key, made) == made
    assert follow_epochs(QUICK, key, made[2:], made[:2]) == made
    assert follow_epochs(QUICK, key, made[1:], made[:3]) == made
    assert made[-1].members == tuple(make_member(n) for n in LISTS[-1])
    verify_epoch(made[-1], key, QUICK.chain_id)  # alone, by whoever knows chain and key


def test_what_is_no_next_epoch_is_refused_by_name() -> None:
    made = certificates()
    key = made[0].key
    for served, code in (
        (made[1:], "gap"),
        ((made[0], made[2]), "gap"),
        ((replace(made[0], chain_id=bytes(32)),), "wrong-chain"),
        ((replace(made[0], commitments=made[1].commitments),), "bad-signature"),
        ((made[0], replace(made[1], commitments=made[2].commitments)), "wrong-threshold"),
        ((made[0], replace(made[1], members=made[2].members)), "wrong-threshold"),
        ((made[0], replace(made[1], members=made[1].members[::-1])), "bad-signature"),
        ((made[0], replace(made[1], activation=made[2].activation)), "bad-signature"),
        ((made[0], replace(made[1], members=made[1].members[:2])), "wrong-threshold"),
    ):
        with pytest.raises((Refused, BadSignature)) as caught:
            follow_epochs(QUICK, key, served)
        assert getattr(caught.value, "code", "bad-signature") == code
    with pytest.raises(Refused, match="federation key"):
        follow_epochs(QUICK, bytes(96), made)
    with pytest.raises(Refused, match="another certificate"):
        follow_epochs(QUICK, key, (replace(made[1], qualified=()),), made)


def test_epoch_0_has_the_members_of_the_genesis_record() -> None:
    """A certificate of epoch 0 with others was signed by nobody; nor is a true one of 1 a 0."""
    made = certificates()
    other = replace(QUICK, members=QUICK.members[::-1])
    with pytest.raises(Refused, match="chain"):
        follow_epochs(other, made[0].key, made)


def test_the_key_follows_from_the_beginning_of_the_log() -> None:
    entries = [encode(entry) for entry in log()]
    ceremony = position(KeyActivated)
    assert derive_key(encode(QUICK), entries) == certificates()[0].key
    assert derive_key(encode(QUICK), entries[: ceremony + 1]) == certificates()[0].key
    with pytest.raises(Refused, match="ends before"):
        derive_key(encode(QUICK), entries[:ceremony])
    false = replace(log()[ceremony], leaf=log()[position(KeyActivated, 1)].leaf)
    with pytest.raises(Refused, match="key-activated"):
        derive_key(encode(QUICK), [*entries[:ceremony], encode(false)])
