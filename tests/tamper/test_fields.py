"""Every field of everything derived in a score log, changed alone: the audit names that entry."""

import copy
from functools import cache

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from chain.audit.replay import Auditor
from chain.records.score_log import LogEntry, Ordered, decode_leaf, encode_leaf
from tests.tamper.fields import changed_fields
from tests.tamper.logs import mill

PER_FIELD = 2
"""Leaves of one kind in which a field is changed: the first ones that have it."""


@cache
def witnesses() -> dict[str, list[tuple[LogEntry, Auditor]]]:
    """Kind of leaf -> its entries, each with an auditor that has read what stands before."""
    found: dict[str, list[tuple[LogEntry, Auditor]]] = {}
    auditor = Auditor(encode(mill().genesis))
    for entry in mill().entries:
        kind = type(decode_leaf(entry.leaf))
        if kind is not Ordered:
            kept = found.setdefault(kind.__name__, [])
            if len(kept) < PER_FIELD:
                kept.append((entry, copy.deepcopy(auditor)))
        auditor.take(entry)
    return found


KINDS = sorted(
    {type(decode_leaf(entry.leaf)).__name__ for entry in mill().entries} - {Ordered.__name__}
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_field_of_a_derived_leaf_is_named(kind: str) -> None:
    count = 0
    for entry, before in witnesses()[kind]:
        record = decode_leaf(entry.leaf)
        for path, changed in changed_fields(record):
            witness = copy.deepcopy(before)
            witness.take(replace(entry, leaf=encode_leaf(changed)))
            first = witness.report().broken[0]
            assert (first.entry, first.rule) == (entry.index, rule_of(record)), path
            count += 1
    assert count > 1


def rule_of(record: Record) -> str:
    """`log.block-final/1` -> `block-final`."""
    return record.TAG.removeprefix("log.").split("/")[0]


def test_the_same_change_in_a_request_is_no_change_that_a_quorum_signed() -> None:
    """Nobody alters what was ordered without the proof giving it away."""
    entry = next(e for e in mill().entries if isinstance(decode_leaf(e.leaf), Ordered))
    for path, changed in changed_fields(decode_leaf(entry.leaf)):
        witness = Auditor(encode(mill().genesis))
        witness.take(replace(entry, leaf=encode_leaf(changed)))
        assert witness.report().broken[0].entry == 0, path
