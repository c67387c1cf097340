"""Rot in SQLite's write-ahead log is told from a torn write: scenario 75."""

import shutil
from pathlib import Path
from random import Random

import pytest

from bft.errors import ConfigError
from bft.pbft.events import Persist
from coordinator.service.journal import BEHIND_MAX, Journal
from coordinator.service.wal_file import rotten

CHAIN, KEY = b"c" * 32, b"k" * 33
COMMITS = BEHIND_MAX + 40


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The files of a journal that still runs, and the length of its log after each commit."""
    home = tmp_path_factory.mktemp("journal")
    journal = Journal(home / "journal.db", CHAIN, KEY)
    lengths = []
    for lsn in range(1, COMMITS + 1):
        journal.commit([Persist(lsn, b"promise %d" % lsn * 50)])
        lengths.append((home / "journal.db-wal").stat().st_size)
    copy = home / "image"
    copy.mkdir()
    for file in home.glob("journal.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, copy)
    journal.close()
    return copy, lengths


def damaged(image: Path, to: Path, at: int) -> Path:
    """A copy with one byte flipped at this place of the log."""
    shutil.copytree(image, to)
    data = bytearray((to / "journal.db-wal").read_bytes())
    data[at] ^= 0x10
    (to / "journal.db-wal").write_bytes(data)
    return to / "journal.db"


def test_a_log_that_nothing_has_happened_to_is_whole(image: tuple[Path, list[int]]) -> None:
    assert not rotten(image[0] / "journal.db-wal", 0)
    assert not rotten(image[0] / "no such file", 0)


@pytest.mark.parametrize("turn", range(10))
def test_a_flipped_bit_in_a_synced_transaction_ends_the_right_to_vote(
    image: tuple[Path, list[int]], tmp_path: Path, turn: int
) -> None:
    """Scenario 75: SQLite alone would forget everything behind it, and say nothing."""
    source, lengths = image
    at = Random(turn).randrange(lengths[0], lengths[COMMITS - BEHIND_MAX - 4])
    journal = damaged(source, tmp_path / "rot", at)
    for _ in range(2):  # and again at the next start: the file is as it was
        with pytest.raises(ConfigError, match="damaged in its middle"):
            Journal(journal, CHAIN, KEY)


@pytest.mark.parametrize("turn", range(5))
def test_what_may_be_a_torn_write_is_none(
    image: tuple[Path, list[int]], tmp_path: Path, turn: int
) -> None:
    """Scenario 74: all that did not wait for the disk may be lost, the last one that did as well.

    Nothing of it is there at the next start, when it would stand behind newer transactions.
    """
    source, lengths = image
    at = Random(turn).randrange(lengths[-BEHIND_MAX], lengths[-1])
    path = damaged(source, tmp_path / "torn", at)
    for _ in range(3):
        journal = Journal(path, CHAIN, KEY)
        found = len(journal.recover().consensus.records)
        assert COMMITS - BEHIND_MAX - 1 <= found < COMMITS + 3
        journal.commit([Persist(found + 1, b"goes on")])
        journal.close()


def test_only_so_many_transactions_are_behind_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", CHAIN, KEY)
    lagging = []
    for lsn in range(1, BEHIND_MAX + 3):
        journal.write_behind([Persist(lsn, b"promise")])
        lagging.append(journal.lags)
    journal.close()
    assert lagging == [True] * BEHIND_MAX + [False, True]
