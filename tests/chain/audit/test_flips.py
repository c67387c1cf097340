"""One flipped bit anywhere in a stored entry fails the audit, and the finding names that entry."""

import copy
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.audit.replay import Auditor, audit
from chain.records.score_log import LogEntry
from tests.chain.audit.mill import Mill

STRIDE = 7
"""Every so many bytes of the log in one run; 1 is all of them, in seconds too (about 15)."""


@cache
def log() -> tuple[bytes, tuple[LogEntry, ...]]:
    """Key generation and one whole cycle."""
    mill = Mill().found().cycle()
    return encode(mill.genesis), tuple(mill.entries)


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_a_flipped_bit_in_any_leaf_or_proof_names_its_entry() -> None:
    genesis, entries = log()
    auditor, count = Auditor(genesis), 0
    for entry in entries:
        for field in ("leaf", "proof"):
            data = getattr(entry, field)
            for place in range(-count % STRIDE, len(data), STRIDE):
                witness = copy.deepcopy(auditor)  # as it stands before this entry
                witness.take(replace(entry, **{field: flipped(data, place, place % 8)}))
                report = witness.report()
                assert not report.passed, f"entry {entry.index}, {field} byte {place}"
                assert report.broken[0].entry == entry.index
            count += len(data)
        auditor.take(entry)
    assert auditor.report().passed


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_flipped_bit_anywhere_in_an_encoded_entry_fails_the_whole_audit(
    data: st.DataObject,
) -> None:
    genesis, entries = log()
    encoded = [encode(entry) for entry in entries]
    index = data.draw(st.integers(0, len(encoded) - 1), label="entry")
    place = data.draw(st.integers(0, len(encoded[index]) - 1), label="byte")
    bit = data.draw(st.integers(0, 7), label="bit")
    encoded[index] = flipped(encoded[index], place, bit)
    report = audit(genesis, encoded)
    assert not report.passed
    assert report.broken[0].entry == index
