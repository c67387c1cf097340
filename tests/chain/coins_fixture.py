"""Coins in memory, after block 0 of the fixture's chain."""

import sqlite3

from chain.node.coins import SCHEMA, CoinTable
from chain.validation import ParentView
from tests.chain.federation_fixture import START


def memory_coins() -> CoinTable:
    """As a node's store has them after block 0."""
    return coins_from(START)


def coins_from(genesis: ParentView) -> CoinTable:
    """None, after another block 0."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    for statement in SCHEMA:
        database.execute(statement)
    coins = CoinTable(database)
    coins.begin(genesis.time)
    return coins
