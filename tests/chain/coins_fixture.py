"""Coins in memory, after block 0 of the fixture's chain."""

import sqlite3

from chain.node.coins import SCHEMA, CoinTable
from tests.chain.federation_fixture import START


def memory_coins() -> CoinTable:
    """As a node's store has them after block 0."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    for statement in SCHEMA:
        database.execute(statement)
    coins = CoinTable(database)
    coins.begin(START.time)
    return coins
