"""Nothing that was signed leaves before the bounds that cover it are durable."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import KeyShare
from bft.errors import ConfigError
from bft.pbft.messages import Commit, Prepare
from chain.records.votes import Purpose
from coordinator.guard.claims import Domain
from coordinator.guard.keeper import (
    RAISES_AHEAD,
    SHARED_WINDOW_MAX,
    WINDOW_MAX,
    WINDOW_MIN,
    GuardedKey,
    Keeper,
    mismatch,
)
from coordinator.guard.rules import Bound, Guard, Reservation, SigningRefused
from coordinator.guard.store import GuardError, SqliteGuard
from tests.coordinator.guard.messages import OWNER, claim, vote

KEY = PrivateKey(b"\x01" * 32)


class Slow:
    """A store that is done when the test says so."""

    def __init__(self) -> None:
        self.reservation = Reservation()
        self.asked: list[Reservation] = []
        self.called, self.go = threading.Event(), threading.Event()
        self.error: GuardError | None = None

    def raise_to(self, reservation: Reservation) -> None:
        self.asked.append(reservation)
        self.called.set()
        assert self.go.wait(timeout=30)
        if self.error is not None:
            raise self.error
        self.reservation = reservation


@pytest.fixture
def local(tmp_path: Path) -> Iterator[SqliteGuard]:
    guard = SqliteGuard(tmp_path / "guard.db", OWNER, create=True)
    yield guard
    guard.close()


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    store = Slow()
    yield store
    store.go.set()


async def asked_of(store: Slow, times: int) -> None:
    assert await asyncio.to_thread(store.called.wait, 30)
    assert len(store.asked) == times


async def test_the_first_vote_waits_for_its_bound(slow: Slow) -> None:
    guard = Guard()
    keeper = Keeper(guard, slow)
    guard.check(claim(Domain.PREPARE, 1))
    securing = asyncio.create_task(keeper.secure())
    await asked_of(slow, 1)
    assert not securing.done()
    slow.go.set()
    found = await securing
    assert found is not None
    assert found.claims == (claim(Domain.PREPARE, 1),) and found.number == 1
    assert slow.reservation.covers(found.claims[0])
    await keeper.close()


async def test_votes_below_the_bound_do_not_wait_while_it_is_raised(slow: Slow) -> None:
    guard = Guard()
    keeper = Keeper(guard, slow)
    slow.reservation = Reservation().raised([claim(Domain.PREPARE, 1)], 8)
    for slot in range(2, 10):
        guard.check(claim(Domain.PREPARE, slot))
        found = await asyncio.wait_for(keeper.secure(), 30)
        assert found is not None and found.number == 1
    assert len(slow.asked) <= 1  # under way, and nobody waits for it
    guard.check(claim(Domain.PREPARE, 10))
    securing = asyncio.create_task(keeper.secure())
    await asked_of(slow, 1)
    assert not securing.done()
    slow.go.set()
    found = await securing
    assert found is not None and slow.reservation.covers(claim(Domain.PREPARE, 10))
    await keeper.close()


async def test_without_new_claims_there_is_nothing_to_write(slow: Slow) -> None:
    keeper = Keeper(Guard([claim(Domain.PREPARE, 1)]), slow)
    assert await keeper.secure() is None
    await keeper.close()


async def test_a_store_that_fails_lets_nothing_out(slow: Slow) -> None:
    guard = Guard()
    keeper = Keeper(guard, slow)
    slow.error = GuardError("no disk")
    slow.go.set()
    guard.check(claim(Domain.PREPARE, 1))
    with pytest.raises(GuardError, match="no disk"):
        await keeper.secure()
    await keeper.close()


async def test_a_raise_that_failed_beside_the_loop_is_not_forgotten(slow: Slow) -> None:
    guard = Guard()
    keeper = Keeper(guard, slow)
    slow.reservation = Reservation().raised([claim(Domain.PREPARE, 1)], WINDOW_MIN)
    slow.error = GuardError("no disk")
    slow.go.set()

    async def vote_on() -> None:
        for slot in range(2, 2 + 2 * WINDOW_MIN):
            guard.check(claim(Domain.PREPARE, slot))
            await keeper.secure()

    with pytest.raises(GuardError, match="no disk"):
        await vote_on()
    await keeper.close()


async def test_one_write_serves_many_votes(local: SqliteGuard) -> None:
    """With votes as fast as they come, windows grow up to their largest."""
    guard = Guard()
    keeper = Keeper(guard, local)
    for slot in range(1, 4_001):
        guard.check(claim(Domain.PREPARE, slot))
        guard.check(claim(Domain.COMMIT, slot))
        assert await keeper.secure() is not None
    await keeper.close()
    assert local.reservation.number <= 4_000 // (WINDOW_MAX // 4)
    assert local.reservation.covers(claim(Domain.COMMIT, 4_000))


async def test_crashes_find_the_journal_no_further_behind_than_promised(slow: Slow) -> None:
    """A raise under way for a slot, and a view change that needs another one."""
    guard = Guard()
    keeper = Keeper(guard, slow)
    slow.reservation = Reservation().raised([claim(Domain.PREPARE, 1)], WINDOW_MIN)
    journaled = 0
    slow.go.set()
    for slot in range(2, 200):
        guard.check(claim(Domain.PREPARE, slot, rank=(1, slot // 7)))
        if slot % 7 == 0:
            guard.check(claim(Domain.VIEW_CHANGE, 0, str(slot), (1, slot // 7)))
        found = await keeper.secure()
        assert found is not None
        assert mismatch(slow.asked[-1].number if slow.asked else 1, max(journaled, 1)) is None
        journaled = found.number
    await keeper.close()


def test_a_key_behind_its_guard_signs_what_it_may(local: SqliteGuard) -> None:
    guard = Guard()
    key = GuardedKey(guard, KEY.sign, local)
    message = vote(Prepare, 7)
    assert key.sign(message) == KEY.sign(message) == key.sign(message)
    with pytest.raises(SigningRefused):
        key.sign(vote(Prepare, 7, "b"))
    assert key.sign(vote(Commit, 7)) == KEY.sign(vote(Commit, 7))
    assert local.refusals()[0] == 1
    assert local.refusals()[1][0].code == "double-sign"


def test_of_a_winners_drafts_one_is_signed_and_asking_for_others_stops_nobody(
    local: SqliteGuard,
) -> None:
    """Profile signet: a second solution for one certificate would be a second block."""
    guard = Guard()
    key = GuardedKey(guard, KEY.sign, local)
    first, other = sha256(b"first"), sha256(b"other")
    assert key.sign_draft(7, 0, first) == KEY.sign(first) == key.sign_draft(7, 0, first)
    assert key.sign_draft(7, 0, other) is None
    assert key.sign_draft(7, 1, other) == KEY.sign(other)
    assert key.sign_draft(7, 0, first) is None, "that rank is void"
    assert local.refusals()[0] == 0
    again = GuardedKey(Guard(guard.unsaved()), KEY.sign, local)
    assert again.sign_draft(7, 1, first) is None, "a restart remembers"
    taken_over = Guard(inherited=Reservation(1, {Domain.BLOCK: Bound(9, (0, 255))}))
    assert GuardedKey(taken_over, KEY.sign, local).sign_draft(9, 0, first) is None


def test_a_key_share_behind_its_guard_signs_one_winner(local: SqliteGuard) -> None:
    key, share = GuardedKey(Guard(), KEY.sign, local), KeyShare(index=0, secret=7)
    purpose = int(Purpose.CERTIFICATE)
    first = key.sign_share(share, purpose, 3, 0, b"ada wins")
    assert key.sign_share(share, purpose, 3, 0, b"ada wins") == first
    with pytest.raises(SigningRefused):
        key.sign_share(share, purpose, 3, 0, b"eve wins")
    assert key.sign_share(share, purpose, 3, 1, b"eve wins") != first
    activation = int(Purpose.ACTIVATION)
    assert key.sign_share(share, activation, 1, 0, b"x") != key.sign_share(
        share, activation, 1, 0, b"y"
    )


@pytest.mark.parametrize("behind", range(RAISES_AHEAD + 1))
def test_a_journal_from_a_crash_fits_its_guard(behind: int) -> None:
    assert mismatch(9, 9 - behind) is None


@pytest.mark.parametrize("journaled", [0, 9 - RAISES_AHEAD - 1])
def test_an_old_copy_of_a_journal_does_not_fit(journaled: int) -> None:
    told = mismatch(9, journaled)
    assert told is not None and "old copy" in told


def test_an_old_copy_of_a_guard_stops_everything() -> None:
    with pytest.raises(ConfigError, match="the guard is an old copy"):
        mismatch(8, 9)


async def test_where_others_wait_for_the_key_windows_stay_small(local: SqliteGuard) -> None:
    """Whoever takes over is silent through the window: a burst must not open a large one."""

    async def held() -> None:
        """The key is ours."""

    guard = Guard()
    keeper = Keeper(guard, local, held)
    for slot in range(1, 401):
        guard.check(claim(Domain.PREPARE, slot))
        assert await keeper.secure() is not None
    await keeper.close()
    assert local.reservation.bounds[Domain.PREPARE].slot <= 400 + SHARED_WINDOW_MAX
