"""Beginning from a snapshot: the same coins, and nothing that was altered is taken."""

import random
from pathlib import Path

import pytest

from bft.errors import BadSignature, ConfigError, DecodeError, Refused, Unavailable
from chain.gossip_events import BlockSubmitted
from chain.node.core import NodeCore, unix_ms
from chain.node.store import Store
from chain.snapshot.export import export_snapshot
from chain.snapshot.file import SnapshotHead, coin_elements
from chain.snapshot.load import LOADING, load_snapshot
from chain.snapshot.muhash import digest_of
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    GENESIS,
    START,
    block_on,
    make_genesis,
    view_of,
)
from tests.chain.node.homes import make_config
from tests.chain.snapshot.snapshots import LENGTH, full_store, make_snapshot, planted

Snapshot = tuple[Path, SnapshotHead]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return make_snapshot(tmp_path_factory.mktemp("snapshot"))


def load(made: Snapshot, database: Path, data: bytes | None = None) -> SnapshotHead:
    """`data` instead of the file's, if it is given."""
    path, head = made
    if data is not None:
        path = database.with_name("altered")
        path.write_bytes(data)
    return load_snapshot(path, database, GENESIS, FEDERATION_KEY, head.digest)


def test_what_was_loaded_is_what_was_exported(made: Snapshot, tmp_path: Path) -> None:
    assert load(made, tmp_path / "chain.sqlite") == made[1]
    loaded = Store(tmp_path / "chain.sqlite", CHAIN_ID, START)
    full = full_store(tmp_path / "full.sqlite")
    assert list(loaded.coins.all()) == list(full.coins.all())
    assert digest_of(coin_elements(loaded.coins.all())) == made[1].digest
    assert loaded.tree() == full.tree()
    assert loaded.pruned_height == LENGTH - 1
    for height in range(LENGTH + 1):
        assert loaded.final_header(height) == full.final_header(height)
        assert loaded.coins.time(height) == full.coins.time(height)
    again = tmp_path / "again.snapshot"
    export_snapshot(loaded, CHAIN_ID, again)
    assert again.read_bytes() == made[0].read_bytes(), "one set of coins, one file"
    assert loaded.origin is not None and loaded.origin.validated is None
    assert full.origin is None


def test_a_node_goes_on_from_it(made: Snapshot, tmp_path: Path) -> None:
    config = make_config(tmp_path)
    load(made, config.database)
    core = NodeCore(config, unix_ms)
    parent = core.tree.tip
    assert parent.height == LENGTH
    for _ in range(2):
        block = block_on(parent)
        core.step(BlockSubmitted(data=block.data), lambda effect: None)
        parent = view_of(block)
    assert core.tree.tip == parent
    assert core.store.coins.totals()[0] == LENGTH + 1
    core.close()


def test_every_byte_counts(made: Snapshot, tmp_path: Path) -> None:
    """Bytes of head and end, and a sample of those between; each by one random bit."""
    data, chance = made[0].read_bytes(), random.Random(7)
    ends = [*range(0, 150, 7), *range(len(data) - 60, len(data), 9)]
    for at in ends + chance.sample(range(150, len(data) - 60), 30):
        altered = bytearray(data)
        altered[at] ^= 1 << chance.randrange(8)
        with pytest.raises((DecodeError, Refused, BadSignature)):
            load(made, tmp_path / "chain.sqlite", bytes(altered))
        assert not (tmp_path / "chain.sqlite").exists()


def test_neither_too_short_nor_too_long(made: Snapshot, tmp_path: Path) -> None:
    data = made[0].read_bytes()
    for size in (0, 10, 100, 130, len(data) // 2, len(data) - 1):
        with pytest.raises(DecodeError, match="too early"):
            load(made, tmp_path / "chain.sqlite", data[:size])
    with pytest.raises(DecodeError, match="after the end"):
        load(made, tmp_path / "chain.sqlite", data + b"\0")
    assert [path.name for path in tmp_path.iterdir()] == ["altered"]


@pytest.mark.parametrize(
    ("honest_head", "code"), [(True, "snapshot-digest"), (False, "other-digest")]
)
def test_a_planted_coin_is_refused(
    made: Snapshot, tmp_path: Path, honest_head: bool, code: str
) -> None:
    data, _ = planted(tmp_path, made[1], honest_head=honest_head)
    with pytest.raises(Refused) as refused:
        load(made, tmp_path / "chain.sqlite", data)
    assert refused.value.code == code


def test_another_chains_is_refused(made: Snapshot, tmp_path: Path) -> None:
    path, head = made
    other = make_genesis(b"other")
    with pytest.raises(Refused, match="is of chain"):
        load_snapshot(path, tmp_path / "chain.sqlite", other, FEDERATION_KEY, head.digest)


def test_a_store_is_not_changed(made: Snapshot, tmp_path: Path) -> None:
    full_store(tmp_path / "chain.sqlite").close()
    with pytest.raises(ConfigError, match="exists"):
        load(made, tmp_path / "chain.sqlite")


def test_without_the_federations_word_there_is_no_snapshot(tmp_path: Path) -> None:
    store = Store(tmp_path / "empty.sqlite", CHAIN_ID, START)
    with pytest.raises(Unavailable, match="no block is final"):
        export_snapshot(store, CHAIN_ID, tmp_path / "coins.snapshot")
    assert not (tmp_path / "coins.snapshot").exists()


def test_what_a_killed_load_left_is_cleared(made: Snapshot, tmp_path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"chain.sqlite{LOADING}{suffix}").write_bytes(b"half")
    load(made, tmp_path / "chain.sqlite")
    assert [path.name for path in tmp_path.iterdir()] == ["chain.sqlite"]
