"""A changed byte of what strangers check is named; `python -m tests.tamper` looks at thousands."""

import itertools

import pytest

from tests.tamper.__main__ import main
from tests.tamper.chains import Door, checked, spending
from tests.tamper.changes import changes
from tests.tamper.subject import Change, Crashed, Missed, Subject, refusal

SLICE = 200


def test_no_changed_byte_goes_unnoticed(capsys: pytest.CaptureFixture[str]) -> None:
    """Log, archive, certificates, blocks, evidence, receipts, artifacts."""
    assert main(["--count", str(SLICE), "--seed", "22"]) == 0
    assert f"{SLICE} changes named, 0 not" in capsys.readouterr().out


def test_equal_seeds_change_the_same_bytes() -> None:
    one, other = (list(itertools.islice(changes(5), 50)) for _ in range(2))
    assert one == other
    assert all(change.changed != change.subject.data for change in one)


def test_the_node_that_dropped_those_peers_takes_the_true_block() -> None:
    """So it was the change that it minded."""
    door, block = Door(), spending()
    subject = door.subject("block", "block", block.data)
    for place in range(0, len(block.data), 97):
        Change(subject=subject, place=place, mask=1).judged()
    assert door.send("block", block.data) == []
    assert door.node.tree.tip.hash == block.hash


def test_a_byte_that_nobody_looks_at_is_reported() -> None:
    def careless(data: bytes) -> object:
        return data[:3]

    subject = checked("a record", b"abcd", careless)
    with pytest.raises(Missed, match=r"a record, byte 3 of 4 \^ 0x01: taken for true"):
        Change(subject=subject, place=3, mask=1).judged()


def test_a_checker_that_falls_over_is_reported() -> None:
    def judge(changed: bytes) -> str:
        return refusal(lambda: changed.decode("ascii"))

    subject = Subject(name="a record", data=b"abcd", judge=judge)
    with pytest.raises(Crashed, match="UnicodeDecodeError"):
        Change(subject=subject, place=0, mask=0x80).judged()
