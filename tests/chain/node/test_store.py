"""What a node keeps survives its death, and belongs to one chain."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bft.errors import ConfigError
from chain.gossip_events import SaveBlock, SaveEvidence, SaveFinal, SaveFinality
from chain.node.core import NodeCore, unix_ms
from chain.node.store import DISCOURAGED_MAX, Store
from chain.records.evidence import encode_evidence, equivocation
from chain.tree import BlockTree
from chain.validation import genesis_view
from tests.chain.federation_fixture import (
    CHAIN_ID,
    OTHER,
    START,
    block_on,
    finality_of,
    make_chain,
    make_genesis,
    view_of,
)
from tests.chain.node.homes import make_config

FIRST, SECOND = make_chain(2)
RIVAL = block_on(START, miner=OTHER, rank=1)
ROOT = Path(__file__).parents[3]
KILLED_AFTER = 25  # blocks


def open_store(tmp_path: Path) -> Store:
    return Store(tmp_path / "chain.sqlite", CHAIN_ID, START)


def test_an_empty_store_holds_the_genesis_block(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.tree() == BlockTree(START)
    assert store.final_hash(0) == START.hash
    assert store.final_hash(1) is None
    store.close()


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save([SaveBlock(block=FIRST), SaveBlock(block=RIVAL)])
    store.save([SaveFinal(view=view_of(FIRST)), SaveFinality(finality=finality_of(FIRST))])
    store.save([SaveBlock(block=SECOND)])
    before = store.tree()
    store.close()
    store = open_store(tmp_path)
    assert store.tree() == before
    assert before.final == view_of(FIRST)
    assert before.finality == finality_of(FIRST)
    assert before.tip == view_of(SECOND)
    assert store.block(RIVAL.hash) is None  # it has lost
    assert store.final_block(1) == FIRST
    store.close()


def test_a_step_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save([SaveBlock(block=FIRST), SaveFinal(view=view_of(FIRST))])
    with pytest.raises(sqlite3.IntegrityError):
        store.save([SaveBlock(block=SECOND), SaveFinal(view=view_of(FIRST))])
    assert store.block(SECOND.hash) is None
    store.close()


def test_evidence_is_kept_once(tmp_path: Path) -> None:
    twin = block_on(START, time=START.time + 11)
    piece = equivocation(FIRST.certified_header, twin.certified_header)
    store = open_store(tmp_path)
    for _ in range(2):
        store.save([SaveEvidence(data=encode_evidence(piece), fault=False)])
    assert store.evidence() == (piece,)
    store.close()


def test_a_store_of_another_chain_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    other = make_genesis(b"another")
    with pytest.raises(ConfigError, match="holds chain"):
        Store(tmp_path / "chain.sqlite", other.chain_id, genesis_view(other))


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    db = sqlite3.connect(tmp_path / "chain.sqlite")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(ConfigError, match="version 9"):
        open_store(tmp_path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chain.sqlite").write_bytes(b"no database, just some bytes " * 100)
    with pytest.raises(ConfigError, match="not a database"):
        open_store(tmp_path)


def test_discouragement_ends(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert not store.is_discouraged("192.0.2.1", 10)
    store.discourage("192.0.2.1", 10, 100)
    assert store.is_discouraged("192.0.2.1", 99)
    assert not store.is_discouraged("192.0.2.1", 100)
    store.close()


def test_discouraged_addresses_are_bounded(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for index in range(DISCOURAGED_MAX + 1):
        store.discourage(f"host {index}", 0, 100 + index)
    assert not store.is_discouraged("host 0", 1)
    assert store.is_discouraged("host 1", 1)
    assert store.is_discouraged(f"host {DISCOURAGED_MAX}", 1)
    store.close()


def test_two_nodes_do_not_share_a_home(tmp_path: Path) -> None:
    core = NodeCore(make_config(tmp_path), unix_ms)
    with pytest.raises(ConfigError, match="another node"):
        NodeCore(make_config(tmp_path), unix_ms)
    core.close()
    NodeCore(make_config(tmp_path), unix_ms).close()


@pytest.mark.integration
def test_what_was_told_to_be_saved_survives_kill_9_in_the_middle_of_writing(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "tests.chain.node.saving_node", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        told = [node.stdout.readline().split() for _ in range(KILLED_AFTER)]
        node.kill()
        told += [line.split() for line in node.stdout if len(line.split()) == 2]
    core = NodeCore(make_config(tmp_path), unix_ms)
    assert core.tree.tip.height >= int(told[-1][0]) >= KILLED_AFTER
    previous = START.hash
    for height, block_hash in told[:-1]:
        block = core.store.final_block(int(height))
        assert block is not None
        assert (block.header.previous, block.hash.hex()) == (previous, block_hash)
        previous = block.hash
    core.close()


def test_a_store_of_version_one_learns_its_coins(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for block in (FIRST, SECOND):
        store.save([SaveBlock(block=block), SaveFinal(view=view_of(block))])
    reward = (SECOND.transactions[0].txid, 0)
    coin = store.coins.coin(reward)
    store.close()
    with sqlite3.connect(tmp_path / "chain.sqlite") as database:
        database.execute("DROP TABLE coins")
        database.execute("DROP TABLE times")
        database.execute("PRAGMA user_version = 1")
    database.close()
    store = open_store(tmp_path)
    assert coin is not None
    assert store.coins.coin(reward) == coin
    assert store.coins.height == 2
    store.close()


def test_bytes_and_headers_of_blocks_come_without_their_transactions(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save([SaveBlock(block=FIRST), SaveFinal(view=view_of(FIRST)), SaveBlock(block=SECOND)])
    for _ in range(2):
        assert store.final_header(1) == FIRST.certified_header.encode()
    assert store.final_header(2) is None
    assert store.block_data(SECOND.hash) == SECOND.data
    assert store.block_data(bytes(32)) is None
    store.close()
