"""`gristmill node snapshot`, and kill -9 in the middle of a load."""

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from chain.node.config import save_config
from chain.node.store import Store
from chain.snapshot.load import LOADING
from gristmill.cli import main
from tests.chain.federation_fixture import CHAIN_ID, START
from tests.chain.node.homes import make_config
from tests.chain.snapshot.snapshots import LENGTH, full_store, make_snapshot
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a node that has run, and keeps an index."""
    config = make_config(tmp_path / "full", transaction_index=True)
    full_store(config.database).close()
    save_config(config)
    return tmp_path / "full"


def empty_home(path: Path) -> Path:
    save_config(make_config(path))
    return path


def test_from_one_home_into_another(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, other = home / "coins.snapshot", empty_home(home.parent / "other")
    assert main(["node", "snapshot", "export", str(file), "--home", str(home), "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)["data"]
    assert exported["height"] == exported["coins"] == LENGTH
    assert main(["node", "snapshot", "digest", "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == exported
    load = ["node", "snapshot", "load", str(file), "--home", str(other), "--json", "--digest"]
    assert main([*load, "00" * 32]) != 0
    assert main([*load, "nonsense"]) != 0
    capsys.readouterr()
    assert main([*load, exported["digest"]]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == exported


def test_asking_a_home_keeps_its_indexes(home: Path) -> None:
    database = home / "chain.sqlite"
    config = make_config(home, transaction_index=True)
    Store(database, CHAIN_ID, START, indexes=config.indexes).close()
    assert main(["node", "tip", "--home", str(home)]) == 0
    assert main(["node", "snapshot", "digest", "--home", str(home)]) == 0
    with closing(sqlite3.connect(database)) as opened:
        tables = opened.execute("SELECT name FROM sqlite_master").fetchall()
    assert ("transactions_index",) in tables


async def test_kill_9_while_it_loads_leaves_no_store(tmp_path: Path) -> None:
    """The file is a pipe that brings its first two thirds, so that the load surely is halfway."""
    path, head = make_snapshot(tmp_path / "made")
    data, home = path.read_bytes(), empty_home(tmp_path / "home")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    trusted = head.digest[::-1].hex()
    command = ["node", "snapshot", "load", str(pipe), "--home", str(home), "--digest", trusted]
    loading = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gristmill", *command, cwd=ROOT
    )
    try:
        with pipe.open("r+b", buffering=0) as out:  # r+: does not wait for the reader
            out.write(data[: len(data) * 2 // 3])
            async with asyncio.timeout(PATIENCE_S):
                while not (home / f"chain.sqlite{LOADING}").exists():
                    assert loading.returncode is None
                    await asyncio.sleep(0.01)
            loading.kill()
            await loading.wait()
    finally:
        if loading.returncode is None:
            loading.kill()
            await loading.wait()
    assert not (home / "chain.sqlite").exists()
    assert main([*command[:3], str(path), *command[4:]]) == 0
    store = Store(home / "chain.sqlite", CHAIN_ID, START)
    assert store.tree().final.height == LENGTH
    store.close()
    assert not (home / f"chain.sqlite{LOADING}").exists()
