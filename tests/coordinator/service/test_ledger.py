"""A replica's coins follow from its journal's blocks, whatever happens to their file."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from bft.errors import Refused
from chain.records.block import Block
from chain.validation import genesis_view
from coordinator.service.ledger import Ledger
from tests.chain.federation_fixture import START, block_on, make_chain, make_genesis, view_of
from tests.chain.test_spending import MATURE, PARENT, spend_of

CHAIN = (*MATURE, block_on(PARENT, transactions=(spend_of(MATURE[0]),)))
SPENT = (MATURE[0].transactions[0].txid, 0)


class Blocks:
    """The journal's final blocks, of which some are not here."""

    def __init__(self, chain: tuple[Block, ...], missing: frozenset[int] = frozenset()) -> None:
        self.chain, self.missing = chain, missing

    async def final_blocks(self, above: int, limit: int) -> tuple[tuple[int, bytes, bool], ...]:
        heights = range(above + 1, min(above + limit, len(self.chain)) + 1)
        return tuple((at, self.chain[at - 1].hash, at not in self.missing) for at in heights)

    async def block(self, block_hash: bytes) -> bytes | None:
        found = (block.data for block in self.chain if block.hash == block_hash)
        return next(found, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coins.sqlite"


async def grown(path: Path, blocks: Blocks) -> Ledger:
    ledger = Ledger(path, START)
    await ledger.catch_up(blocks)
    return ledger


async def test_coins_follow_the_final_blocks(path: Path) -> None:
    ledger = await grown(path, Blocks(CHAIN))
    assert ledger.coins.height == len(CHAIN)
    assert ledger.coins.coin(SPENT) is None
    ledger.close()
    again = await grown(path, Blocks(()))  # nothing is asked for again
    assert again.coins.height == len(CHAIN)
    again.close()


async def test_a_missing_block_is_waited_for(path: Path) -> None:
    blocks = Blocks(CHAIN, missing=frozenset({40}))
    ledger = await grown(path, blocks)
    assert ledger.coins.height == 39
    blocks.missing = frozenset()
    await ledger.catch_up(blocks)
    assert ledger.coins.height == len(CHAIN)
    ledger.close()


async def test_a_damaged_file_is_made_anew(path: Path) -> None:
    (await grown(path, Blocks(CHAIN))).close()
    path.write_bytes(b"nothing that SQLite knows" * 400)
    ledger = await grown(path, Blocks(CHAIN))
    assert ledger.coins.height == len(CHAIN)
    ledger.close()


async def test_another_chains_file_is_made_anew(path: Path) -> None:
    (await grown(path, Blocks(CHAIN))).close()
    other = genesis_view(make_genesis(b"another"))
    ledger = Ledger(path, other)
    assert ledger.coins.height == 0
    assert ledger.coins.time(0) == other.time
    ledger.close()


async def test_a_rival_of_the_final_block_is_not_counted(path: Path) -> None:
    blocks = Blocks(make_chain(2))
    first = blocks.chain[0]
    rival = block_on(START, rank=1)
    assert view_of(rival).height == view_of(first).height

    async def lie(block_hash: bytes) -> bytes | None:
        return rival.data

    blocks.block = lie  # type: ignore[method-assign]
    ledger = Ledger(path, START)
    with pytest.raises(Exception, match="another one"):
        await ledger.catch_up(blocks)
    assert ledger.coins.height == 0
    ledger.close()


async def test_a_file_that_cannot_be_read_costs_a_vote_and_not_the_replica(path: Path) -> None:
    ledger = await grown(path, Blocks(CHAIN))
    rotten = sqlite3.connect(path, isolation_level=None)
    for table in ("coins", "times"):
        rotten.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")
    rotten.close()
    assert ledger.coins.height == -1  # of no tip, so it judges no block that spends
    for ask in (lambda: ledger.coins.coin(SPENT), lambda: ledger.coins.time(len(CHAIN))):
        with pytest.raises(Refused) as caught:
            ask()
        assert caught.value.code == "coins-unknown"
    await asyncio.wait_for(ledger.run(Blocks(CHAIN)), 10)  # ends, and says so
    ledger.close()
