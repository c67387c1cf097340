"""What a miner keeps is whole and synced or not there; what is damaged is not used."""

import json
from pathlib import Path

import pytest

from bft.crypto.hashing import sha256
from bft.errors import ConfigError, DecodeError
from miner import files
from miner.actions import Update
from miner.files import (
    CertificateStore,
    EventFile,
    HomeLock,
    ModelCache,
    UnitStore,
    write_durably,
)
from tests.miner.test_session import USED

DATA = b"an update"


def update_of(cycle: int, unit: int = 0) -> Update:
    return Update(
        cycle=cycle,
        unit=unit,
        segment=0,
        salt=bytes(32),
        digest=sha256(DATA),
        size=len(DATA),
        resources=USED,
    )


def store_with(home: Path, *updates: Update) -> UnitStore:
    store = UnitStore(home)
    for update in updates:
        store.bytes_path(update.cycle, update.unit).write_bytes(DATA)
        store.keep(update)
    return store


def test_a_kept_update_is_found_after_a_restart(tmp_path: Path) -> None:
    store_with(tmp_path, update_of(3, 1), update_of(3, 0), update_of(2))
    again = UnitStore(tmp_path)
    assert again.restore() == (update_of(2), update_of(3, 0), update_of(3, 1))
    assert again.read(update_of(2)) == DATA


def test_secrets_are_readable_by_nobody_else(tmp_path: Path) -> None:
    store_with(tmp_path, update_of(1))
    (record,) = (tmp_path / "units").glob("*.record")
    assert record.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("suffix", ["update", "record"])
@pytest.mark.parametrize("damage", [b"", b"other bytes"])
def test_a_damaged_update_is_not_used_and_the_others_are(
    tmp_path: Path, suffix: str, damage: bytes
) -> None:
    store = store_with(tmp_path, update_of(1), update_of(2))
    (path,) = (tmp_path / "units").glob(f"*1-*.{suffix}")
    path.write_bytes(damage)
    assert store.restore() == (update_of(2),)


def test_an_update_whose_bytes_are_gone_cannot_be_read(tmp_path: Path) -> None:
    store = store_with(tmp_path, update_of(1))
    store.bytes_path(1, 0).unlink()
    with pytest.raises(DecodeError):
        store.read(update_of(1))
    assert store.restore() == ()


def test_a_settled_cycle_is_deleted_and_no_other(tmp_path: Path) -> None:
    store = store_with(tmp_path, update_of(1), update_of(11), update_of(111))
    store.forget(1)
    assert store.restore() == (update_of(11), update_of(111))
    store.forget(1)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"first")
    with pytest.raises(TypeError):
        write_durably(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_newest_models_are_kept(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path)
    digests = [sha256(b"%d" % number) for number in range(files.MODELS_KEPT_MAX + 1)]
    for number in range(files.MODELS_KEPT_MAX + 1):
        cache.put(b"%d" % number)
    assert [cache.holds(digest) for digest in digests] == [False] + [True] * files.MODELS_KEPT_MAX


def test_a_damaged_model_is_not_held(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path)
    path = cache.put(b"model")
    path.write_bytes(b"muddle")
    assert not cache.holds(sha256(b"model"))


def test_one_home_is_one_miner(tmp_path: Path) -> None:
    with HomeLock(tmp_path), pytest.raises(ConfigError, match="another miner"), HomeLock(tmp_path):
        pass
    with HomeLock(tmp_path):
        pass


def test_events_are_whole_lines_and_the_file_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = EventFile(tmp_path)
    assert events.newest(5) == []
    for step in range(10):
        events.write("training", {"step": step, "loss": 0.5})
    assert [told["step"] for told in events.newest(3)] == [7, 8, 9]
    monkeypatch.setattr(files, "EVENTS_BYTES_MAX", (tmp_path / "events.jsonl").stat().st_size)
    events.write("committed", {"cycle": 1})
    assert not (tmp_path / "events.jsonl").exists()
    old = (tmp_path / "events.jsonl.1").read_bytes().splitlines()
    assert json.loads(old[-1])["event"] == "committed"


def test_certificates_are_listed_oldest_first(tmp_path: Path) -> None:
    store = CertificateStore(tmp_path)
    for cycle in (9, 10):
        assert store.keep(cycle, {"cycle": cycle}) == f"{cycle:012d}.json"
    assert [document["cycle"] for document in store.newest()] == [9, 10]
