"""What does not follow is found, named by its entry, and fails the audit."""

from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError
from bft.ordering.batch import Batch
from bft.ordering.proof import QuorumProof
from bft.ordering.request import seal_request
from chain.audit.findings import FINDINGS_MAX, AuditReport, Severity
from chain.audit.replay import Auditor, audit
from chain.records.certificate import BODY_BYTES
from chain.records.operations import encode_operation
from chain.records.score_log import (
    Aggregated,
    Assigned,
    BeaconRound,
    BlockFinal,
    Certified,
    Committed,
    CycleClosed,
    Drawn,
    KeyActivated,
    LogEntry,
    Ordered,
    Revealed,
    Scored,
    decode_leaf,
    encode_leaf,
)
from chain.records.votes import Elapsed
from tests.chain.audit.mill import Mill, key, make_genesis


@cache
def log() -> tuple[bytes, tuple[LogEntry, ...]]:
    """The genesis record and the log of one whole cycle, and of a second that has just opened."""
    mill = Mill().found().cycle().to_training()
    return encode(mill.genesis), tuple(mill.entries)


def position(kind: type[Record], skip: int = 0) -> int:
    """Index of the log's first leaf of this kind, after `skip` others."""
    places = [e.index for e in log()[1] if isinstance(decode_leaf(e.leaf), kind)]
    return places[skip]


def with_leaf(index: int, change: Callable[[Record], Record]) -> list[LogEntry]:
    """The log with one leaf changed."""
    entries = list(log()[1])
    leaf = encode_leaf(change(decode_leaf(entries[index].leaf)))
    assert leaf != entries[index].leaf
    entries[index] = replace(entries[index], leaf=leaf)
    return entries


def replayed(entries: list[LogEntry]) -> AuditReport:
    return audit(log()[0], entries)


def broken_at(report: AuditReport, index: int, rule: str) -> str:
    """The first break must be this one; its text."""
    first = report.broken[0]
    assert not report.passed
    assert (first.entry, first.rule) == (index, rule), report.to_text()
    return first.text


def test_the_unchanged_log_passes() -> None:
    assert replayed(list(log()[1])).passed


# Derived leaves.


@pytest.mark.parametrize(
    ("kind", "field", "value", "text"),
    [
        (Assigned, "seed", bytes(32), "seed is "),
        (Committed, "units", (0, 1), "units has 2 items; 3 follow"),
        (Revealed, "units", (0, 1, 3), "units[2] is 3; 2 follows"),
        (BeaconRound, "round", 3, "round is 3; 2 follows"),
        (Scored, "tickets_total", 1, "tickets_total is 1; "),
        (Scored, "evaluators", (0, 1, 2), "evaluators has 3 items; 4 follow"),
        (Scored, "contributions_root", bytes(32), "contributions_root is "),
        (Drawn, "ranks", (), "ranks has 0 items; 3 follow"),
        (Aggregated, "loss", 7, "loss is 7; 1000001 follows"),
        (BlockFinal, "height", 2, "height is 2; 1 follows"),
        (CycleClosed, "reason", 6, "reason is 6; 0 follows"),
    ],
)
def test_a_derived_leaf_that_does_not_follow_is_named_by_its_field(
    kind: type[Record], field: str, value: object, text: str
) -> None:
    index = position(kind)
    report = replayed(with_leaf(index, lambda leaf: replace(leaf, **{field: value})))
    rule = kind.TAG.removeprefix("log.").partition("/")[0]
    assert text in broken_at(report, index, rule)


def test_a_score_that_somebody_raised_is_named_by_its_row() -> None:
    index = position(Scored)

    def raise_score(leaf: Record) -> Record:
        assert isinstance(leaf, Scored)
        rows = (leaf.rows[0], replace(leaf.rows[1], tickets=leaf.rows[1].tickets + 1), leaf.rows[2])
        return replace(leaf, rows=rows)

    text = broken_at(replayed(with_leaf(index, raise_score)), index, "scored")
    assert "rows[1].tickets is " in text


def test_two_ranks_that_changed_places_do_not_follow_from_the_beacon() -> None:
    index = position(Drawn)

    def swap(leaf: Record) -> Record:
        assert isinstance(leaf, Drawn)
        return replace(leaf, ranks=(leaf.ranks[1], leaf.ranks[0], *leaf.ranks[2:]))

    assert "ranks[0].miner" in broken_at(replayed(with_leaf(index, swap)), index, "drawn")


def test_a_certificate_for_another_winner_neither_follows_nor_verifies() -> None:
    index = position(Certified)

    def forge(leaf: Record) -> Record:
        assert isinstance(leaf, Certified)
        body = leaf.certificate[:BODY_BYTES]
        forged = body.replace(key("miner 0").public_key, key("thief").public_key)
        forged = forged.replace(key("miner 1").public_key, key("thief").public_key)
        forged = forged.replace(key("miner 2").public_key, key("thief").public_key)
        return replace(leaf, certificate=forged + leaf.certificate[BODY_BYTES:])

    report = replayed(with_leaf(index, forge))
    broken_at(report, index, "certified")
    assert [finding.rule for finding in report.broken] == ["certified", "certified-signature"]


def test_a_federation_key_that_the_ceremony_did_not_make_is_refused() -> None:
    index = position(KeyActivated)

    def other(leaf: Record) -> Record:
        assert isinstance(leaf, KeyActivated)
        return replace(leaf, federation_key=replace(leaf.federation_key, qualified=(0, 1, 3)))

    text = broken_at(replayed(with_leaf(index, other)), index, "key-activated")
    assert "federation_key.qualified" in text


def test_a_missing_derived_leaf_is_named_at_the_batch_that_stands_in_its_place() -> None:
    entries = list(log()[1])
    index = position(CycleClosed)
    kept = [replace(e, index=i) for i, e in enumerate(entries[:index] + entries[index + 1 :])]
    text = broken_at(replayed(kept), index, "missing")
    assert text == "the next batch stands there; a CycleClosed follows"


def test_a_derived_leaf_too_many_is_named() -> None:
    entries = list(log()[1])
    index = position(CycleClosed) + 1
    extra = replace(entries[index - 1], index=index)
    later = [replace(e, index=e.index + 1) for e in entries[index:]]
    text = broken_at(replayed([*entries[:index], extra, *later]), index, "extra")
    assert text == "a CycleClosed stands there; nothing but a batch follows"


def test_a_derived_leaf_of_another_kind_is_named_with_the_one_that_follows() -> None:
    index = position(Drawn)
    report = replayed(with_leaf(index, lambda _: CycleClosed(cycle=1, reason=4)))
    assert "a CycleClosed stands there; a Drawn follows" in broken_at(report, index, "drawn")


def test_a_log_that_ends_before_its_last_derived_leaf_is_broken() -> None:
    index = position(CycleClosed)
    text = broken_at(replayed(list(log()[1][:index])), index, "end")
    assert text == "the log ends here; a CycleClosed follows"


def test_a_log_may_end_after_any_batch_with_all_that_follows_from_it() -> None:
    genesis, entries = log()
    auditor = Auditor(genesis)
    for entry, following in zip(entries, [*entries[1:], None], strict=True):
        auditor.take(entry)
        whole = following is None or isinstance(decode_leaf(following.leaf), Ordered)
        assert auditor.report().passed == whole
    assert Auditor(genesis).report().passed  # an empty log claims nothing


# Ordered leaves.


def test_a_batch_that_no_strong_quorum_decided_is_refused() -> None:
    index = position(Ordered, skip=4)
    entries = list(log()[1])
    proof = decode(QuorumProof, entries[index].proof)
    entries[index] = replace(entries[index], proof=encode(replace(proof, signatures=())))
    text = broken_at(replayed(entries), index, "proof")
    assert "0 commit signatures came; 3 expected" in text


def test_one_replica_that_signs_thrice_is_no_quorum() -> None:
    index = position(Ordered, skip=4)
    entries = list(log()[1])
    proof = decode(QuorumProof, entries[index].proof)
    thrice = replace(proof, signatures=(proof.signatures[0],) * 3)
    entries[index] = replace(entries[index], proof=encode(thrice))
    broken_at(replayed(entries), index, "proof")


def test_two_batches_that_changed_places_are_found_by_their_sequence() -> None:
    entries = list(log()[1])
    first = position(Ordered, skip=2)
    assert isinstance(decode_leaf(entries[first + 1].leaf), Ordered)
    a, b = entries[first], entries[first + 1]
    entries[first], entries[first + 1] = replace(b, index=first), replace(a, index=first + 1)
    broken_at(replayed(entries), first, "sequence")


def test_a_batch_that_was_left_out_is_found_by_the_gap() -> None:
    entries = list(log()[1])
    gone = position(Ordered, skip=2)
    kept = [replace(e, index=i) for i, e in enumerate(entries[:gone] + entries[gone + 1 :])]
    text = broken_at(replayed(kept), gone, "sequence")
    assert text == "batch 4 stands there; 3 follows"
    assert [f.rule for f in replayed(kept).broken] == ["sequence"]  # no key was derived


def test_another_agreed_time_is_refused() -> None:
    index = position(Ordered, skip=5)

    def later(leaf: Record) -> Record:
        assert isinstance(leaf, Ordered)
        return replace(leaf, agreed_ms=leaf.agreed_ms + 1)

    broken_at(replayed(with_leaf(index, later)), index, "time")


def test_a_gap_in_the_index_is_named() -> None:
    entries = list(log()[1])
    entries[9] = replace(entries[9], index=10)
    assert broken_at(replayed(entries), 9, "index") == "index 10 stands there; 9 follows"


def test_a_derived_leaf_with_a_proof_is_refused() -> None:
    index = position(Drawn)
    entries = list(log()[1])
    entries[index] = replace(entries[index], proof=b"x")
    broken_at(replayed(entries), index, "derived-proof")


def decided(mill: Mill, *requests: bytes) -> list[LogEntry]:
    """The mill's log with one more batch, which its quorum signed without looking."""
    sequence, now_ms = mill.state.sequence + 1, mill.now_ms + 1
    batch = encode(Batch(timestamp_ms=now_ms, requests=requests))
    leaf = encode_leaf(Ordered(sequence=sequence, agreed_ms=now_ms, batch=batch))
    entry = LogEntry(index=len(mill.entries), leaf=leaf, proof=mill.proof(sequence, batch))
    return [*mill.entries, entry]


def test_a_decided_request_must_be_signed_by_its_client_for_this_chain() -> None:
    mill = Mill().found()
    said = encode_operation(Elapsed(cycle=1, phase=2, attempt=0))
    replica, thief = mill.replicas[0], key("thief")
    foreign = make_genesis(7).chain_id
    chain_id = mill.rules.chain_id
    for request in (
        seal_request(chain_id, replica.public_key, 9_999, said, thief.sign),
        seal_request(foreign, replica.public_key, 9_999, said, replica.sign),
        b"no request",
    ):
        report = audit(encode(mill.genesis), decided(mill, request))
        text = broken_at(report, len(mill.entries), "request")
        assert "request 0 of the decided batch does not stand" in text
        assert report.broken[0].replicas == (0, 1, 2)  # they signed for this batch


def test_a_decided_batch_must_be_one() -> None:
    mill = Mill().found()
    sequence = mill.state.sequence + 1
    leaf = encode_leaf(Ordered(sequence=sequence, agreed_ms=mill.now_ms, batch=b"nonsense"))
    entry = LogEntry(index=len(mill.entries), leaf=leaf, proof=mill.proof(sequence, b"nonsense"))
    report = audit(encode(mill.genesis), [*mill.entries, entry])
    broken_at(report, len(mill.entries), "batch")


def test_a_time_that_no_certificate_can_hold_is_a_break_and_no_crash() -> None:
    mill = Mill().found().to_aggregation()
    sequence, late_ms = mill.state.sequence + 1, 2**62
    votes = [mill.request(mill.replicas[index], mill.vote(index)) for index in range(3)]
    batch = encode(Batch(timestamp_ms=late_ms, requests=tuple(votes)))
    leaf = encode_leaf(Ordered(sequence=sequence, agreed_ms=late_ms, batch=batch))
    entry = LogEntry(index=len(mill.entries), leaf=leaf, proof=mill.proof(sequence, batch))
    report = audit(encode(mill.genesis), [*mill.entries, entry])
    assert "leads to no certificate" in broken_at(report, len(mill.entries), "derivation")


# The walk.


def test_after_the_first_break_signatures_and_proofs_are_still_checked_to_the_end() -> None:
    index, later = position(Scored), position(Ordered, skip=14)
    entries = with_leaf(index, lambda leaf: replace(leaf, tickets_total=1))
    entries[later] = replace(entries[later], proof=b"")
    report = replayed(entries)
    assert [(f.entry, f.rule) for f in report.broken] == [
        (index, "scored"),
        (position(Certified), "log-root"),
        (later, "proof"),
    ]


def test_a_copy_that_was_altered_is_not_the_log_that_the_federation_signed() -> None:
    """The certificate of the same cycle names the root over all leaves before it."""
    index = position(Ordered, skip=6)
    entries = with_leaf(index, lambda leaf: replace(leaf, sequence=99))
    assert replayed(entries).broken[-1].rule == "log-root"
    assert "over the first" in replayed(entries).broken[-1].text


def test_encoded_and_decoded_entries_give_the_same_report() -> None:
    genesis, entries = log()
    assert audit(genesis, [encode(entry) for entry in entries]) == audit(genesis, entries)


def test_an_entry_that_cannot_be_read_is_named_and_leaves_no_root() -> None:
    genesis, entries = log()
    encoded = [encode(entry) for entry in entries]
    encoded[7] = encoded[7][:-1]
    report = audit(genesis, encoded)
    broken_at(report, 7, "entry")
    assert report.log_root is None and "unknown" in report.to_text()


def test_the_log_of_another_chain_fails_at_its_first_batch() -> None:
    report = audit(encode(make_genesis(7)), log()[1])
    broken_at(report, 0, "proof")


def test_what_is_no_genesis_record_is_the_operators_mistake() -> None:
    with pytest.raises(ConfigError, match="genesis record"):
        audit(b"nonsense", [])
    unfounded = replace(make_genesis(), version=2)
    with pytest.raises(ConfigError, match="genesis version 2"):
        audit(encode(unfounded), [])


def test_a_report_lists_so_many_findings_and_counts_the_rest() -> None:
    report = audit(log()[0], [b""] * (FINDINGS_MAX + 1))
    assert len(report.findings) == FINDINGS_MAX and report.findings_left_out == 1
    assert report.breaks == FINDINGS_MAX + 1
    assert "1 more is not listed" in report.to_text()


def test_a_report_is_plain_json_and_says_the_verdict_first() -> None:
    report = replayed(with_leaf(position(Drawn), lambda leaf: replace(leaf, ranks=())))
    told = report.to_json()
    assert next(iter(told)) == "passed" and told["passed"] is False
    assert told["chain_id"] == report.chain_id.hex()
    assert told["findings"][0]["severity"] == Severity.BROKEN.value
    assert told["cycles"][0]["cycle"] == 1 and told["cycles"][0]["winner"] is None
    assert report.to_text().splitlines()[-1] == "FAILED: 2 findings break the log"


def test_a_block_is_shown_as_everywhere_else_and_its_cycle_with_it() -> None:
    report = replayed(list(log()[1]))
    block = report.cycles[0].block
    assert block is not None
    assert report.to_json()["cycles"][0]["block"] == block[::-1].hex()
    assert f"block 1 is {block[::-1].hex()[:16]}" in report.to_text()


def test_a_model_digest_in_the_summary_is_the_aggregated_one() -> None:
    assert replayed(list(log()[1])).cycles[0].model == sha256(b"model 1")
