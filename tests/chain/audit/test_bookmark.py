"""An audit that goes on from a bookmark says what an audit of the whole log says."""

from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from chain.audit.bookmark import (
    DIGEST_BYTES,
    MAGIC,
    KeptBooks,
    decode_bookmark,
)
from chain.audit.bookmark_file import BookmarkFile
from chain.audit.books import Books
from chain.audit.replay import Auditor
from chain.params import MINIMAL
from chain.records.block import decode_block
from chain.records.conviction import shown
from chain.records.evidence import equivocation
from chain.records.score_log import EvidenceShown, LogEntry, decode_leaf
from tests.chain.audit import epochs
from tests.chain.audit.cuts import bookmark_of, cut_everywhere
from tests.chain.audit.mill import Mill, key, make_genesis
from tests.chain.audit.test_derivation import Chaos

DERIVED_ANEW = {
    "accusations",  # taken by the auditor after each batch
    "agreed_ms",
    "chain_id",
    "check_models",  # given by the caller
    "derived",  # what has to follow the batch at hand: at a bookmark nothing
    "entry",
    "frontier",  # stands in the walk
    "job",
    "members",  # of the key's epoch
    "membership",
    "params",
    "sequence",
}
"""What a bookmark need not keep of the books."""


def eventful() -> Mill:
    """Lies, bad shares, empty cycles, a voided rank, a change of members, a barred winner."""
    quick = replace(
        MINIMAL,
        checkpoint_interval=4,
        window=8,
        trial_audits=1,
        audit_share=1 << 15,
        barred_cycles=2,
    )
    mill = Mill(genesis=make_genesis(params=quick))
    mill.ceremony_round((0, 1, 2))
    mill.time_out((1, 2))
    mill.found()
    mill.time_out()  # nobody registered
    mill.to_evaluation().evaluate(liar=2)
    mill.say(mill.replicas[3], mill.bad_share(3))
    mill.sign((0, 1, 2))
    mill.aggregate(dissenter=1)
    mill.sign()
    mill.time_out()  # no block of the first rank
    mill.sign()
    mill.witness()
    epochs.propose(mill, (0, 1, 2, 4))
    mill.sign()
    epochs.approve(mill, range(1, 3))
    epochs.session_elapsed(mill)  # the first attempt fails
    epochs.reshare(mill)
    mill.to_training().commit()
    epochs.prove(mill)
    epochs.activate(mill)
    mill.reveal((0, 2))
    epochs.to_boundary(mill)
    mill.time_out()
    mill.sign()
    mill.evaluate()
    mill.sign()
    late = replace(mill.lying_table(1), cycle=mill.state.cycle)
    mill.say(mill.replicas[1], late)
    mill.aggregate()
    mill.sign()
    both = [decode_block(mill.block(late_s)).certified_header for late_s in (0, 1)]
    mill.witness()
    assert mill.say(key("whoever saw both"), shown(equivocation(*both))) == ["accepted"]
    mill.sign()
    mill.to_training()
    return mill


def chaotic(seed: int) -> Mill:
    """Anybody says anything."""
    chaos = Chaos(seed)
    for _ in range(60):
        chaos.step()
    return chaos.mill


@cache
def log(name: str) -> tuple[bytes, tuple[LogEntry, ...]]:
    """Genesis record and entries."""
    mill = eventful() if name == "eventful" else chaotic(int(name))
    return encode(mill.genesis), tuple(mill.entries)


@pytest.mark.parametrize("name", ["eventful", "0", "1"])
def test_from_every_entry_on_an_audit_goes_on_as_if_nothing_had_been_between(name: str) -> None:
    """The second auditor is made anew from bytes wherever it can be."""
    genesis, entries = log(name)
    report, cuts = cut_everywhere(genesis, entries)
    assert report.passed and cuts > len(entries) // 3


def test_the_log_of_the_test_above_has_everything_that_a_state_may_hold() -> None:
    genesis, entries = log("eventful")
    auditor = Auditor(genesis)
    for entry in entries:
        auditor.take(entry)
    report = auditor.report()
    assert {finding.rule for finding in report.accusations} == {
        "bad-share",
        "evaluation",
        "snapshot",
    }
    assert [each.epoch for each in report.epochs] == [0, 1]
    closed = ["no-miners", "block", "block", None]
    assert [each.closed for each in report.cycles] == closed and report.cycles[1].rank == 1
    assert any(isinstance(decode_leaf(entry.leaf), EvidenceShown) for entry in entries)
    standings = auditor.books.standings.values()
    assert any(each.barred_until for each in standings) and any(each.passed for each in standings)


def test_everything_that_books_remember_is_kept_or_follows() -> None:
    """Whoever adds a field says in which of the two lists it belongs."""
    genesis = make_genesis()
    assert set(vars(Books(genesis))) == set(KeptBooks.__struct_fields__) | DERIVED_ANEW
    assert not set(KeptBooks.__struct_fields__) & DERIVED_ANEW


def some_bookmark() -> tuple[bytes, bytes]:
    """(genesis record, bookmark)"""
    mill = Mill().found().cycle().to_training()
    genesis = encode(mill.genesis)
    auditor = Auditor(genesis)
    for entry in mill.entries:
        auditor.take(entry)
    return genesis, bookmark_of(auditor)


def test_a_damaged_bookmark_is_refused() -> None:
    _, data = some_bookmark()
    for place in (0, len(MAGIC), len(MAGIC) + DIGEST_BYTES, len(data) // 2, len(data) - 1):
        changed = bytes((*data[:place], data[place] ^ 1, *data[place + 1 :]))
        with pytest.raises(DecodeError):
            decode_bookmark(changed)
    for cut in (0, len(MAGIC), len(data) - 1):
        with pytest.raises(DecodeError):
            decode_bookmark(data[:cut])
    with pytest.raises(DecodeError, match="damaged"):
        decode_bookmark(data + b"\0")


def test_a_state_that_is_too_long_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill = Mill().found()
    auditor = Auditor(encode(mill.genesis))
    for entry in mill.entries:
        auditor.take(entry)
    body = len(bookmark_of(auditor)) - len(MAGIC) - DIGEST_BYTES
    monkeypatch.setattr("chain.audit.bookmark.BOOKMARK_BYTES_MAX", body)
    data = bookmark_of(auditor)
    assert decode_bookmark(data).passed == 1
    monkeypatch.setattr("chain.audit.bookmark.BOOKMARK_BYTES_MAX", body - 1)
    with pytest.raises(DecodeError, match=f"at most {body - 1} are read"):
        decode_bookmark(data)
    file = BookmarkFile(tmp_path)
    monkeypatch.setattr("chain.audit.bookmark.BOOKMARK_BYTES_MAX", 1_000)
    file.write(auditor, passed=True)
    assert file.size == 0 and file.read(auditor.chain_id) is None and not file.refused


def sealed(body: bytes) -> bytes:
    """With the digest that fits."""
    return MAGIC + sha256(body) + body


def test_a_second_encoding_of_one_state_is_refused() -> None:
    """A length in more bytes than it needs."""
    body = some_bookmark()[1][len(MAGIC) + DIGEST_BYTES :]
    assert decode_bookmark(sealed(body)).passed == 1
    when = body.index(b"2027-01-15") - 2
    assert body[when : when + 2] == bytes((0xC4, 23))  # bin 8
    longer = body[:when] + bytes((0xC5, 0, 23)) + body[when + 2 :]
    with pytest.raises(DecodeError, match="canonical"):
        decode_bookmark(sealed(longer))


def test_a_bookmark_serves_its_own_chain_and_root() -> None:
    genesis, data = some_bookmark()
    other = encode(make_genesis(replicas=7))
    bookmark = decode_bookmark(data)
    with pytest.raises(DecodeError, match="it is of chain"):
        Auditor(other, bookmark=bookmark)
    with pytest.raises(DecodeError, match="do not lead to its root"):
        Auditor(genesis, bookmark=replace(bookmark, root=sha256(b"other")))


def test_what_breaks_the_log_after_a_bookmark_is_found() -> None:
    mill = Mill().found().cycle()
    genesis, kept = encode(mill.genesis), len(mill.entries)
    mill.cycle()
    first = Auditor(genesis)
    for entry in mill.entries[:kept]:
        first.take(entry)
    bookmark = bookmark_of(first)
    for place in range(kept, len(mill.entries), 7):
        second = Auditor(genesis, bookmark=decode_bookmark(bookmark))
        for entry in (*mill.entries[kept:place], *mill.entries[place + 1 :]):
            second.take(entry)
        assert not second.report().passed


def test_another_past_has_another_root() -> None:
    """Entries that follow, on a log that was rewritten: the next certificate shows it."""
    mill = Mill().found().cycle()
    genesis = encode(mill.genesis)
    first = Auditor(genesis)
    for entry in mill.entries:
        first.take(entry)
    bookmark = bookmark_of(first)
    other = Mill().found()
    other.time_out()
    other.cycle()
    start = len(other.entries)
    other.cycle()
    second = Auditor(genesis, bookmark=decode_bookmark(bookmark))
    for entry in other.entries[start:]:
        second.take(entry)
    assert not second.report().passed
