"""At the boundary the state goes on with the next epoch's members: who stays keeps what it said."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from chain.params import MINIMAL
from chain.records.federation import FederationKey, MemberRecord
from chain.records.phase import Phase
from coordinator.cycle.rebase import rebase
from coordinator.cycle.state import State, Successor
from tests.chain.audit import epochs
from tests.chain.audit.mill import Mill, make_genesis, make_member

PEOPLE = st.integers(0, 11)
LISTS = st.lists(PEOPLE, min_size=1, max_size=12, unique=True).map(tuple)
HEADER = bytes(80)


def members_of(numbers: tuple[int, ...]) -> tuple[MemberRecord, ...]:
    return tuple(make_member(number) for number in numbers)


@cache
def founded() -> State:
    """A state with a key, of four members."""
    return Mill().found().state


def state_of(numbers: tuple[int, ...], said: frozenset[int], following: tuple[int, ...]) -> State:
    """Those members; the people in `said` spoke everywhere; the next epoch is `following`."""
    state = founded()
    assert state.federation_key is not None
    indices = [index for index, number in enumerate(numbers) if number in said]
    key: FederationKey = replace(state.federation_key, epoch=1, members=members_of(following))
    mill = Mill()
    return state.set(
        members=members_of(numbers),
        successor=Successor(
            federation_key=key, transcript=state.transcript, boundary=state.sequence
        ),
        elapsed=tuple(indices),
        shares={index: bytes([numbers[index]]) * 48 for index in indices},
        faulty=tuple(index for index in range(len(numbers)) if index not in indices),
        votes={index: mill.vote(numbers[index]) for index in indices},
        seen={index: sha256(bytes([numbers[index]])) + bytes(48) for index in indices},
    )


def by_key(state: State, said: dict[int, Any]) -> dict[bytes, Any]:
    return {state.members[index].key: said[index] for index in said}


@given(old=LISTS, new=LISTS, said=st.frozensets(PEOPLE))
def test_what_staying_members_said_stays_theirs(
    old: tuple[int, ...], new: tuple[int, ...], said: frozenset[int]
) -> None:
    before = state_of(old, said, new)
    after = rebase(before)
    staying = {make_member(number).key for number in set(old) & set(new)}
    for read in (lambda s: s.votes, lambda s: s.seen):
        kept = {key: word for key, word in by_key(before, read(before)).items() if key in staying}
        assert by_key(after, read(after)) == kept
    elapsed = {after.members[index].key for index in after.elapsed}
    assert elapsed == {before.members[index].key for index in before.elapsed} & staying
    assert list(after.elapsed) == sorted(set(after.elapsed))
    assert all(index < len(new) for index in (*after.votes, *after.seen, *after.elapsed))


@given(old=LISTS, new=LISTS, said=st.frozensets(PEOPLE))
def test_the_next_epoch_begins_with_its_own_list_and_no_shares(
    old: tuple[int, ...], new: tuple[int, ...], said: frozenset[int]
) -> None:
    before = state_of(old, said, new)
    after = rebase(before)
    assert (after.epoch, after.members) == (1, members_of(new))
    assert (after.began, after.former) == (before.sequence, before.membership.keys)
    assert (after.shares, after.faulty, after.successor, after.last) == ({}, (), None, None)
    assert after.federation_key is not None and after.federation_key.members == after.members
    same = ("sequence", "agreed_ms", "log", "phase", "cycle", "attempt", "randomness", "model")
    same += ("references", "tip", "registrations", "veterans", "units", "commitments", "reveals")
    for name in same:
        assert getattr(after, name) == getattr(before, name)
    assert decode(State, encode(after)) == after  # dictionaries stand in key order


@given(old=LISTS, new=LISTS, said=st.frozensets(PEOPLE))
def test_there_and_back_again_forgets_only_who_was_away(
    old: tuple[int, ...], new: tuple[int, ...], said: frozenset[int]
) -> None:
    before = state_of(old, said, new)
    there = rebase(before)
    assert there.federation_key is not None
    key = replace(there.federation_key, epoch=2, members=before.members)
    back = rebase(
        there.set(
            successor=Successor(
                federation_key=key, transcript=before.transcript, boundary=there.sequence
            )
        )
    )
    kept = {index: vote for index, vote in before.votes.items() if old[index] in new}
    assert back.votes == kept


QUICK = make_genesis(params=replace(MINIMAL, checkpoint_interval=4, window=8))


@pytest.mark.parametrize(
    ("phase", "go"),
    [
        (Phase.REGISTRATION, lambda mill: mill.register()),
        (Phase.TRAINING, lambda mill: mill.to_training()),
        (Phase.CHALLENGE, lambda mill: (mill.to_training().commit(), mill.reveal())),
        (Phase.EVALUATION, lambda mill: mill.to_evaluation()),
        (Phase.DRAW, lambda mill: mill.to_evaluation().evaluate()),
        (Phase.AGGREGATION, lambda mill: mill.to_aggregation()),
        (Phase.CERTIFICATION, lambda mill: mill.to_aggregation().aggregate()),
        (Phase.BLOCK, lambda mill: mill.to_block()),
        (Phase.FINALITY, lambda mill: mill.to_block().witness()),
    ],
)
def test_a_cycle_ends_with_its_block_wherever_the_boundary_falls(
    phase: Phase, go: Callable[[Mill], object]
) -> None:
    """Two of four said something before it; one leaves, one joins, the others change places."""
    mill = Mill(genesis=QUICK).found()
    go(mill)
    assert mill.phase is phase
    epochs.to_successor(mill, (2, 1, 4, 0))
    if mill.wanted() is not None:
        mill.sign((0, 3))
    if phase is Phase.EVALUATION:
        mill.all_say(mill.table, (0, 3))
    if phase is Phase.AGGREGATION:
        mill.all_say(mill.vote, (0, 3))
    if phase is Phase.BLOCK:
        seen = mill.seen()
        mill.all_say(lambda _: seen, (3,))
    epochs.to_boundary(mill)
    assert (mill.phase, mill.state.epoch) == (phase, 1)
    finish = {
        Phase.REGISTRATION: lambda: mill.cycle(),
        Phase.TRAINING: lambda: (mill.commit(), mill.reveal(), mill.sign()),
        Phase.CHALLENGE: lambda: mill.sign(),
    }
    if phase in finish:
        finish[phase]()
    while mill.state.tip.height == 0:
        match mill.phase:
            case Phase.EVALUATION:
                mill.evaluate()
            case Phase.AGGREGATION:
                mill.aggregate()
            case Phase.BLOCK:
                mill.witness()
            case _:
                mill.sign()
    assert mill.state.tip.height == 1
