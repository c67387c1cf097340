"""An audit that is cut at every entry where it can be, beside one that goes through."""

import dataclasses
from collections.abc import Iterable

from chain.audit.bookmark import Bookmark, decode_bookmark, encode_bookmark
from chain.audit.findings import AuditReport, CycleSummary
from chain.audit.replay import Auditor
from chain.records.score_log import LogEntry


def bookmark_of(auditor: Auditor) -> bytes:
    """The auditor's state in bytes."""
    newest = auditor.roots.newest
    assert newest is not None
    return encode_bookmark(
        Bookmark(
            chain_id=auditor.chain_id,
            release=b"1.0",
            audited=b"2027-01-15 08:00:00 UTC",
            passed=1,
            root=newest.root(),
            walk=auditor.walk(),
        )
    )


def cut_everywhere(genesis: bytes, entries: Iterable[LogEntry]) -> tuple[AuditReport, int]:
    """The report on the whole, and at how many entries the second auditor was made anew.

    Raises AssertionError: an auditor that was made of a bookmark is not the one that wrote it.
    """
    whole = Auditor(genesis, details=True)
    parts: list[CycleSummary] = []
    resumed, cuts = Auditor(genesis, parts.append, details=True), 0
    for entry in entries:
        whole.take(entry)
        resumed.take(entry)
        assert resumed.resumable == whole.resumable
        if not whole.resumable:
            continue
        data = bookmark_of(whole)
        assert bookmark_of(resumed) == data
        parts += resumed.report().cycles
        bookmark = decode_bookmark(data)
        resumed = Auditor(genesis, parts.append, details=True, bookmark=bookmark)
        cuts += 1
    expected, found = whole.report(), resumed.report()
    assert _told(found) == _told(expected)
    newest = {part.cycle: part for part in (*parts, *found.cycles)}  # the last word on each cycle
    assert tuple(newest.values()) == expected.cycles
    return expected, cuts


def _told(report: AuditReport) -> AuditReport:
    """But for what is said of the earlier audit, and for cycles, which are compared apart."""
    return dataclasses.replace(report, before=None, cycles=())
