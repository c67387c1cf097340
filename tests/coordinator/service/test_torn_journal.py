"""The last write was torn when the power went: scenario 74, on SQLite's own files."""

import shutil
from pathlib import Path
from random import Random

from bft.pbft.events import Persist
from coordinator.service.journal import Journal

CHAIN, KEY = b"c" * 32, b"k" * 33
SECTOR = 512
COMMITS = 12


def image(home: Path) -> tuple[Path, list[int]]:
    """A directory as a power failure leaves it, and the length of the write-ahead log by commit."""
    journal = Journal(home / "journal.db", CHAIN, KEY)
    ahead = home / "journal.db-wal"
    lengths = []
    for lsn in range(1, COMMITS + 1):
        journal.commit([Persist(lsn, b"promise %d" % lsn * 50)])
        lengths.append(ahead.stat().st_size)
    copy = home / "image"
    copy.mkdir()
    for file in home.glob("journal.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, copy)
    journal.close()
    return copy, lengths


def reopened(source: Path, to: Path, damage: bytes) -> int:
    """How many promises are there when the write-ahead log is `damage`."""
    shutil.copytree(source, to)
    (to / "journal.db-wal").write_bytes(damage)
    journal = Journal(to / "journal.db", CHAIN, KEY)
    records = journal.recover().consensus.records
    after = len(records) + 1
    journal.commit([Persist(after, b"goes on")])
    journal.close()
    assert records == tuple((lsn, b"promise %d" % lsn * 50) for lsn in range(1, after))
    return len(records)


def test_a_tail_cut_at_any_byte_costs_the_torn_commits_only(tmp_path: Path) -> None:
    """Scenario 74: what was whole is there, in order, and the replica goes on from it."""
    source, lengths = image(tmp_path)
    whole = (source / "journal.db-wal").read_bytes()
    rng = Random(74)
    for turn in range(20):
        cut = rng.randrange(lengths[2], len(whole) + 1)
        found = reopened(source, tmp_path / f"cut {turn}", whole[:cut])
        assert found == sum(length <= cut for length in lengths)


def test_a_sector_of_noise_in_the_last_commit_costs_that_commit_only(tmp_path: Path) -> None:
    """Scenario 74: a torn page is found by its checksum."""
    source, lengths = image(tmp_path)
    whole = (source / "journal.db-wal").read_bytes()
    rng = Random(75)
    for turn in range(10):
        at = rng.randrange(lengths[-2], lengths[-1] - SECTOR)
        noise = whole[:at] + rng.randbytes(SECTOR) + whole[at + SECTOR :]
        assert reopened(source, tmp_path / f"noise {turn}", noise) == COMMITS - 1
