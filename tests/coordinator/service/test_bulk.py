"""Many artifacts in one question: what is here, what peers give, and what lying peers do not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from chain.federation import api
from coordinator.config import split_address
from coordinator.service.artifacts_api import DIGEST_BYTES
from coordinator.service.blobs import BlobStore
from coordinator.service.bulk import gather
from coordinator.service.retention import Retention
from coordinator.service.work import Artifacts, urls_but
from tests.coordinator.service.mill import Mill, running
from tests.patience import PATIENCE_S

UPDATES = {sha256(data): data for data in (b"update %d" % number for number in range(600))}
SIZES = {digest: len(data) for digest, data in UPDATES.items()}


@pytest.fixture
async def mill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mill]:
    """Nothing is swept away: no log entry names these updates."""

    async def leave(_: Retention) -> int:
        return 0

    monkeypatch.setattr(Retention, "sweep", leave)
    async with running(tmp_path, 4, start=1) as found:
        yield found


async def have(mill: Mill, blobs: dict[bytes, bytes]) -> None:
    """Let replica 0 hold these."""
    await BlobStore(mill.homes[0] / "blobs", 10**9).keep(blobs)


@asynccontextmanager
async def fetching(mill: Mill, root: Path, index: int) -> AsyncIterator[Artifacts]:
    """What replica `index`, which does not run, can fetch."""
    members = mill.genesis.members
    artifacts = Artifacts(urls_but(members, members[index].key), BlobStore(root / "own", 10**6))
    try:
        yield artifacts
    finally:
        await artifacts.close()


async def ask(mill: Mill, body: bytes) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(mill.urls[0] + api.BLOBS_ASKED, data=body) as answer,
    ):
        return answer.status, await answer.read()


async def test_what_a_peer_has_comes_in_few_answers_and_is_kept(mill: Mill, tmp_path: Path) -> None:
    await have(mill, UPDATES)
    async with fetching(mill, tmp_path, 1) as artifacts:
        assert await artifacts.many(SIZES, PATIENCE_S) == UPDATES
        kept = BlobStore(tmp_path / "own", 10**6)
        assert sorted(UPDATES) == await kept.digests()


async def test_what_nobody_has_is_left_out_and_what_is_here_needs_no_peer(
    mill: Mill, tmp_path: Path
) -> None:
    digests = sorted(UPDATES)
    await have(mill, {digests[0]: UPDATES[digests[0]]})
    async with fetching(mill, tmp_path, 1) as artifacts:
        await BlobStore(tmp_path / "own", 10**6).keep({digests[1]: UPDATES[digests[1]]})
        found = await artifacts.many(SIZES, PATIENCE_S)
    assert sorted(found) == digests[:2]


async def test_a_peer_that_gives_other_bytes_or_no_list_is_passed_over(
    mill: Mill, tmp_path: Path
) -> None:
    """Bytes are taken for their digest and their size; correct peers are asked after the liars."""
    await have(mill, UPDATES)
    lies = iter([encode(tuple(b"lie" for _ in range(api.BLOBS_LIMIT_MAX))), b"\xc1", encode(())])

    async def lie(_: web.Request) -> web.Response:
        return web.Response(body=next(lies, b""))

    app = web.Application()
    app.router.add_post(api.BLOBS_ASKED, lie)
    runner = web.AppRunner(app)
    await runner.setup()
    for index in (2, 3):
        host, port = split_address(mill.genesis.members[index].api.decode())
        await web.TCPSite(runner, host, port).start()
    try:
        async with fetching(mill, tmp_path, 1) as artifacts:
            assert await artifacts.many(SIZES, PATIENCE_S) == UPDATES
    finally:
        await runner.cleanup()


async def test_an_answer_keeps_to_its_order_and_its_limits(mill: Mill) -> None:
    large = {sha256(data): data for data in (bytes([n]) * (1 << 20) for n in range(5))}
    await have(mill, large)
    unknown = bytes(DIGEST_BYTES)
    status, body = await ask(mill, b"".join([unknown, *large]))
    given = decode(tuple[bytes, ...], body)  # type: ignore[type-var]
    assert (status, given) == (200, (b"", *list(large.values())[:4]))
    status, body = await ask(mill, unknown * api.BLOBS_LIMIT_MAX)
    assert (status, body) == (200, encode((b"",) * api.BLOBS_LIMIT_MAX))
    assert (await ask(mill, unknown * (api.BLOBS_LIMIT_MAX + 1)))[0] == 413
    assert (await ask(mill, unknown[:-1]))[0] == 400
    assert (await ask(mill, b""))[0] == 400


async def test_what_came_before_a_silent_peer_is_had(mill: Mill, tmp_path: Path) -> None:
    """Replica 2's address takes connections and says nothing."""
    await have(mill, UPDATES)
    writers: list[asyncio.StreamWriter] = []
    found: dict[bytes, bytes] = {}

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    host, port = split_address(mill.genesis.members[2].api.decode())
    server = await asyncio.start_server(take, host, port)
    store = BlobStore(tmp_path / "own", 10**6)
    try:
        async with fetching(mill, tmp_path, 1) as artifacts:
            questions = gather(SIZES, store, artifacts.urls, artifacts.fetch, found)
            task = asyncio.create_task(questions)
            async with asyncio.timeout(PATIENCE_S):
                enough = len(UPDATES) - api.BLOBS_LIMIT_MAX
                while not writers or len(found) < enough:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        server.close()
        for writer in writers:
            writer.close()
    assert all(UPDATES[digest] == data for digest, data in found.items())
