"""One key, one memory: what contradicts it is refused and changes nothing."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.guard.claims import Claim, Domain
from coordinator.guard.rules import (
    REMEMBERED,
    Bound,
    Guard,
    Reservation,
    SigningRefused,
    due,
)
from tests.coordinator.guard.messages import claim

P, C, V, N = Domain.PREPARE, Domain.COMMIT, Domain.VIEW_CHANGE, Domain.NEW_VIEW


def refusal(guard: Guard, asked: Claim) -> str:
    """The code with which `asked` is refused; the memory stays as it was."""
    before = guard.known(), guard.unsaved()
    with pytest.raises(SigningRefused) as caught:
        guard.check(asked)
    assert (guard.known(), guard.unsaved()) == (before[0], ())
    assert caught.value.claim == asked
    return caught.value.code


def test_the_same_claim_may_be_signed_again_and_is_saved_once() -> None:
    guard = Guard()
    guard.check(claim(P, 7))
    guard.check(claim(P, 7))
    assert guard.unsaved() == (claim(P, 7),)
    guard.check(claim(P, 7))
    assert guard.unsaved() == ()


def test_another_digest_at_the_same_place_is_refused() -> None:
    guard = Guard([claim(P, 7)])
    assert refusal(guard, claim(P, 7, "b")) == "double-sign"


def test_slots_are_signed_in_any_order() -> None:
    """PBFT 4.2: many sequence numbers are under way at once."""
    guard = Guard()
    for slot in (5, 9, 7, 6, 8):
        guard.check(claim(P, slot))
        guard.check(claim(C, slot))
    assert len(guard.unsaved()) == 10


def test_a_later_view_may_decide_otherwise_and_an_earlier_one_never() -> None:
    guard = Guard([claim(P, 7, "a", (1, 3))])
    guard.check(claim(P, 7, "b", (1, 4)))
    assert refusal(guard, claim(P, 7, "c", (1, 3))) == "regressed"
    assert refusal(guard, claim(P, 7, "a", (1, 3))) == "regressed"
    guard.check(claim(P, 7, "d", (2, 0)))  # an epoch begins at view 0 again
    assert refusal(guard, claim(P, 7, "b", (1, 4))) == "regressed"


def test_no_vote_in_a_view_that_was_left() -> None:
    """PBFT 4.4: it stops accepting messages of the view that it leaves."""
    guard = Guard([claim(V, 0, "left", (1, 3))])
    for domain in (P, C):
        assert refusal(guard, claim(domain, 7, "a", (1, 2))) == "view-left"
        guard.check(claim(domain, 7, "a", (1, 3)))
    assert refusal(guard, claim(N, 0, "a", (1, 2))) == "view-left"
    guard.check(claim(Domain.CHECKPOINT, 128, "a", (1, 0)))  # of no view


def test_one_account_of_the_past_for_one_view() -> None:
    guard = Guard([claim(V, 0, "a", (1, 3))])
    assert refusal(guard, claim(V, 0, "b", (1, 3))) == "double-sign"
    assert refusal(guard, claim(V, 0, "b", (1, 2))) == "regressed"
    guard.check(claim(V, 0, "b", (1, 5)))


@pytest.mark.parametrize("domain", [Domain.BEACON, Domain.CERTIFICATE, Domain.FINALITY])
def test_a_signature_share_is_one_message_a_rank(domain: Domain) -> None:
    guard = Guard([claim(domain, 3, "a", (0, 0))])
    assert refusal(guard, claim(domain, 3, "b", (0, 0))) == "double-sign"
    guard.check(claim(domain, 3, "b", (0, 1)))
    assert refusal(guard, claim(domain, 3, "a", (0, 0))) == "regressed"


@pytest.mark.parametrize("domain", list(Domain))
def test_what_is_forgotten_is_refused_not_guessed(domain: Domain) -> None:
    guard = Guard([claim(domain, 5_000)])
    floor = 5_000 - REMEMBERED[domain]
    assert refusal(guard, claim(domain, floor)) == "too-old"
    guard.check(claim(domain, floor + 1))


def test_the_memory_is_bounded() -> None:
    guard = Guard()
    for slot in range(1, 10_000):
        guard.check(claim(P, slot))
    assert len(guard.known()) <= 2 * REMEMBERED[P]
    assert guard.highest(P) == claim(P, 9_999)


def test_a_restart_with_the_same_memory_decides_the_same() -> None:
    before = Guard()
    for asked in (claim(P, 7), claim(C, 7), claim(V, 0, "v", (1, 2))):
        before.check(asked)
    after = Guard(reversed(before.known()))
    assert after.known() == before.known()
    assert refusal(after, claim(P, 7, "b")) == "double-sign"
    assert refusal(after, claim(C, 8)) == "view-left"


def test_whoever_takes_over_stays_silent_below_the_bounds() -> None:
    guard = Guard(inherited=Reservation(4, {P: Bound(70, (1, 2))}))
    assert refusal(guard, claim(P, 70, "a", (1, 2))) == "inherited"
    assert refusal(guard, claim(P, 1, "a", (1, 0))) == "inherited"
    guard.check(claim(P, 71, "a", (1, 2)))
    guard.check(claim(P, 70, "a", (1, 3)))
    guard.check(claim(C, 70, "a", (1, 2)))  # another domain


def test_bounds_only_go_up() -> None:
    first = Reservation().raised([claim(P, 7, "a", (1, 3))], 64)
    second = first.raised([claim(P, 5, "a", (1, 1)), claim(C, 2)], 16)
    assert (first.number, second.number) == (1, 2)
    assert second.bounds[P] == Bound(71, (1, 3))
    assert second.bounds[C] == Bound(18, (1, 0))


def test_two_memories_make_one_over_both() -> None:
    one = Reservation(3, {P: Bound(7, (1, 3)), C: Bound(1, (1, 0))})
    other = Reservation(5, {P: Bound(9, (1, 2)), V: Bound(0, (1, 9))})
    both = one.merged(other)
    assert both == other.merged(one)
    assert both.number == 5 and both.bounds[P] == Bound(9, (1, 3))


def test_bounds_are_raised_before_half_of_the_window_is_used() -> None:
    reservation = Reservation().raised([claim(P, 0)], 64)
    assert due(reservation, [claim(P, 32)], 64) == ()
    assert due(reservation, [claim(P, 33)], 64) == (claim(P, 33),)
    higher = claim(P, 1, "a", (1, 1))
    assert due(reservation, [higher], 64) == (higher,)


RANKS = st.tuples(st.integers(0, 1), st.integers(0, 3))
CLAIMS = st.lists(
    st.builds(claim, st.sampled_from([P, C, V]), st.integers(0, 4), st.sampled_from("ab"), RANKS),
    max_size=40,
)


@given(CLAIMS, st.integers(0, 39))
def test_no_order_of_questions_gets_two_digests_for_one_place(
    asked: Sequence[Claim], restart_at: int
) -> None:
    """Whatever is asked, with a restart anywhere."""
    guard, given_out = Guard(), set[Claim]()
    for number, one in enumerate(asked):
        if number == restart_at:
            guard = Guard(guard.known())
        try:
            guard.check(one)
        except SigningRefused:
            continue
        given_out.add(one)
    places = [(one.domain, one.slot, one.rank) for one in given_out]
    assert len(places) == len(set(places))


@given(CLAIMS, CLAIMS, st.integers(1, 64))
def test_two_holders_one_after_the_other_never_contradict_each_other(
    first: Sequence[Claim], second: Sequence[Claim], window: int
) -> None:
    """The second has only the bounds."""
    given_out: dict[tuple[Domain, int, tuple[int, int]], Claim] = {}
    guard, reservation = Guard(), Reservation()
    for asked in (first, second):
        for one in asked:
            try:
                guard.check(one)
            except SigningRefused:
                continue
            if not reservation.covers(one):
                reservation = reservation.raised([one], window)
            place = one.domain, one.slot, one.rank
            assert given_out.setdefault(place, one) == one
        guard = Guard(inherited=reservation)
