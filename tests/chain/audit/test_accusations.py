"""What a replica signed and should not have: named, with the entry, without failing the audit."""

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.dkg import participant
from bft.dkg.messages import DkgComplaint, DkgDealing, Phase
from chain.audit.findings import Finding, Severity
from chain.audit.replay import audit
from chain.records.score_log import Ordered, decode_leaf
from tests.chain.audit.mill import Mill


def accusations(mill: Mill) -> tuple[Finding, ...]:
    report = audit(encode(mill.genesis), mill.entries)
    assert report.passed, report.to_text()
    assert all(finding.severity is Severity.ACCUSATION for finding in report.findings)
    return report.findings


def newest_batch(mill: Mill) -> int:
    """Index of the entry with the newest batch."""
    return max(
        entry.index for entry in mill.entries if isinstance(decode_leaf(entry.leaf), Ordered)
    )


def test_a_replica_that_lies_in_its_table_is_named_with_the_entry_of_its_table() -> None:
    honest = Mill().found().cycle()
    mill = Mill().found().to_evaluation()
    mill.evaluate(liar=2)
    entry = newest_batch(mill)
    mill.sign()
    mill.aggregate()
    mill.sign()
    mill.witness()
    mill.sign()
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas, finding.entry) == ("evaluation", (2,), entry)
    assert "3 of 3 measurements" in finding.text and "1000 micro-nats are tolerated" in finding.text
    assert mill.state.tip.hash != honest.state.tip.hash  # other medians, by a few micro-nats
    winners = [audit(encode(m.genesis), m.entries).cycles[0].winner for m in (honest, mill)]
    assert winners[0] == winners[1]  # and yet nobody else wins


def test_a_measurement_at_the_tolerance_is_honest_and_one_beyond_is_not() -> None:
    for excess, expected in ((0, 0), (1, 1)):
        mill = Mill().found().to_evaluation()
        medians = mill.table(1)
        far = mill.rules.params.tolerance_micronats + excess
        rows = tuple(replace(row, gain=row.gain + far) for row in medians.rows)
        mill.say(mill.replicas[3], replace(medians, rows=rows))
        mill.order(*(mill.request(mill.replicas[index], medians) for index in range(3)))
        assert len(accusations(mill)) == expected


def test_a_wrong_validity_is_a_deviation_however_near_the_numbers_are() -> None:
    mill = Mill().found().to_evaluation()
    rows = tuple(replace(row, valid=0) for row in mill.table(0).rows)
    mill.say(mill.replicas[0], replace(mill.table(0), rows=rows))
    mill.all_say(mill.table, (1, 2, 3))
    (finding,) = accusations(mill)
    assert finding.replicas == (0,) and "by its validity" in finding.text


def test_a_lying_table_that_comes_too_late_to_count_is_evidence_all_the_same() -> None:
    mill = Mill().found().to_evaluation()
    mill.all_say(mill.table, (0, 1, 2))
    late = mill.lying_table(3)
    mill.time_out()
    assert mill.say(mill.replicas[3], late) == ["wrong-phase"]
    (finding,) = accusations(mill)
    assert (finding.replicas, finding.entry) == ((3,), newest_batch(mill))


def test_the_same_lie_told_twice_is_one_finding() -> None:
    mill = Mill().found().to_evaluation()
    lie = mill.lying_table(3)
    mill.evaluate(liar=3)
    mill.say(mill.replicas[3], lie)
    assert len(accusations(mill)) == 1


def test_a_bad_share_has_an_author_and_the_signature_is_made_without_it() -> None:
    mill = Mill().found().to_training()
    mill.commit()
    mill.reveal()
    mill.say(mill.replicas[1], mill.bad_share(1))
    entry = newest_batch(mill)
    mill.sign((0, 2, 3))
    mill.evaluate()
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas, finding.entry) == ("bad-share", (1,), entry)
    assert "beacon share for subject 2" in finding.text


def test_a_bad_share_that_nobody_needed_any_more_is_named_too() -> None:
    mill = Mill().found().to_evaluation()
    mill.evaluate()
    late = mill.bad_share(3)
    mill.sign((0, 1, 2))
    mill.say(mill.replicas[3], late)
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas) == ("bad-share", (3,))


def test_a_bad_finality_share_is_named_after_the_cycle_has_closed() -> None:
    mill = Mill().found().to_block()
    mill.witness()
    late = mill.bad_share(3)
    mill.sign((0, 1, 2))
    assert mill.state.cycle == 2
    mill.say(mill.replicas[3], late)
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas, finding.cycle) == ("bad-share", (3,), 1)


def test_a_late_but_good_share_is_no_finding() -> None:
    mill = Mill().found().to_block()
    mill.witness()
    late = mill.share(3)
    mill.sign((0, 1, 2))
    assert mill.say(mill.replicas[3], late) == ["wrong-phase"]
    assert accusations(mill) == ()


def test_a_vote_for_another_model_is_named_in_time_or_late() -> None:
    mill = Mill().found().to_aggregation()
    mill.aggregate(dissenter=0)
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas) == ("snapshot", (0,))

    mill = Mill().found().to_aggregation()
    late = mill.vote(3, sha256(b"other"))
    mill.all_say(mill.vote, (0, 1, 2))
    mill.say(mill.replicas[3], late)
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas) == ("snapshot", (3,))


def dealing(mill: Mill) -> DkgDealing:
    """What replica 3 would deal if it were honest."""
    (message,) = mill.owed(3)
    assert isinstance(message, DkgDealing)
    return message


def test_a_void_dealing_is_named_and_the_key_is_made_without_it() -> None:
    mill = Mill()
    mill.ceremony_round()
    honest = dealing(mill)
    mill.ceremony_round((0, 1, 2))
    mill.say(mill.replicas[3], replace(honest, proof_scalar=bytes(31) + b"\x01"))
    entry = newest_batch(mill)
    (finding,) = accusations(mill.found().cycle())
    assert (finding.rule, finding.replicas) == ("dkg-void-dealing", (3,))
    assert (finding.entry, finding.cycle) == (entry, 0)


def test_a_dealer_of_a_bad_share_is_convicted_by_the_complaint() -> None:
    mill = Mill()
    mill.ceremony_round()
    honest = dealing(mill)
    sealed = (honest.ciphertexts[1], honest.ciphertexts[0], *honest.ciphertexts[2:])
    mill.ceremony_round((0, 1, 2))
    mill.say(mill.replicas[3], replace(honest, ciphertexts=sealed))
    assert mill.state.transcript.phase is Phase.COMPLAINT
    mill.found()
    # Once its dealing is out, nobody can complain about it again.
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas) == ("dkg-bad-share", (3,))
    assert mill.state.federation_key is not None
    assert mill.state.federation_key.qualified == (0, 1, 2)


def test_a_false_complaint_is_held_against_its_author() -> None:
    mill = Mill()
    mill.ceremony_round()
    mill.ceremony_round()
    transcript = mill.state.transcript
    seed = mill.secrets(0).seed_for(transcript.session)
    assert seed is not None
    secret = participant._one_time_secret(transcript.session, 2, seed)
    complaint = DkgComplaint(session=transcript.session, dealer=2, secret_key=secret)
    assert mill.say(mill.replicas[0], complaint) == ["accepted"]
    (finding,) = accusations(mill.found())
    assert (finding.rule, finding.replicas) == ("dkg-false-complaint", (0,))


def test_a_vote_for_a_header_that_no_block_can_have_is_held_against_its_author() -> None:
    """Bits, version and work show in the header alone; one such vote elects nothing."""
    mill = Mill().found().to_block()
    header = mill.seen().header
    spoilt = header[:72] + bytes(8)  # no bits, no nonce
    mill.say(mill.replicas[3], mill.seen(spoilt))
    entry = newest_batch(mill)
    mill.order(*(mill.request(mill.replicas[index], mill.seen(header)) for index in range(3)))
    (finding,) = accusations(mill)
    assert (finding.rule, finding.replicas, finding.entry) == ("block-header", (3,), entry)
    assert "bits 0x0" in finding.text
