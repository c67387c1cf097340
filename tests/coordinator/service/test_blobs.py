"""Artifacts are what their names say, or they are not there."""

import asyncio
from pathlib import Path

import pytest

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from coordinator.service.blobs import ARTIFACT_BYTES_MAX, BlobStore, StorageFull, blob_path


async def test_what_was_put_is_got_and_is_on_the_disk(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 1000)
    digest = await store.put(b"update")
    assert digest == sha256(b"update")
    assert await store.get(digest) == b"update"
    assert (tmp_path / blob_path(digest)).read_bytes() == b"update"
    assert await BlobStore(tmp_path, 1000).get(digest) == b"update"


async def test_bytes_under_another_digest_are_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 1000)
    with pytest.raises(DecodeError, match="expected"):
        await store.put(b"update", sha256(b"another"))
    assert store.bytes_stored == 0
    assert await store.get(sha256(b"update")) is None


async def test_the_same_bytes_take_their_place_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 10)
    for _ in range(3):
        await store.put(b"0123456789")
    assert store.bytes_stored == 10


async def test_the_limit_holds_to_the_byte_and_over_a_restart(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 10)
    await store.put(b"01234")
    await store.put(b"56789")
    with pytest.raises(StorageFull, match="10 of 10 bytes"):
        await store.put(b"!")
    with pytest.raises(StorageFull):
        await BlobStore(tmp_path, 10).put(b"!")


async def test_a_damaged_file_is_as_good_as_absent_and_can_be_stored_anew(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 1000)
    digest = await store.put(b"update")
    (tmp_path / blob_path(digest)).write_bytes(b"upda")
    assert await store.get(digest) is None
    await store.put(b"update", digest)
    assert await store.get(digest) == b"update"


async def test_what_is_removed_is_gone_and_leaves_its_room(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 10)
    first = await store.put(b"x" * 10)
    assert await store.digests() == [first]
    assert await store.remove(first)
    assert await store.digests() == [] and store.bytes_stored == 0
    assert await store.get(first) is None
    assert not await store.remove(first)
    await store.put(b"y" * 10)


async def test_nothing_is_removed_while_somebody_stores_it(tmp_path: Path) -> None:
    """Whoever got a receipt for bytes that were here already can rely on it."""
    store = BlobStore(tmp_path, 1000)
    digest = await store.put(b"update")
    again = asyncio.create_task(store.put(b"update"))
    refused = 0
    while not again.done():
        refused += not await store.remove(digest)
        if await store.get(digest) is None and not again.done():
            await asyncio.sleep(0)
    assert refused
    assert await store.get(await again) is not None


async def test_only_digests_are_artifacts_and_half_written_files_go_at_the_start(
    tmp_path: Path,
) -> None:
    store = BlobStore(tmp_path, 1000)
    digest = await store.put(b"update")
    path = tmp_path / blob_path(digest)
    half, beside = path.with_name(path.name + "#1"), path.with_name(path.name + ".new")
    for left_over in (half, beside, tmp_path / "notes"):
        left_over.write_bytes(b"upd")
    assert await BlobStore(tmp_path, 1000).digests() == [digest]
    assert not half.exists() and not beside.exists() and (tmp_path / "notes").exists()


async def test_what_peers_gave_is_kept_once_and_within_the_limit(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 10)
    blobs = {sha256(data): data for data in (b"01234", b"56789")}
    for _ in range(2):
        await store.keep(blobs)
    assert store.bytes_stored == 10
    with pytest.raises(StorageFull, match="10 of 10 bytes"):
        await store.keep({sha256(b"!"): b"!"})
    assert await store.digests() == sorted(blobs)


async def test_many_are_read_in_their_order_as_far_as_an_answer_goes(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, 1000)
    first, second = await store.put(b"12345"), await store.put(b"67890")
    unknown = sha256(b"unknown")
    asked = [second, unknown, first]
    assert await store.get_many(asked, 10) == [b"67890", None, b"12345"]
    assert await store.get_many(asked, 9) == [b"67890", None]
    assert await store.get_many(asked, 4) == []
    (tmp_path / blob_path(second)).write_bytes(b"6789!")
    assert await store.get_many(asked, 10) == [None, None, b"12345"]


def files(root: Path, *contents: bytes) -> list[Path]:
    """These, in files of their own."""
    root.mkdir()
    paths = [root / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


async def test_what_comes_in_files_is_stored_in_their_order_and_read_in_pieces(
    tmp_path: Path,
) -> None:
    store, parts = BlobStore(tmp_path / "blobs", 1000), files(tmp_path / "parts", b"one", b"two")
    digest = sha256(b"onetwo")
    for _ in range(2):
        await store.put_files(digest, 6, parts)
        assert store.bytes_stored == 6
    assert await store.get(digest) == b"onetwo"
    assert await store.read(digest, 2, 5) == b"etw"
    assert await store.read(sha256(b"another"), 0, 1) is None
    assert BlobStore(tmp_path / "blobs", 1000).bytes_stored == 6


async def test_files_with_another_digest_or_size_are_refused(tmp_path: Path) -> None:
    store, parts = BlobStore(tmp_path / "blobs", 5), files(tmp_path / "parts", b"one", b"two")
    with pytest.raises(DecodeError, match="expected"):
        await store.put_files(sha256(b"twoone"), 6, parts)
    with pytest.raises(DecodeError, match="expected"):
        await store.put_files(sha256(b"onetwo"), 5, parts)
    with pytest.raises(DecodeError, match="at most"):
        await store.put_files(sha256(b"onetwo"), ARTIFACT_BYTES_MAX + 1, parts)
    with pytest.raises(StorageFull, match="0 of 5 bytes"):
        await store.put_files(sha256(b"onetwo"), 6, parts)
    assert store.bytes_stored == 0 and await store.digests() == []


async def test_files_mend_what_is_damaged(tmp_path: Path) -> None:
    store, parts = BlobStore(tmp_path / "blobs", 1000), files(tmp_path / "parts", b"one", b"two")
    digest = sha256(b"onetwo")
    await store.put_files(digest, 6, parts)
    (tmp_path / "blobs" / blob_path(digest)).write_bytes(b"onetwi")
    await store.put_files(digest, 6, parts)
    assert await store.get(digest) == b"onetwo" and store.bytes_stored == 6
