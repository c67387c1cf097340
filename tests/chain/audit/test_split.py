"""Copies of one log hold the same leaves; two that do not are a split view."""

from collections.abc import Iterator

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.merkle import EMPTY_ROOT, Frontier, root_of_hashes
from bft.errors import Unavailable
from chain.audit.split import SideBySide
from chain.records.score_log import Ordered, decode_leaf, entry_hash
from tests.chain.audit.mill import Mill


def entries_of(mill: Mill) -> list[bytes]:
    return [encode(entry) for entry in mill.entries]


def walked(first: list[bytes], other: Iterator[bytes]) -> SideBySide:
    copies = SideBySide("one", {"one": iter(first), "two": other})
    assert list(copies) == first
    return copies


def test_equal_copies_have_one_root() -> None:
    mill = Mill().found()
    copies = walked(entries_of(mill), iter(entries_of(mill)))
    (two,) = copies.others
    assert (two.state, copies.findings) == ("same", [])
    assert (two.common.size, two.common.root()) == (len(mill.entries), mill.state.log.root)


def test_a_copy_may_be_shorter_or_longer() -> None:
    mill = Mill().found()
    whole = entries_of(mill)
    shorter = walked(whole, iter(whole[:4]))
    assert (shorter.others[0].state, shorter.others[0].common.size) == ("shorter", 4)
    longer = walked(whole[:4], iter(whole))
    assert (longer.others[0].state, longer.others[0].common.size) == ("same", 4)
    assert not shorter.findings and not longer.findings


def test_copies_may_hold_different_proofs_of_one_batch() -> None:
    mill = Mill().found()
    batch = mill.entries[1]
    leaf = decode_leaf(batch.leaf)
    assert isinstance(leaf, Ordered)
    other = list(mill.entries)
    other[1] = replace(batch, proof=mill.proof(leaf.sequence, leaf.batch, view=3))
    copies = walked(entries_of(mill), iter([encode(entry) for entry in other]))
    assert copies.others[0].state == "same"


def test_different_leaves_are_a_split_view_that_names_both_and_the_entry() -> None:
    one, two = Mill().found(), Mill().found()
    one.time_out()
    two.register()
    copies = walked(entries_of(one), iter(entries_of(two)))
    (finding,) = copies.findings
    common = len(Mill().found().entries)
    assert (finding.rule, finding.entry) == ("split-view", common)
    assert finding.text.startswith("one and two serve different leaves")
    assert copies.others[0].state == "split" and copies.others[0].common.size == common


def test_a_copy_that_breaks_off_is_said_to_be_lost() -> None:
    mill = Mill().found()

    def breaking_off() -> Iterator[bytes]:
        yield entries_of(mill)[0]
        raise Unavailable("two does not answer")

    copies = walked(entries_of(mill), breaking_off())
    assert "two: lost (two does not answer); 1 entries in common" in copies.others[0].line()
    assert not copies.findings


def test_the_root_of_nothing_in_common_is_the_empty_one() -> None:
    copies = walked([], iter([]))
    assert copies.others[0].common.root() == EMPTY_ROOT == root_of_hashes([])


def test_copies_are_compared_from_where_an_earlier_audit_came_to() -> None:
    one, two = Mill().found(), Mill().found()
    start, before = len(one.entries), Frontier()
    for entry in one.entries:
        before = before.push(entry_hash(entry.leaf))
    one.time_out()
    two.register()
    copies = SideBySide(
        "one",
        {
            "one": iter(entries_of(one)[start:]),
            "two": iter(entries_of(two)[start:]),
            "three": iter(entries_of(one)[start:]),
        },
        before,
    )
    assert list(copies) == entries_of(one)[start:]
    split, same = copies.others
    (finding,) = copies.findings
    assert (split.state, same.state, finding.entry) == ("split", "same", start)
    assert same.common.root() == one.state.log.root
    assert f"{len(one.entries)} entries in common, compared from entry {start} on" in same.line()
