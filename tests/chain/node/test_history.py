"""What a store keeps of old blocks: headers always, undo data, indexes where they are wanted."""

import sqlite3
from pathlib import Path

import pytest

from bft.errors import ConfigError
from chain.gossip_events import SaveBlock, Saved, SaveFinal
from chain.node.indexes import SCRIPTS, TRANSACTIONS
from chain.node.store import PRUNE_MIN, Store
from chain.records.block import Block
from chain.records.coinbase import pay_to_key
from tests.chain.federation_fixture import (
    CHAIN_ID,
    OTHER,
    START,
    WINNER,
    block_on,
    make_chain,
    view_of,
)
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import MATURE, PARENT, spend_of

SPEND = spend_of(MATURE[0])
CHILD = child_of(SPEND)
SPENDING = block_on(PARENT, transactions=(SPEND, CHILD))
COIN = (MATURE[0].transactions[0].txid, 0)


def store_at(path: Path, *blocks: Block, prune: int = 0, indexes: tuple[str, ...] = ()) -> Store:
    store = Store(path / "chain.sqlite", CHAIN_ID, START, prune=prune, indexes=indexes)
    steps: list[Saved] = []
    for block in blocks:
        steps += [SaveBlock(block=block), SaveFinal(view=view_of(block))]
    store.save(steps)
    return store


def test_what_a_block_spent_can_be_told_afterwards(tmp_path: Path) -> None:
    store = store_at(tmp_path, *MATURE, SPENDING)
    (spent,) = store.undo(SPENDING.certificate.height).items()
    assert spent[0] == COIN, "what the block made itself is not in it"
    assert spent[1].output == MATURE[0].transactions[0].outputs[0]
    assert (spent[1].height, spent[1].coinbase) == (1, True)
    assert store.undo(1) == {}
    assert store.final_header(1) == MATURE[0].certified_header.encode()
    store.close()


def test_old_blocks_are_pruned_and_their_headers_stay(tmp_path: Path) -> None:
    chain = make_chain(PRUNE_MIN + 5)
    store = store_at(tmp_path, *chain, prune=1)
    assert store.pruned_height == 5
    assert store.final_block(5) is None
    assert store.final_block(6) == chain[5]
    assert store.final_header(1) == chain[0].certified_header.encode()
    assert store.coins.coin((chain[0].transactions[0].txid, 0)) is not None
    store.close()
    store = store_at(tmp_path, prune=1)
    assert store.tree().final == view_of(chain[-1])
    store.close()
    with pytest.raises(ConfigError, match="pruned"):
        store_at(tmp_path, indexes=(TRANSACTIONS,))


def test_an_index_is_made_when_it_is_wanted_and_goes_when_it_is_not(tmp_path: Path) -> None:
    store_at(tmp_path, *MATURE).close()
    store = store_at(tmp_path, SPENDING, indexes=(TRANSACTIONS, SCRIPTS))
    height = SPENDING.certificate.height
    assert store.indexes.height_of(MATURE[3].transactions[0].txid) == 4
    assert store.indexes.height_of(CHILD.txid) == height
    assert store.indexes.height_of(bytes(32)) is None
    assert store.indexes.places_of(pay_to_key(OTHER.public_key), 0, 9) == [(height, 1), (height, 2)]
    mine = store.indexes.places_of(pay_to_key(WINNER.public_key), 99, 9)
    assert mine == [(100, 0), (height, 0), (height, 1), (height, 2)], "paid, spent, paid again"
    store.close()
    store = store_at(tmp_path)
    assert store.indexes.present == frozenset()
    assert store.indexes.height_of(CHILD.txid) is None
    store.close()


def test_a_store_of_version_2_learns_headers_and_undo_data(tmp_path: Path) -> None:
    store_at(tmp_path, *MATURE, SPENDING).close()
    database = sqlite3.connect(tmp_path / "chain.sqlite", isolation_level=None)
    database.execute("ALTER TABLE final DROP COLUMN header")
    database.execute("ALTER TABLE final DROP COLUMN undo")
    database.execute("PRAGMA user_version = 2")
    database.close()
    store = store_at(tmp_path)
    assert store.final_header(7) == MATURE[6].certified_header.encode()
    assert list(store.undo(SPENDING.certificate.height)) == [COIN]
    assert store.coins.coin((CHILD.txid, 0)) is not None
    store.close()
