"""What operators propose follows from what they name; what they are warned of follows from that."""

import pytest

from bft.codec.canonical import encode
from bft.crypto.identity import PrivateKey
from bft.errors import DecodeError, Refused
from chain.records.federation import MemberRecord
from chain.records.membership import Approve
from coordinator.membership import (
    Change,
    approval,
    find,
    lacking,
    next_members,
    proposal,
    shown,
    stands,
    warnings,
)


def member(number: int, name: str | None = None, key: int | None = None) -> MemberRecord:
    """A member; everything of it is its own."""
    return MemberRecord(
        operator=(name or f"op-{number}").encode(),
        key=PrivateKey(bytes([key or number]) * 32).public_key,
        tls_certificate=bytes([number]) * 64,
        link=b"h:%d" % (1000 + number),
        api=b"h:%d" % (2000 + number),
    )


FOUR = tuple(member(number) for number in range(1, 5))


def test_who_is_not_named_stays_in_its_place() -> None:
    new = member(9)
    assert next_members(FOUR, exchange={"op-2": new}) == (FOUR[0], new, *FOUR[2:])
    three = tuple(member(number) for number in (5, 6, 7))
    assert next_members(FOUR, three) == FOUR + three
    assert next_members(FOUR + three, remove=("op-5", "op-6", "6")) == FOUR
    assert next_members(FOUR) == FOUR


@pytest.mark.parametrize("names", [("op-1",), ("op-1", "op-2")])
def test_a_list_that_can_be_no_epochs_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="tolerate no fault"):
        next_members(FOUR, remove=names)


def test_two_with_one_key_are_refused() -> None:
    with pytest.raises(Refused, match="one key"):
        next_members(FOUR, (member(9, key=1), member(8), member(7)))


def test_a_member_is_named_by_its_operator_or_its_index() -> None:
    twins = (*FOUR[:2], member(3, "op-1"), member(4))
    assert find(FOUR, "op-3") == find(FOUR, "2") == 2
    with pytest.raises(Refused, match="names 2 members"):
        find(twins, "op-1")
    with pytest.raises(Refused, match="names 0 members; there are op-1, op-2, op-3, op-4"):
        find(FOUR, "4")


def test_what_would_stand_still_is_told_before() -> None:
    """pbft.md 11.5: one unready member more than the new epoch tolerates stops it."""
    five = (*FOUR, member(5))
    assert warnings(FOUR, FOUR, ()) == ()
    (size,) = warnings(FOUR, five, ())
    assert size == "5 members tolerate 1 faults, as 4 do, but every decision takes 4 of them"
    assert "one crash more" in warnings(FOUR, five, ("op-5",))[1]
    assert "the epoch would stand" in warnings(FOUR, five, ("op-4", "op-5"))[1]
    assert [stands(five, ("op-5",) * count) for count in (0, 1, 2)] == [False, False, True]
    seven = (*five, member(6), member(7))
    assert "tolerate 1 faults more" in warnings(FOUR, seven, ("op-5",))[0]


@pytest.mark.parametrize(
    ("without", "unready", "told"),
    [
        ((), (), None),
        ((1,), (), "no share or no answer: op-2; 4 members stand still when one more is gone"),
        ((1,), ("op-2",), "no share or no answer: op-2; 4 members stand still when one more"),
        ((1,), ("op-4",), "no share or no answer: op-2, op-4; 4 members cannot do without so many"),
    ],
)
def test_status_warns_before_the_epoch_stands_still(
    without: tuple[int, ...], unready: tuple[str, ...], told: str | None
) -> None:
    """Who has no share counts among the f, and so does who does not answer."""
    operators = [f"op-{number}" for number in range(1, 5)]
    found = lacking(operators, without, unready)
    assert found == () if told is None else found[0].startswith(told)
    seven = [*operators, "op-5", "op-6", "op-7"]
    assert (lacking(seven, (0,), ()) or [""])[0].endswith("when 2 more are gone")


def test_a_change_of_nearly_everybody_depends_on_those_who_leave() -> None:
    others = tuple(member(number) for number in range(6, 9))
    (told,) = warnings(FOUR, (FOUR[0], *others), ())
    assert "1 of 4 members stay" in told


def test_a_proposal_is_shown_as_what_it_changes() -> None:
    moved = member(12, "op-2", key=2)
    lines = shown(FOUR, proposal(1, (FOUR[0], moved, FOUR[2], member(9)), "why"))
    assert [line[:6] for line in lines] == ["- op-4", "~ op-2", "+ op-9", "reason"]
    assert "links h:1012" in lines[1] and FOUR[1].key.hex() in lines[1]
    assert shown(FOUR, proposal(1, FOUR, "")) == ("the same members, with fresh key shares",)


def test_only_the_open_proposal_is_accepted() -> None:
    proposed = proposal(1, FOUR, "")
    change = Change(proposal=encode(proposed).hex(), approvals=[0], stage="proposed")
    name = proposed.digest.hex()
    for given in (name, name[:16], name[:20].upper(), None):
        opened, approve, _ = approval(change, given)
        assert (opened, approve) == (proposed, Approve(proposal=proposed.digest))
    for given in (name[:15], "0" * 16, ""):
        with pytest.raises(Refused, match="other-proposal|is " + name):
            approval(change, given)
    with pytest.raises(Refused, match="no change"):
        approval(None, name)
    with pytest.raises(DecodeError):
        approval(Change(proposal="zz", approvals=[], stage="proposed"), None)


def test_a_reason_is_bounded() -> None:
    proposal(1, FOUR, "x" * 256)
    with pytest.raises(Refused, match="at most 256 bytes"):
        proposal(1, FOUR, "x" * 257)
