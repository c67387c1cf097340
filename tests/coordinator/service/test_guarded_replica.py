"""A whole replica behind its guard: what it signs is written down, an old memory ends its vote."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from bft.errors import ConfigError
from coordinator.config import Home, load_setup
from coordinator.guard.claims import Claim, Domain
from coordinator.guard.keeper import RAISES_AHEAD
from coordinator.guard.moving import inherit
from coordinator.guard.rules import Guarded, Reservation
from coordinator.guard.store import SqliteGuard
from coordinator.keys.backup import read_backup, write_backup
from coordinator.service.app import ReplicaService
from coordinator.service.journal import Journal
from coordinator.service.runtime import Halted
from tests.coordinator.guard.messages import claim
from tests.coordinator.service.mill import BUSY, Mill, NoPool, running

pytestmark = pytest.mark.integration

SEQUENCES = 8


def memory_of(mill: Mill, index: int) -> tuple[Guarded, Reservation]:
    """What a stopped replica's journal and guard say."""
    setup = load_setup(mill.homes[index])
    journal = Journal(setup.home.journal, setup.genesis.chain_id, setup.identity.public_key)
    guard = SqliteGuard(setup.guard, setup.identity.public_key)
    try:
        return journal.recover().guarded, guard.reservation
    finally:
        journal.close()
        guard.close()


async def worked(mill: Mill, index: int) -> None:
    """Until the replica has taken part in some decisions more."""
    until = mill.state(index).sequence + SEQUENCES
    await mill.until(lambda: mill.state(index).sequence > until)


async def test_everything_that_was_signed_is_known_within_the_bounds_and_after_a_restart(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        await worked(mill, 1)
        for index in range(4):
            await mill.stop(index)
        votes: list[int] = []
        for index in range(4):
            guarded, reservation = memory_of(mill, index)
            assert all(reservation.covers(one) for one in guarded.claims)
            assert reservation.number - RAISES_AHEAD <= guarded.number <= reservation.number
            slots = {d: [c.slot for c in guarded.claims if c.domain == d] for d in Domain}
            votes.append(min(len(slots[Domain.PREPARE]), len(slots[Domain.COMMIT])))
        assert sorted(votes)[1] > SEQUENCES  # one of four may have learned what the others decided
        before, _ = memory_of(mill, 3)
        for index in range(4):
            await mill.start(index)
        await worked(mill, 3)
        await mill.stop(3)
        after, _ = memory_of(mill, 3)
        known = {(one.domain, one.slot): one for one in after.claims}
        assert all(known[one.domain, one.slot].rank >= one.rank for one in before.claims)


async def test_a_core_that_contradicts_itself_is_stopped(tmp_path: Path) -> None:
    """A bug of ours, or a journal that somebody edited: the guard knows better."""
    async with running(tmp_path, 1, BUSY) as mill:
        await worked(mill, 0)
        await mill.stop(0)
        setup = load_setup(mill.homes[0])
        guarded, _ = memory_of(mill, 0)
        highest = max(one.slot for one in guarded.claims if one.domain is Domain.PREPARE)
        planted = Claim(Domain.PREPARE, highest + 2, (9, 0), bytes(32))
        journal = Journal(setup.home.journal, setup.genesis.chain_id, setup.identity.public_key)
        journal.commit([Guarded(guarded.number, (planted,))])
        journal.close()
        service = await ReplicaService.open(setup, NoPool())
        with pytest.raises(Halted, match=f"refused to sign PREPARE at slot {highest + 2}"):
            await service.run()
        await service.close()
        guard = SqliteGuard(setup.guard, setup.identity.public_key)
        count, refusals = guard.refusals()
        guard.close()
        assert count == 1 and refusals[0].code == "regressed"


async def test_an_old_journal_beside_a_newer_guard_ends_the_vote(tmp_path: Path) -> None:
    """The home was put back from yesterday; the guard stood on another disk."""
    async with running(tmp_path, 4, BUSY) as mill:
        await worked(mill, 3)
        await mill.stop(3)
        home = Home(mill.homes[3])
        copy = tmp_path / "yesterday"
        shutil.copytree(home.path, copy)
        old, _ = memory_of(mill, 3)
        await mill.start(3)
        while memory_of_running(home) <= old.number + RAISES_AHEAD:
            await worked(mill, 3)
        await mill.stop(3)
        guard = home.guard.read_bytes()
        shutil.rmtree(home.path)
        shutil.copytree(copy, home.path)
        home.guard.write_bytes(guard)
        await mill.start(3)
        told = mill.services[3].stint.standing.standing()
        assert told["role"] == "observer" and "old copy" in told["reason"]


def memory_of_running(home: Home) -> int:
    """How often a running replica's bounds were raised, read beside it."""
    connection = sqlite3.connect(f"file:{home.guard}?mode=ro", uri=True)
    try:
        data = connection.execute("SELECT data FROM memory WHERE what = 'reserved'").fetchone()[0]
        return int(bytes(data).split(b'"number":')[1].split(b",")[0])
    finally:
        connection.close()


async def test_keys_without_their_guard_sign_nothing(tmp_path: Path) -> None:
    """Restored from a backup of the keys, or the file was deleted."""
    async with running(tmp_path, 4, BUSY, start=3) as mill:
        Home(mill.homes[3]).guard.unlink()
        with pytest.raises(ConfigError, match="nobody knows what this key has signed"):
            await ReplicaService.open(load_setup(mill.homes[3]), NoPool())


async def test_an_old_guard_beside_a_newer_journal_starts_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        home = Home(mill.homes[3])
        await worked(mill, 3)
        await mill.stop(3)
        setup = load_setup(home.path)
        fresh = home.path / "fresh.db"
        SqliteGuard(fresh, setup.identity.public_key, create=True).close()
        fresh.replace(home.guard)
        with pytest.raises(ConfigError, match="the guard is an old copy"):
            await ReplicaService.open(setup, NoPool())


async def test_restored_keys_with_an_imported_memory_vote_again_beyond_it(tmp_path: Path) -> None:
    """Issue 4: a restored old copy cannot sign twice; with what was signed it may go on."""
    async with running(tmp_path, 4, BUSY) as mill:
        await worked(mill, 3)
        await mill.stop(3)
        home, again = mill.homes[3], tmp_path / "again"
        bounds = memory_of(mill, 3)[1]
        write_backup(home, tmp_path / "backup.tar", plain=True)
        read_backup(tmp_path / "backup.tar", again)
        shutil.copytree(home / "blobs", again / "blobs")
        setup = load_setup(again)
        with pytest.raises(ConfigError, match="nobody knows what this key has signed"):
            await ReplicaService.open(setup, NoPool())
        inherit(setup.guard, setup.identity.public_key, bounds)
        shutil.rmtree(home)
        again.rename(home)
        await mill.start(3)
        assert mill.services[3].stint.standing.standing()["role"] == "member"
        through = bounds.bounds[Domain.COMMIT].slot
        await mill.until(lambda: mill.state(3).sequence > through)
        await mill.stop(2)  # so that nothing is decided without the restored one's votes
        await worked(mill, 3)
        await mill.stop(3)
        guarded, _ = memory_of(mill, 3)
        assert any(one.domain is Domain.COMMIT for one in guarded.claims)
        assert not any(bounds.covers(one) for one in guarded.claims)


async def test_a_closed_guard_starts_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, 1, BUSY, start=0) as mill:
        setup = load_setup(mill.homes[0])
        guard = SqliteGuard(setup.guard, setup.identity.public_key)
        guard.shut("moved to another machine")
        guard.close()
        with pytest.raises(ConfigError, match="signs no more here: moved to another machine"):
            await ReplicaService.open(setup, NoPool())


def test_claims_outlive_the_journal_that_was_closed(tmp_path: Path) -> None:
    path, chain, key = tmp_path / "journal.db", b"c" * 32, b"k" * 33
    journal = Journal(path, chain, key)
    first, second = claim(Domain.PREPARE, 7), claim(Domain.PREPARE, 7, "b", (1, 3))
    journal.commit([Guarded(1, (first, claim(Domain.COMMIT, 7)))])
    journal.commit([Guarded(2, (second,))])
    journal.close()
    journal = Journal(path, chain, key)
    assert journal.recover().guarded == Guarded(2, (second, claim(Domain.COMMIT, 7)))
    journal.close()


DAMAGE = (
    "UPDATE guard SET slot = slot + 1",
    "UPDATE guard SET epoch = epoch + 1",
    "UPDATE guard SET rank = rank + 1",
    "UPDATE guard SET digest = zeroblob(32)",
)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_claim_is_refused(tmp_path: Path, damage: str) -> None:
    path, chain, key = tmp_path / "journal.db", b"c" * 32, b"k" * 33
    journal = Journal(path, chain, key)
    journal.commit([Guarded(1, (claim(Domain.PREPARE, 7),))])
    journal.close()
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    journal = Journal(path, chain, key)
    with pytest.raises(ConfigError, match="is damaged"):
        journal.recover()
    journal.close()
