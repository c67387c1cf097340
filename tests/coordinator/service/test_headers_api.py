"""A replica serves its final blocks' certified headers, and proofs of what is in them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from chain.federation import api
from chain.light.cli import follow_source
from chain.light.follow import begin, prove_block, verify_transaction
from chain.light.source import Source
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.evidence import Finality
from chain.records.score_log import BlockFinal
from coordinator.effects import BlockAccepted
from coordinator.service.headers_api import HeadersApi
from coordinator.service.index import LogIndex
from coordinator.service.journal import Journal
from coordinator.service.problems import errors_to_problems
from coordinator.service.reader import JournalReader
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    GENESIS,
    finality_of,
    key_of,
    view_of,
)
from tests.chain.test_spending import MATURE
from tests.coordinator.service.test_index import Writer

HELD = MATURE[: api.HEADERS_LIMIT_MAX + 3]
MISSING = MATURE[len(HELD)]  # final, but its bytes have not come yet


def final(block: Block) -> BlockFinal:
    word: Finality = finality_of(block)
    return BlockFinal(
        cycle=block.certificate.cycle,
        height=word.height,
        header=block.header.encode(),
        signature=word.signature,
    )


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a replica's two routes."""
    journal = Journal(tmp_path / "journal.db", CHAIN_ID, key_of("replica 0").public_key)
    writer = Writer(journal)
    for block in (*HELD, MISSING):
        if block is not MISSING:
            height = block.certificate.height
            journal.commit([BlockAccepted(height, block.hash, block.data)])
        writer.add((), final(block))
    journal.close()
    reader = JournalReader(tmp_path / "journal.db")
    index = LogIndex(reader, MINIMAL)
    app = web.Application(middlewares=[errors_to_problems])
    app.add_routes(HeadersApi(index).routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()
    index.close()
    reader.close()


async def test_a_light_client_follows_what_a_replica_serves(door: str) -> None:
    source = Source(door)
    start = begin(GENESIS, FEDERATION_KEY)
    for _ in range(2):  # from blocks, then from memory
        chain = await asyncio.to_thread(follow_source, start, source)
        assert chain.proven == view_of(HELD[-2])
        assert chain.tip == HELD[-1].certified_header
    assert len(await asyncio.to_thread(source.headers, 1)) == api.HEADERS_LIMIT_MAX < len(HELD)
    assert len(await asyncio.to_thread(source.headers, 4)) == len(HELD) - 3
    lower, upper = (await asyncio.to_thread(source.headers, 5))[:2]
    block, levels = prove_block(start, lower, upper)
    txid = HELD[4].transactions[0].txid
    proof = await asyncio.to_thread(source.proof, 5, txid[::-1].hex())
    assert (block, verify_transaction(proof, txid, block, levels)) == (view_of(HELD[4]), 0)


async def test_what_is_not_there_or_no_number_is_said(door: str) -> None:
    cases = (
        (f"{api.HEADERS}?from=0", 200),
        (f"{api.HEADERS}?from=4294967295", 200),
        (f"{api.HEADERS}?from=4294967296", 400),
        (f"{api.HEADERS}?from=x", 400),
        (api.PROOF.format(height=1, txid="00" * 32), 404),
        (api.PROOF.format(height=0, txid="00" * 32), 404),
        (api.PROOF.format(height=MISSING.certificate.height, txid="00" * 32), 404),
        (api.PROOF.format(height=1, txid="00" * 31), 400),
        (api.PROOF.format(height=1, txid="ZZ" * 32), 400),
        (api.PROOF.format(height="9" * 30, txid="00" * 32), 400),
    )
    async with ClientSession() as client:
        for path, status in cases:
            async with client.get(door + path) as answer:
                assert answer.status == status, path
