"""Where updates come from, and what happens when they or the workers fail."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bft.crypto.hashing import sha256
from bft.errors import FederationError, Unavailable
from chain.federation import api
from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow, NextModel, ScoreRow
from chain.records.federation import Genesis
from coordinator.config import split_address
from coordinator.cycle.duties import Measurement, OuterStep
from coordinator.cycle.state import Reveal
from coordinator.effects import Evaluated, Stepped
from coordinator.service import work
from coordinator.service.blobs import BlobStore
from coordinator.service.work import ATTEMPTS, Artifacts, PoolWorker, urls_but
from tests.patience import PATIENCE_S
from tests.ports import federation_here
from tests.sample import JOB, SNAPSHOT

UPDATE = b"an update"
DIGEST = sha256(UPDATE)
NEXT = (b"the next model", b"half the step")
MODELS = tuple(NextModel(digest=sha256(data), challenge_loss=5, loss=5, correct=3) for data in NEXT)
UNIT = WorkUnit(unit=0, miner=b"\x02" * 33, segment=0, chunk=0, steps=1)


@asynccontextmanager
async def serving(genesis: Genesis, index: int, body: bytes) -> AsyncIterator[list[str]]:
    """A member's API that answers every question about a blob with `body`; lists the questions."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.match_info["digest"])
        return web.Response(body=body) if body else web.Response(status=404)

    app = web.Application()
    app.router.add_get(api.BLOBS, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    host, port = split_address(genesis.members[index].api.decode())
    await web.TCPSite(runner, host, port).start()
    try:
        yield asked
    finally:
        await runner.cleanup()


class Place:
    """Replica 0's store and what it can fetch; nobody else runs."""

    def __init__(self, root: Path) -> None:
        self.genesis, self.homes = federation_here(root, 4, MINIMAL, JOB, SNAPSHOT)
        self.store = BlobStore(self.homes[0] / "blobs", 10**6)
        self.artifacts = Artifacts(
            urls_but(self.genesis.members, self.genesis.members[0].key), self.store
        )


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    found = Place(tmp_path)
    yield found
    await found.artifacts.close()


async def test_what_is_here_is_not_fetched(place: Place) -> None:
    await place.store.put(UPDATE)
    async with serving(place.genesis, 1, UPDATE) as asked:
        assert await place.artifacts.get(DIGEST, 100) == UPDATE
    assert asked == []


async def test_what_a_peer_has_is_fetched_checked_and_kept(place: Place) -> None:
    async with serving(place.genesis, 3, UPDATE):
        assert await place.artifacts.get(DIGEST, 100) == UPDATE
    assert await place.store.get(DIGEST) == UPDATE


async def test_a_peer_that_lies_is_passed_over(place: Place) -> None:
    async with (
        serving(place.genesis, 1, b"other bytes") as first,
        serving(place.genesis, 2, b"other bytes") as second,
        serving(place.genesis, 3, UPDATE),
        asyncio.timeout(PATIENCE_S),
    ):
        assert await place.artifacts.get(DIGEST, 100) == UPDATE
        assert len(first) + len(second) <= 2


async def test_more_bytes_than_were_revealed_are_not_read(place: Place) -> None:
    long = b"x" * 1000
    async with serving(place.genesis, 1, long):
        url = f"http://{place.genesis.members[1].api.decode()}{api.BLOBS}"
        url = url.format(digest=sha256(long).hex())
        assert await place.artifacts.fetch(url, 1000) == long
        assert await place.artifacts.fetch(url, 999) is None


@asynccontextmanager
async def silent(genesis: Genesis, index: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """A member's address where connections are taken and nothing is ever said; lists them."""
    taken: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    host, port = split_address(genesis.members[index].api.decode())
    server = await asyncio.start_server(take, host, port)
    try:
        yield taken
    finally:
        server.close()
        for writer in taken:
            writer.close()


async def test_a_peer_that_says_nothing_keeps_nobody_waiting(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long we would wait for it: what another peer has is had, now and the next time."""
    monkeypatch.setattr(work, "FETCH_S", 3600.0)
    monkeypatch.setattr(work, "SILENCE_S", 3600.0)
    first = 1 + DIGEST[0] % 3
    giving = 1 + first % 3
    another = next(b"%d" % i for i in range(100) if sha256(b"%d" % i)[0] % 3 == DIGEST[0] % 3)
    async with (
        silent(place.genesis, first) as taken,
        serving(place.genesis, giving, UPDATE),
        asyncio.timeout(PATIENCE_S),
    ):
        assert await place.artifacts.get(DIGEST, 100) == UPDATE
        assert len(taken) == 1
    async with (
        silent(place.genesis, first) as taken,
        serving(place.genesis, giving, another),
        asyncio.timeout(PATIENCE_S),
    ):
        assert await place.artifacts.get(sha256(another), 100) == another
        assert taken == []


async def test_a_peer_that_gets_it_later_is_asked_again(place: Place) -> None:
    async with serving(place.genesis, 1, b"") as asked, asyncio.timeout(PATIENCE_S):
        fetching = asyncio.create_task(place.artifacts.get(DIGEST, 100))
        while not asked:  # noqa: ASYNC110 - until the first round has been made in vain
            await asyncio.sleep(0.01)
        async with serving(place.genesis, 2, UPDATE):
            assert await fetching == UPDATE


class FlakyPool:
    """Fails the first times, as a pool whose workers die does; counts what it was given."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.updates: list[bytes | None] = []

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("a worker died")

    async def evaluate(
        self, job: Any, params: Any, base: bytes, items: Sequence[Any], shared: Any
    ) -> tuple[EvaluationRow, ...]:
        self._fail()
        assert base == SNAPSHOT
        self.updates = [item.update for item in items]
        return tuple(EvaluationRow(unit=i.unit.unit, valid=1, gain=1, advantage=1) for i in items)

    async def outer_step(
        self,
        job: Any,
        base: bytes,
        updates: Sequence[tuple[ScoreRow, bytes | Path]],
        randomness: bytes,
        challenge: Sequence[int],
    ) -> tuple[tuple[bytes, ...], tuple[NextModel, ...]]:
        self._fail()
        assert (randomness, challenge) == (b"r" * 32, (7, 8))
        self.updates = [one if isinstance(one, bytes) else one.read_bytes() for _, one in updates]
        self.files = [one.name for _, one in updates if isinstance(one, Path)]
        return NEXT, MODELS

    async def close(self) -> None:
        """There is nothing to stop."""


def worker(place: Place, pool: FlakyPool) -> PoolWorker:
    return PoolWorker(place.genesis, place.artifacts, place.store, pool)


def measurement(place: Place, size: int = len(UPDATE)) -> Measurement:
    return Measurement(
        cycle=3,
        base=place.genesis.job.genesis_model,
        candidates=((UNIT, Reveal(digest=DIGEST, size=size)),),
        challenge=(1, 2),
        control=(5, 6),
        own={0: (3, 4)},
        caps=(7, 8, 9),
        seed=bytes(32),
        audited={},
    )


ROW = ScoreRow(
    cycle=3,
    unit=0,
    miner=UNIT.miner,
    segment=0,
    parameters=1,
    samples=1,
    valid=1,
    gain=1,
    advantage=1,
    volume=1,
    coverage=1,
    quality=1,
    tickets=1,
)


async def test_a_measurement_reports_the_pools_rows(place: Place) -> None:
    await place.store.put(UPDATE)
    pool = FlakyPool(failures=ATTEMPTS - 1)
    rows = (EvaluationRow(unit=0, valid=1, gain=1, advantage=1),)
    assert await worker(place, pool).evaluate(measurement(place)) == Evaluated(cycle=3, rows=rows)
    assert pool.updates == [UPDATE]


async def test_a_pool_that_keeps_failing_is_given_up(place: Place) -> None:
    await place.store.put(UPDATE)
    with pytest.raises(FederationError):
        await worker(place, FlakyPool(failures=ATTEMPTS)).evaluate(measurement(place))


async def test_bytes_of_another_size_than_revealed_do_not_count(place: Place) -> None:
    await place.store.put(UPDATE)
    pool = FlakyPool(failures=0)
    await worker(place, pool).evaluate(measurement(place, size=len(UPDATE) + 1))
    assert pool.updates == [None]


async def test_the_next_model_is_stored_before_it_is_voted_for(place: Place) -> None:
    await place.store.put(UPDATE)
    pool = FlakyPool(failures=ATTEMPTS - 1)
    step = OuterStep(
        cycle=3,
        base=place.genesis.job.genesis_model,
        updates=((ROW, Reveal(digest=DIGEST, size=len(UPDATE))),),
        randomness=b"r" * 32,
        challenge=(7, 8),
    )
    found = await worker(place, pool).make_snapshot(step)
    assert found == Stepped(cycle=3, models=MODELS, records=place.genesis.job.heldout_records)
    assert [await place.store.get(model.digest) for model in MODELS] == list(NEXT)
    assert pool.updates == [UPDATE]
    assert pool.files == [DIGEST.hex()]  # read where it is needed, one at a time


async def test_an_update_that_could_not_be_kept_is_handed_on_as_bytes(tmp_path: Path) -> None:
    genesis, homes = federation_here(tmp_path, 4, MINIMAL, JOB, SNAPSHOT)
    full = BlobStore(homes[0] / "blobs", len(SNAPSHOT) + sum(map(len, NEXT)))
    artifacts = Artifacts(urls_but(genesis.members, genesis.members[0].key), full)
    await full.put(SNAPSHOT)
    pool = FlakyPool(failures=0)
    long = UPDATE * 100
    step = OuterStep(
        cycle=3,
        base=genesis.job.genesis_model,
        updates=((ROW, Reveal(digest=sha256(long), size=len(long))),),
        randomness=b"r" * 32,
        challenge=(7, 8),
    )
    try:
        async with serving(genesis, 1, long):
            await PoolWorker(genesis, artifacts, full, pool).make_snapshot(step)
    finally:
        await artifacts.close()
    assert (pool.updates, pool.files) == ([long], [])
