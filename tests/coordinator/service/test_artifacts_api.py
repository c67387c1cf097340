"""Artifacts leave whole or in parts, and a damaged one never arrives complete."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from chain.federation import api
from chain.federation.digest_fields import (
    CONTENT_DIGEST,
    FIELD_CHARS_MAX,
    REPR_DIGEST,
    digest_field,
    read_digest_field,
)
from chain.federation.server import make_runner
from coordinator.service.artifacts_api import PIECE_BYTES, ArtifactsApi
from coordinator.service.blobs import BlobStore, blob_path
from coordinator.service.outflow import Outflow
from coordinator.service.problems import errors_to_problems

SMALL = b"0123456789"
LARGE = bytes(range(256)) * (2 * PIECE_BYTES // 256) + b"the end"
TAG = f'"{sha256(SMALL).hex()}"'


@asynccontextmanager
async def served(root: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, BlobStore, Outflow]]:
    """A door with SMALL and LARGE behind it."""
    store, outflow = BlobStore(root, 1 << 30), Outflow(1 << 30)
    await store.put(SMALL)
    await store.put(LARGE)
    app = web.Application(middlewares=[errors_to_problems])
    app.add_routes(ArtifactsApi(store, outflow).routes())
    runner = make_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(base) as session:
            yield session, store, outflow
        assert outflow.under_way == 0
    finally:
        await runner.cleanup()


def path(data: bytes) -> str:
    return api.BLOBS.format(digest=sha256(data).hex())


async def test_a_whole_artifact_comes_with_its_digests(tmp_path: Path) -> None:
    async with served(tmp_path) as (session, _, _):
        for data in (SMALL, LARGE):
            async with session.get(path(data)) as answer:
                assert (answer.status, await answer.read()) == (200, data)
                assert read_digest_field(answer.headers[CONTENT_DIGEST]) == sha256(data)
                assert read_digest_field(answer.headers[REPR_DIGEST]) == sha256(data)
                assert answer.content_length == len(data)
        async with session.head(path(LARGE)) as answer:
            assert answer.headers["Content-Length"] == str(len(LARGE))
            assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=7-", 7, 10),
        ("bytes=7-999", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-999", 0, 10),
    ],
)
async def test_a_range_is_served_as_asked(tmp_path: Path, asked: str, start: int, end: int) -> None:
    async with (
        served(tmp_path) as (session, _, _),
        session.get(path(SMALL), headers={"Range": asked}) as answer,
    ):
        assert (answer.status, await answer.read()) == (206, SMALL[start:end])
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/10"
        assert read_digest_field(answer.headers[REPR_DIGEST]) == sha256(SMALL)
        assert CONTENT_DIGEST not in answer.headers


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=5-2", "bytes=-0", "bytes=-", "bytes=x-y"])
async def test_a_range_with_nothing_in_it_is_refused(tmp_path: Path, asked: str) -> None:
    async with (
        served(tmp_path) as (session, _, _),
        session.get(path(SMALL), headers={"Range": asked}) as answer,
    ):
        assert answer.status == 416 and answer.headers["Content-Range"] == "bytes */10"
        assert json.loads(await answer.read())["code"] == "no-such-range"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,3-4"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
    ],
)
async def test_what_is_no_single_range_of_these_bytes_gets_the_whole(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with (
        served(tmp_path) as (session, _, _),
        session.get(path(SMALL), headers=headers) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, SMALL)


@pytest.mark.parametrize("tags", [TAG, f'"x", {TAG}', f"W/{TAG}", "*"])
async def test_who_has_it_is_told_so(tmp_path: Path, tags: str) -> None:
    async with served(tmp_path) as (session, _, _):
        async with session.get(path(SMALL), headers={"If-None-Match": tags}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["ETag"] == TAG and "immutable" in answer.headers["Cache-Control"]
        headers = {"Range": "bytes=0-1", "If-Range": TAG}
        async with session.get(path(SMALL), headers=headers) as answer:
            assert (answer.status, await answer.read()) == (206, SMALL[:2])


async def test_a_damaged_artifact_is_not_there_or_breaks_off(tmp_path: Path) -> None:
    async with served(tmp_path) as (session, store, _):
        (tmp_path / blob_path(sha256(SMALL))).write_bytes(b"damaged!!!")
        async with session.get(path(SMALL)) as answer:
            assert answer.status == 404
        (tmp_path / blob_path(sha256(LARGE))).write_bytes(LARGE[:-1] + b"!")
        with pytest.raises(aiohttp.ClientPayloadError):
            async with session.get(path(LARGE)) as answer:
                await answer.read()
        assert await store.get(sha256(LARGE)) is None


async def test_too_much_held_for_answers_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    async with served(tmp_path) as (session, _, outflow):
        outflow.reserve(1 << 30)
        async with session.get(path(LARGE)) as answer:
            assert answer.status == 429 and answer.headers["Retry-After"] == "1"
        outflow.release(1 << 30)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha-256=",
        "sha-256=::",
        "sha-256=:AAAA:",
        f"sha-512={digest_field(SMALL.ljust(32))[8:]}",
        f"{digest_field(bytes(32))}, {digest_field(bytes(32))}",
        digest_field(bytes(32)).ljust(FIELD_CHARS_MAX + 1),
        "sha-256=:" + "=" * 44 + ":",
    ],
)
def test_what_is_no_digest_field_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="digest"):
        read_digest_field(text)


def test_a_digest_field_may_have_other_algorithms_beside() -> None:
    assert read_digest_field(f"sha-512=:AAAA:, {digest_field(bytes(32))}") == bytes(32)
