"""A fresh store's tables, filled from a snapshot; in one transaction of whoever holds it."""

import sqlite3

from chain.bitcoin.ledger import Coin, Outpoint
from chain.records.block import Block, CertifiedHeader
from chain.records.evidence import Finality


class Filling:
    """Takes what was verified, in the order of the file."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def header(self, certified: CertifiedHeader) -> None:
        """The next final block's; its transactions are not here."""
        height = certified.certificate.height
        row = (height, certified.hash, certified.encode())
        self._db.execute("INSERT INTO final VALUES (?, ?, ?, x'')", row)
        self._db.execute("INSERT INTO times VALUES (?, ?)", (height, certified.header.time))

    def last(self, block: Block, word: Finality) -> None:
        """The newest final block, with the federation's word on it."""
        row = (block.hash, block.certificate.height, block.header.previous, block.data)
        self._db.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", row)
        said = (word.height, word.block, word.signature)
        self._db.execute("INSERT INTO finality VALUES (?, ?, ?)", said)

    def coin(self, outpoint: Outpoint, coin: Coin) -> None:
        """One of the coins after that block."""
        output = coin.output
        row = (*outpoint, output.value, output.script, coin.height, coin.coinbase)
        self._db.execute("INSERT INTO coins VALUES (?, ?, ?, ?, ?, ?)", row)
