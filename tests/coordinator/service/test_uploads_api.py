"""An update comes whole or in chunks; what arrived once stays, what is wrong leaves nothing."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.envelope import open_as
from bft.crypto.hashing import sha256
from chain.federation import api
from chain.federation.client import FederationClient
from chain.records.contribution import StorageReceipt
from tests.coordinator.service.uploading import CYCLE, MINERS, Doors, Knocker
from tests.sample import SNAPSHOT

CHUNK = api.CHUNK_BYTES


@pytest.fixture(scope="module")
def update() -> bytes:
    return random.Random(1).randbytes(2 * CHUNK + 1000)


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    return Doors(tmp_path)


def code(answer: tuple[int, bytes]) -> tuple[int, str]:
    """(status, code) of a problem."""
    return answer[0], json.loads(answer[1])["code"]


async def missing(knocker: Knocker, data: bytes) -> list[int]:
    status, body = await knocker.ask("GET", data, api.CHUNKS_BELOW)
    assert status == 200, body
    told = json.loads(body)
    assert (told["chunk_bytes"], told["chunks"]) == (CHUNK, -(-len(data) // CHUNK))
    found: list[int] = told["missing"]
    return found


async def test_chunks_in_any_order_make_the_artifact_and_every_step_may_be_repeated(
    doors: Doors, update: bytes
) -> None:
    async with doors.serve() as knocker:
        assert await missing(knocker, update) == [0, 1, 2]
        for index in (2, 0, 0):
            assert await knocker.put(update, index) == (204, b"")
        assert await missing(knocker, update) == [1]
        assert code(await knocker.ask("POST", update, api.CHUNKS_BELOW)) == (409, "incomplete")
        assert (await knocker.put(update, 1))[0] == 204
        for _ in range(2):
            status, sealed = await knocker.ask("POST", update, api.CHUNKS_BELOW)
            assert status == 201
            signer, receipt = open_as(StorageReceipt, sealed)
            assert signer == doors.genesis.members[0].key and receipt == doors.receipt(update)
        assert await missing(knocker, update) == []
    assert await doors.store.get(sha256(update)) == update
    assert doors.staging.bytes_staged == 0


async def test_chunks_outlive_the_process_that_took_them(doors: Doors, update: bytes) -> None:
    async with doors.serve() as knocker:
        assert (await knocker.put(update, 1))[0] == 204
    doors.open()
    assert doors.staging.bytes_staged == CHUNK
    async with doors.serve() as knocker:
        assert await missing(knocker, update) == [0, 2]


async def test_a_chunk_that_is_not_what_it_says_leaves_nothing(doors: Doors, update: bytes) -> None:
    chunk = update[:CHUNK]
    below = f"{api.CHUNKS_BELOW}/0"
    async with doors.serve() as knocker:
        for body, digest, refusal in (
            (chunk, bytes(32), (422, "wrong-digest")),
            (chunk[:-1], None, (422, "wrong-digest")),
            (chunk + b"!", None, (413, "too-large")),
        ):
            assert code(await knocker.ask("PUT", update, below, body, digest)) == refusal
        assert code(await knocker.ask("PUT", update, below)) == (400, "malformed")
        answer = await knocker.ask("PUT", update, f"{api.CHUNKS_BELOW}/3", chunk)
        assert code(answer) == (400, "malformed")
        assert await missing(knocker, update) == [0, 1, 2]
    assert not [path for path in doors.setup.home.uploads.rglob("*") if path.is_file()]


async def test_chunks_of_another_artifact_are_found_out_and_dropped(
    doors: Doors, update: bytes
) -> None:
    other = b"?" + update[1:]
    async with doors.serve() as knocker:
        for index in range(3):
            chunk = other[index * CHUNK : (index + 1) * CHUNK]
            answer = await knocker.ask("PUT", update, f"{api.CHUNKS_BELOW}/{index}", chunk)
            assert answer[0] == 204
        answer = await knocker.ask("POST", update, api.CHUNKS_BELOW)
        assert code(answer) == (422, "wrong-digest")
        assert await missing(knocker, update) == [0, 1, 2]
    assert doors.staging.bytes_staged == 0
    assert doors.store.bytes_stored == len(SNAPSHOT)


async def test_nobody_writes_into_anothers_upload(doors: Doors, update: bytes) -> None:
    async with doors.serve() as knocker:
        garbage = bytes(CHUNK)
        below = f"{api.CHUNKS_BELOW}/0"
        answer = await knocker.ask("PUT", update, below, garbage, miner=MINERS[1])
        assert answer[0] == 204
        for index in range(3):
            assert (await knocker.put(update, index))[0] == 204
        assert (await knocker.ask("POST", update, api.CHUNKS_BELOW))[0] == 201


async def test_one_committed_unit_has_one_upload(doors: Doors, update: bytes) -> None:
    async with doors.serve() as knocker:
        assert (await knocker.put(update, 0))[0] == 204
        assert code(await knocker.put(update[1:], 0)) == (403, "quota")


async def test_the_next_cycle_begins_with_an_empty_place(doors: Doors, update: bytes) -> None:
    async with doors.serve() as knocker:
        assert (await knocker.put(update, 0))[0] == 204
        doors.state = replace(doors.state, cycle=CYCLE + 1)
        assert code(await knocker.put(update, 1)) == (409, "late")
    await doors.staging.turn(CYCLE + 1)
    assert doors.staging.bytes_staged == 0


async def test_what_does_not_fit_beside_the_artifacts_is_refused(
    tmp_path: Path, update: bytes
) -> None:
    doors = Doors(tmp_path, store_bytes=2 * CHUNK + len(SNAPSHOT))
    async with doors.serve() as knocker:
        assert (await knocker.put(update, 0))[0] == (await knocker.put(update, 1))[0] == 204
        assert code(await knocker.put(update, 2)) == (507, "storage-full")


async def test_a_long_update_may_come_in_one_request(doors: Doors, update: bytes) -> None:
    async with doors.serve() as knocker:
        wrong = update[:-1] + bytes([update[-1] ^ 1])
        assert code(await knocker.ask("PUT", update, body=wrong)) == (422, "wrong-digest")
        assert doors.staging.bytes_staged == 0
        assert (await knocker.ask("PUT", update, body=update))[0] == 201
    assert await doors.store.get(sha256(update)) == update
    assert doors.staging.bytes_staged == 0


# A connection that is cut.


class Cutter:
    """Passes connections on, and cuts them when so many bytes have gone through in all."""

    def __init__(self, target: str, cuts: list[int]) -> None:
        """`cuts`: bytes towards the server, ascending, at each of which all connections break."""
        host, _, port = target.removeprefix("http://").rpartition(":")
        self._host, self._port = host, int(port)
        self._cuts, self.passed = cuts, 0
        self.asked: Counter[bytes] = Counter()  # request lines
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """Its URL."""
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        ends = (writer, far_writer)
        for source, target, counted in ((reader, far_writer, True), (far_reader, writer, False)):
            task = asyncio.create_task(self._pump(source, target, ends, counted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, ...],
        counted: bool,
    ) -> None:
        try:
            while data := await source.read(1 << 16):
                if counted:
                    self.passed += len(data)
                    if data.startswith((b"PUT", b"GET", b"POST")):
                        self.asked[data.partition(b" HTTP")[0]] += 1
                    if self._cuts and self.passed >= self._cuts[0]:
                        del self._cuts[0]
                        break
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        for end in ends:
            end.transport.abort()


async def test_an_upload_goes_on_after_the_connection_was_cut(doors: Doors, update: bytes) -> None:
    """Twice in the middle of a chunk: only that chunk is sent again."""
    async with doors.serve() as knocker:
        cutter = Cutter(knocker.url, [CHUNK + CHUNK // 2, 2 * CHUNK])
        async with cutter.listen() as url, FederationClient(doors.genesis, [url]) as client:
            receipts = await client.upload(
                update, doors.authorization(update), doors.receipt(update)
            )
    assert [open_as(StorageReceipt, one)[1] for one in receipts] == [doors.receipt(update)]
    assert await doors.store.get(sha256(update)) == update
    path = api.BLOBS.format(digest=sha256(update).hex()) + api.CHUNKS_BELOW
    sent = [cutter.asked[f"PUT {path}/{index}".encode()] for index in range(3)]
    assert sent == [1, 3, 1]
    assert cutter.passed < len(update) + 2 * CHUNK


async def test_an_upload_that_was_given_up_is_taken_up_by_another_process(
    doors: Doors, update: bytes
) -> None:
    async with doors.serve() as knocker:
        assert (await knocker.put(update, 0))[0] == 204
        assert (await knocker.put(update, 2))[0] == 204
        cutter = Cutter(knocker.url, [])
        async with cutter.listen() as url, FederationClient(doors.genesis, [url]) as client:
            await client.upload(update, doors.authorization(update), doors.receipt(update))
    assert cutter.passed < CHUNK + 10_000
