"""A disk that is full or damaged: the reason is said, nothing final is lost, and it goes on."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bft.errors import ConfigError, Unavailable
from chain.gossip_events import BlockSubmitted
from chain.node.core import NodeCore, unix_ms
from chain.snapshot.load import load_snapshot
from tests.chain.federation_fixture import FEDERATION_KEY, GENESIS, block_on
from tests.chain.node.homes import make_config
from tests.chain.snapshot.snapshots import make_snapshot

FILE_BYTES = 4096  # more than this nobody can write into one file


@contextmanager
def full_disk() -> Iterator[None]:
    """Writes beyond FILE_BYTES of a file fail, as the operating system does it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def submit(core: NodeCore, count: int) -> None:
    for _ in range(count):
        block = block_on(core.tree.tip)
        core.step(BlockSubmitted(data=block.data), lambda effect: None)


def test_a_full_disk_stops_the_node_which_goes_on_once_there_is_room(tmp_path: Path) -> None:
    core = NodeCore(make_config(tmp_path), unix_ms)
    submit(core, 3)
    final = core.tree.final
    with full_disk(), pytest.raises(Unavailable, match=r"chain\.sqlite cannot be used: disk I/O"):
        submit(core, 1)
    assert core.failed
    with pytest.raises(Unavailable, match="has stopped"):
        submit(core, 1)
    core.close()
    core = NodeCore(make_config(tmp_path), unix_ms)
    assert core.tree.tip.height == 3
    assert core.tree.final == final
    submit(core, 2)
    assert core.tree.tip.height == 5
    core.close()


async def test_what_stopped_a_node_is_told_as_one_line(tmp_path: Path) -> None:
    core = NodeCore(make_config(tmp_path), unix_ms)
    core.fail(sqlite3.DatabaseError("database disk image is malformed"))
    with pytest.raises(Unavailable, match=r"chain\.sqlite cannot be used: database disk image"):
        await core.until(lambda: False)
    core.close()


@pytest.mark.parametrize("table", ["blocks", "evidence", "meta"])
def test_a_damaged_page_is_said_when_the_node_begins(tmp_path: Path, table: str) -> None:
    config = make_config(tmp_path)
    core = NodeCore(config, unix_ms)
    submit(core, 2)
    core.close()
    with sqlite3.connect(config.database) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        page = database.execute(query, (table,)).fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    database.close()
    data = bytearray(config.database.read_bytes())
    data[(page - 1) * size : page * size] = b"\xff" * size
    config.database.write_bytes(data)
    for _ in range(2):  # the lock of the home was given back
        with pytest.raises(ConfigError, match=r"chain\.sqlite: database disk image is malformed"):
            NodeCore(config, unix_ms)


def test_a_snapshot_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    path, head = make_snapshot(tmp_path)
    database = tmp_path / "home" / "chain.sqlite"
    database.parent.mkdir()
    with full_disk(), pytest.raises((Unavailable, ConfigError), match="disk I/O error"):
        load_snapshot(path, database, GENESIS, FEDERATION_KEY, head.digest)
    assert list(database.parent.iterdir()) == []
    load_snapshot(path, database, GENESIS, FEDERATION_KEY, head.digest)
    assert database.exists()
