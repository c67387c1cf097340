"""A replica that was away fetches the final blocks that it missed, from whoever has them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from bft.codec.canonical import encode
from bft.ordering.batch import Batch
from chain.federation import api
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.federation import Genesis
from chain.records.score_log import BlockFinal, Ordered
from coordinator.config import split_address
from coordinator.effects import Append, BlockAccepted
from coordinator.service import finals
from coordinator.service.blobs import BlobStore
from coordinator.service.finals import BlockFiller
from coordinator.service.index import LogIndex
from coordinator.service.journal import Journal
from coordinator.service.reader import JournalReader
from coordinator.service.work import Artifacts, urls_but
from tests.chain.federation_fixture import make_chain
from tests.patience import PATIENCE_S
from tests.ports import federation_here
from tests.sample import JOB, SNAPSHOT

CHAIN = make_chain(3)


@asynccontextmanager
async def serving(genesis: Genesis, index: int, blocks: dict[int, Block]) -> AsyncIterator[None]:
    """A member's API that has these blocks, by height."""

    async def answer(request: web.Request) -> web.Response:
        block = blocks.get(int(request.match_info["height"]))
        return web.Response(status=404) if block is None else web.Response(body=block.data)

    app = web.Application()
    app.router.add_get(api.BLOCK, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    host, port = split_address(genesis.members[index].api.decode())
    await web.TCPSite(runner, host, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


class Place:
    """Replica 0 with a log that names three final blocks, and no block."""

    def __init__(self, root: Path) -> None:
        self.genesis, homes = federation_here(root, 4, MINIMAL, JOB, SNAPSHOT)
        self.journal = Journal(homes[0] / "journal.db", bytes(32), bytes(33))
        for sequence, block in enumerate(CHAIN, start=1):
            data = encode(Batch(timestamp_ms=sequence, requests=()))
            ordered = Ordered(sequence=sequence, agreed_ms=sequence, batch=data)
            final = BlockFinal(
                cycle=sequence,
                height=sequence,
                header=block.header.encode(),
                signature=bytes(48),
            )
            first = 2 * (sequence - 1)
            self.journal.commit([Append(sequence, data, b"proof", first, (ordered, final))])
        self.reader = JournalReader(homes[0] / "journal.db")
        self.index = LogIndex(self.reader, MINIMAL)
        others = urls_but(self.genesis.members, self.genesis.members[0].key)
        self.artifacts = Artifacts(others, BlobStore(homes[0] / "blobs", 10**6))
        self.filler = BlockFiller(self.index, self.artifacts, self.keep)
        self.kept: list[int] = []

    async def keep(self, block: BlockAccepted) -> None:
        self.kept.append(block.height)
        await asyncio.to_thread(self.journal.commit, [block])

    async def close(self) -> None:
        await self.artifacts.close()
        self.index.close()
        self.reader.close()
        self.journal.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    found = Place(tmp_path)
    yield found
    await found.close()


def numbered(*heights: int) -> dict[int, Block]:
    return {height: CHAIN[height - 1] for height in heights}


async def test_missing_blocks_are_fetched_in_order_and_only_once(place: Place) -> None:
    async with serving(place.genesis, 1, numbered(1, 3)), serving(place.genesis, 2, numbered(2)):
        assert await place.filler.fill()
        assert await place.filler.fill()
    assert place.kept == [1, 2, 3] and place.filler.complete == 3
    for block in CHAIN:
        assert await place.index.block(block.header.hash) == block.data


async def test_a_block_that_is_here_is_not_asked_for(place: Place) -> None:
    first = CHAIN[0]
    place.journal.commit([BlockAccepted(1, first.header.hash, first.data)])
    async with serving(place.genesis, 3, numbered(2, 3)):
        assert await place.filler.fill()
    assert place.kept == [2, 3]


async def test_another_block_at_that_height_is_not_the_final_one(place: Place) -> None:
    """Neither one that is here already, nor one that a peer gives."""
    other = CHAIN[2]
    place.journal.commit([BlockAccepted(1, other.header.hash, other.data)])
    async with serving(place.genesis, 1, {1: other}):
        assert not await place.filler.fill()
    assert place.kept == [] and place.filler.complete == 0


async def test_a_gap_is_asked_for_again_and_holds_up_nothing_above_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finals, "RETRY_S", 0.01)
    monkeypatch.setattr(finals, "RETRY_S_MAX", 0.1)
    running = asyncio.create_task(place.filler.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            async with serving(place.genesis, 1, numbered(1, 3)):
                while place.kept != [1, 3]:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            assert place.filler.complete == 1
            async with serving(place.genesis, 2, numbered(2)):
                while place.filler.complete != 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert place.kept == [1, 3, 2]
