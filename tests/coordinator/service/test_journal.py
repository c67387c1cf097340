"""What a replica must remember, and when it must refuse to go on."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bft.codec.canonical import encode
from bft.errors import ConfigError
from bft.ordering.batch import Batch
from bft.pbft.events import Accuse, Persist, Prune
from chain.records.score_log import (
    Assigned,
    CloseReason,
    CycleClosed,
    Ordered,
    decode_leaf,
    encode_leaf,
)
from coordinator.effects import Append, BlockAccepted, Installed, Restored, SaveState
from coordinator.service import journal as journals
from coordinator.service.journal import SCHEMA_VERSION, STATES_KEPT, Journal, JournalError
from coordinator.service.reader import JournalReader

CHAIN, KEY = b"c" * 32, b"k" * 33


def batch(sequence: int, size: int = 0) -> bytes:
    requests = (bytes(size),) if size else ()
    return encode(Batch(timestamp_ms=sequence, requests=requests))


def append(sequence: int, *, size: int = 0) -> Append:
    """A batch with one derived record, as replicas with two leaves a batch would log it."""
    data = batch(sequence, size)
    return Append(
        sequence=sequence,
        batch=data,
        proof=b"proof",
        first_index=2 * (sequence - 1),
        records=(
            Ordered(sequence=sequence, agreed_ms=sequence, batch=data),
            CycleClosed(cycle=sequence, reason=int(CloseReason.NO_MINERS)),
        ),
    )


def reopen(path: Path) -> Journal:
    return Journal(path, CHAIN, KEY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def filled(path: Path) -> None:
    """Four promises of which one is pruned, four batches, and the state after the second."""
    journal = reopen(path)
    journal.commit([Persist(lsn, b"promise %d" % lsn) for lsn in (1, 2, 3, 4)])
    journal.commit([append(1), append(2), SaveState(2, b"state 2"), append(3), Prune(1)])
    journal.commit([append(4)])
    journal.close()


def test_what_was_committed_is_there_after_a_restart(path: Path) -> None:
    filled(path)
    journal = reopen(path)
    recovery = journal.recover()
    journal.close()
    assert recovery.consensus.records == ((2, b"promise 2"), (3, b"promise 3"), (4, b"promise 4"))
    assert recovery.consensus.executed == 4
    assert (recovery.saved_sequence, recovery.saved) == (2, b"state 2")
    assert recovery.tail == ((3, batch(3)), (4, batch(4)))
    assert recovery.log_size == 8


def test_promises_that_come_and_go_do_not_grow_the_file(path: Path) -> None:
    """A month is many checkpoints: what each of them prunes is written over."""
    journal = reopen(path)
    sizes = []
    for turn in range(12):
        first = 1 + 20 * turn
        journal.commit([Persist(lsn, bytes(5_000)) for lsn in range(first, first + 20)])
        journal.commit([SaveState(turn + 1, bytes(50_000)), Prune(first + 19)])
        sizes.append(path.stat().st_size)
    journal.close()
    assert len(set(sizes[-6:])) == 1
    assert path.stat().st_size < 400_000


def test_space_that_is_no_longer_needed_is_given_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "FREE_PAGES_KEPT", 10)
    journal = reopen(path)
    journal.commit([append(1), *(Persist(lsn, bytes(5_000)) for lsn in range(1, 201))])
    journal.close()
    full = path.stat().st_size
    journal = reopen(path)
    journal.commit([Prune(190)])
    journal.close()
    assert full > 1_000_000 > 4 * path.stat().st_size
    journal = reopen(path)
    assert len(journal.recover().consensus.records) == 10
    assert journal.recover().log_size == 2
    journal.close()


def test_a_new_journal_remembers_nothing(path: Path) -> None:
    journal = reopen(path)
    recovery = journal.recover()
    journal.close()
    assert recovery.consensus.records == () and recovery.consensus.executed == 0
    assert recovery.saved is None and recovery.tail == () and recovery.log_size == 0


def test_only_the_newest_states_are_kept(path: Path) -> None:
    journal = reopen(path)
    journal.commit([append(sequence) for sequence in range(1, 6)])
    journal.commit([SaveState(sequence, b"%d" % sequence) for sequence in range(1, 6)])
    journal.close()
    connection = sqlite3.connect(path)
    kept = [row[0] for row in connection.execute("SELECT sequence FROM states ORDER BY sequence")]
    connection.close()
    assert kept == list(range(6 - STATES_KEPT, 6))


def edit(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE wal SET record = x'00' WHERE lsn = 3", "record 3 of wal is damaged"),
        ("UPDATE wal SET lsn = 7 WHERE lsn = 3", "record 7 of wal is damaged"),
        ("UPDATE log SET leaf = x'00' WHERE idx = 2", "entry 2 of log is damaged"),
        ("UPDATE log SET proof = x'00' WHERE idx = 4", "entry 4 of log is damaged"),
        ("DELETE FROM log WHERE idx = 5", "entry 5 of log is damaged"),
        ("DELETE FROM meta WHERE key = 'chain'", "is of chain"),
    ],
)
def test_damage_in_the_middle_keeps_the_replica_from_voting(
    path: Path, statement: str, told: str
) -> None:
    filled(path)
    edit(path, statement)
    with pytest.raises(ConfigError, match=told):
        reopen(path).recover()


def test_the_text_says_what_to_do(path: Path) -> None:
    filled(path)
    edit(path, "UPDATE wal SET record = x'00' WHERE lsn = 2")
    journal = reopen(path)
    with pytest.raises(ConfigError, match="gristmill operator init"):
        journal.recover()
    journal.close()


def test_a_damaged_state_is_replaced_by_replaying_the_log(path: Path) -> None:
    filled(path)
    edit(path, "UPDATE states SET state = x'00' WHERE sequence = 2")
    journal = reopen(path)
    recovery = journal.recover()
    journal.close()
    assert recovery.saved is None
    assert [sequence for sequence, _ in recovery.tail] == [1, 2, 3, 4]


def other_chain(path: Path) -> Journal:
    return Journal(path, b"d" * 32, KEY)


def other_replica(path: Path) -> Journal:
    return Journal(path, CHAIN, b"l" * 33)


@pytest.mark.parametrize(
    ("opening", "told"), [(other_chain, "is of chain"), (other_replica, "is of replica")]
)
def test_a_journal_serves_one_replica_of_one_chain(
    path: Path, opening: Callable[[Path], Journal], told: str
) -> None:
    filled(path)
    with pytest.raises(ConfigError, match=told):
        opening(path)


def test_a_newer_schema_is_refused(path: Path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(ConfigError, match=f"schema {SCHEMA_VERSION + 1}"):
        reopen(path)


TABLES = ("gap", "guard", "epochs")  # what versions 2, 3 and 4 added


@pytest.mark.parametrize(("version", "newer"), [(1, TABLES), (2, TABLES[1:]), (3, TABLES[2:])])
def test_an_older_schema_is_brought_up_to_date(
    path: Path, version: int, newer: tuple[str, ...]
) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    for table in newer:
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    journal = reopen(path)
    assert journal.recover().log_size == 8
    journal.close()


def test_another_database_is_no_journal(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    with pytest.raises(ConfigError, match="no journal"):
        reopen(path)


def test_bytes_that_are_no_database_are_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(ConfigError, match="forgotten"):
        reopen(path)


def test_a_journal_that_is_gone_is_not_begun_anew(path: Path) -> None:
    """A replica with an empty memory would vote twice."""
    filled(path)
    path.unlink()
    for _ in range(2):
        journal = reopen(path)
        told = journal.recover().forgotten
        assert told is not None and "is gone" in told and "must not vote" in told
        journal.close()


def test_what_was_forgotten_stays_forgotten(path: Path) -> None:
    filled(path)
    journal = reopen(path)
    assert journal.recover().forgotten is None
    journal.forget("an old copy")
    journal.close()
    journal = reopen(path)
    assert journal.recover().forgotten == "an old copy"
    journal.close()


def test_after_a_refused_write_nothing_counts_any_more(path: Path) -> None:
    """All or nothing: the good half of a refused transaction is not there either."""
    filled(path)
    journal = reopen(path)
    with pytest.raises(JournalError):
        journal.commit([Persist(5, b"promise 5"), Persist(4, b"again")])
    with pytest.raises(JournalError):
        journal.commit([Persist(5, b"promise 5")])
    journal.close()
    journal = reopen(path)
    assert journal.recover().consensus.records[-1] == (4, b"promise 4")
    journal.close()


def test_what_was_written_counts_once_it_is_synced(path: Path) -> None:
    """A process that dies between the two has promised nothing, and pruned nothing."""
    filled(path)
    for synced in (False, True):
        journal = reopen(path)
        journal.write([Persist(5, b"promise 5"), Prune(3)])
        if synced:
            journal.sync()
        journal.close()
        journal = reopen(path)
        lsns = [lsn for lsn, _ in journal.recover().consensus.records]
        journal.close()
        assert lsns == ([4, 5] if synced else [2, 3, 4])


def test_what_was_written_behind_is_there_at_once_and_in_order(path: Path) -> None:
    """For readers, and for the next process; a commit after it makes it durable as well."""
    filled(path)
    journal = reopen(path)
    journal.write_behind([Persist(5, b"promise 5"), append(5)])
    reader = JournalReader(path)
    assert reader.history(5, 5, 1, 10**6)
    reader.close()
    assert journal.lags
    journal.commit([])
    assert not journal.lags
    journal.write_behind([Persist(6, b"promise 6")])
    journal.commit([Persist(7, b"promise 7")])
    journal.close()
    journal = reopen(path)
    assert [lsn for lsn, _ in journal.recover().consensus.records][-3:] == [5, 6, 7]
    journal.close()


def test_a_log_range_is_bounded_in_entries_and_bytes_but_never_empty(path: Path) -> None:
    journal = reopen(path)
    journal.commit([append(1), append(2, size=1000), append(3)])
    journal.close()
    reader = JournalReader(path)
    assert [entry.index for entry in reader.entries(1, 2, 10**6)] == [1, 2]
    assert [entry.index for entry in reader.entries(2, 10, 900)] == [2]
    assert [entry.index for entry in reader.entries(0, 10, 900)] == [0, 1]
    assert reader.entries(6, 10, 10**6) == ()
    assert [entry.index for entry in reader.entries(0, 10, 10**6, True)] == [1, 3, 5]
    first, second = reader.entries(0, 2, 10**6)
    assert first.leaf == encode_leaf(append(1).records[0]) and first.proof == b"proof"
    assert isinstance(decode_leaf(second.leaf), CycleClosed) and second.proof == b""
    reader.close()


def test_history_is_served_with_its_proofs_and_bounded(path: Path) -> None:
    journal = reopen(path)
    journal.commit([append(1), append(2, size=1000), append(3), append(4)])
    journal.close()
    reader = JournalReader(path)
    assert reader.history(1, 9, 2, 10**6) == (
        (1, batch(1), b"proof"),
        (2, batch(2, 1000), b"proof"),
    )
    assert [entry[0] for entry in reader.history(2, 3, 9, 10)] == [2]
    assert [entry[0] for entry in reader.history(3, 3, 9, 10**6)] == [3]
    reader.close()


def test_a_damaged_entry_is_not_served(path: Path) -> None:
    filled(path)
    edit(path, "UPDATE log SET leaf = x'00' WHERE idx = 2")
    reader = JournalReader(path)
    with pytest.raises(JournalError, match="entry 2"):
        reader.entries(0, 10, 10**6)
    reader.close()


def test_records_are_found_again_by_kind_and_number(path: Path) -> None:
    assigned = Assigned(cycle=7, seed=bytes(32), base=bytes(32), units=())
    first = append(1)
    journal = reopen(path)
    journal.commit(
        [
            Append(
                sequence=1,
                batch=first.batch,
                proof=b"proof",
                first_index=0,
                records=(first.records[0], assigned, *first.records[1:]),
            )
        ]
    )
    journal.close()
    reader = JournalReader(path)
    assert reader.places("assigned", 7, 7) == ((7, 1),)
    assert reader.places("closed", 0, 9) == ((1, 2),)
    assert reader.places("assigned", 8, 9) == ()
    reader.close()


def test_blocks_and_evidence_are_kept_once(path: Path) -> None:
    journal = reopen(path)
    block = BlockAccepted(height=3, block_hash=b"h" * 32, block=b"block")
    accusation = Accuse(culprit=2, text="two commits", evidence=(b"one", b"other"))
    journal.commit([block, accusation])
    journal.commit([block, accusation])
    journal.close()
    reader = JournalReader(path)
    assert reader.block(b"h" * 32) == b"block"
    assert reader.block(b"i" * 32) is None
    assert reader.accusations() == ((2, "two commits"),)
    reader.close()


INSTALLED = Installed(
    sequence=7,
    state=b"state 7",
    state_root=b"r" * 32,
    end_index=14,
    base_sequence=4,
    base_index=8,
    base=b"state 4",
)


def transferred(path: Path, *after: Append | Restored) -> None:
    """Four batches, then the state after the seventh, then what follows."""
    filled(path)
    journal = reopen(path)
    journal.commit([Persist(5, b"stable"), INSTALLED, Prune(4)])
    journal.commit(after)
    journal.close()


def test_a_state_that_came_from_others_is_there_after_a_restart(path: Path) -> None:
    transferred(path)
    journal = reopen(path)
    recovery = journal.recover()
    journal.close()
    assert recovery.consensus.executed == 7
    assert (recovery.saved_sequence, recovery.saved, recovery.tail) == (7, b"state 7", ())
    assert recovery.log_size == 14
    gap = recovery.gap
    assert gap is not None
    assert (gap.sequence, gap.index, gap.last_sequence, gap.end_index) == (4, 8, 7, 14)
    assert (gap.base, gap.batches, gap.state_root) == (b"state 4", (), b"r" * 32)


def test_the_log_goes_on_behind_the_gap_and_the_gap_closes_from_its_beginning(path: Path) -> None:
    fifth = Restored(append=append(5), base=b"state 5", closed=False)
    sixth = Restored(append=append(6), base=None, closed=False)
    transferred(path, append(8), fifth, sixth)
    journal = reopen(path)
    recovery = journal.recover()
    assert recovery.consensus.executed == 8
    assert recovery.tail == ((8, batch(8)),)
    assert recovery.log_size == 16
    gap = recovery.gap
    assert gap is not None
    assert (gap.sequence, gap.index, gap.base) == (6, 12, b"state 5")
    assert gap.batches == ((6, batch(6)),)
    journal.commit([Restored(append=append(7), base=None, closed=True), append(9)])
    journal.close()
    journal = reopen(path)
    recovery = journal.recover()
    journal.close()
    assert recovery.gap is None
    assert (recovery.log_size, recovery.consensus.executed) == (18, 9)


def test_a_reader_hands_out_nothing_across_a_gap(path: Path) -> None:
    """What looks contiguous is contiguous, for auditors as for late replicas."""
    transferred(path, append(8), Restored(append=append(5), base=None, closed=False))
    reader = JournalReader(path)
    assert [entry.index for entry in reader.entries(6, 100, 10**6)] == [6, 7, 8, 9]
    assert [entry.index for entry in reader.entries(6, 100, 10**6, derived_only=True)] == [7, 9]
    assert reader.entries(10, 100, 10**6) == ()
    assert [entry.index for entry in reader.entries(14, 100, 10**6)] == [14, 15]
    assert [sequence for sequence, *_ in reader.history(3, 9, 100, 10**6)] == [3, 4, 5]
    assert reader.history(6, 9, 100, 10**6) == ()
    assert [sequence for sequence, *_ in reader.history(8, 9, 100, 10**6)] == [8]
    reader.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE gap SET base = x'00'",
        "UPDATE gap SET end_idx = 13",
        "DELETE FROM gap",
        "DELETE FROM log WHERE idx = 6",
        "DELETE FROM log WHERE idx = 14",
        "UPDATE states SET state = x'00' WHERE sequence = 7",
    ],
)
def test_damage_around_a_gap_is_found(path: Path, damage: str) -> None:
    transferred(path, append(8))
    edit(path, damage)
    journal = reopen(path)
    with pytest.raises(ConfigError, match="forgotten"):
        journal.recover()
    journal.close()
