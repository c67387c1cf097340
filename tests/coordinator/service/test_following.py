"""An observer on loopback: it follows who tells the truth, serves what it has, takes nothing."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from bft.codec.canonical import decode, encode
from chain.federation import api
from chain.records.score_log import LogEntry
from coordinator.application import Application
from coordinator.config import Home, load_setup
from coordinator.cycle.state import Rules
from coordinator.observer import Observer
from coordinator.service.following import Follower
from coordinator.service.journal import Journal
from tests.coordinator.service.mill import BUSY, Mill, running
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

COMPARED = 40
"""Entries of two logs."""
LOOK_EVERY_S = 0.02


def wipe(mill: Mill, index: int) -> None:
    """Take a replica's memory, all of it."""
    for file in Home(mill.homes[index]).path.glob("journal*"):
        file.unlink()


async def asked(url: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of an answer."""
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return answer.status, await answer.read()


async def first_leaves(url: str) -> list[bytes]:
    """The log's first COMPARED leaves, as soon as they are served: what is durable is."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            _, body = await asked(f"{url}{api.LOG}?limit={COMPARED}")
            entries = decode(tuple[LogEntry, ...], body)
            if len(entries) == COMPARED:
                return [entry.leaf for entry in entries]
            await asyncio.sleep(LOOK_EVERY_S)


async def test_a_wiped_replica_serves_what_it_follows_and_takes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        await mill.until(lambda: mill.state().cycle > 1)
        await mill.stop(3)
        wipe(mill, 3)
        await mill.start(3)
        copy = mill.services[3].stint.standing
        await mill.until(lambda: copy.replica.state.log.size >= COMPARED)
        status = copy.standing()
        assert status["role"] == "observer" and "this journal is empty" in status["reason"]
        size = copy.replica.state.log.size
        assert await first_leaves(mill.urls[0]) == await first_leaves(mill.urls[3])
        assert (await asked(mill.urls[3] + api.FEDERATION_KEY))[0] == 200
        digest = mill.genesis.job.genesis_model.hex()
        for method, path in (
            ("POST", api.REQUESTS),
            ("POST", api.BLOCKS),
            ("PUT", api.BLOBS.format(digest=digest)),
        ):
            status_code, body = await asked(mill.urls[3] + path, method)
            assert status_code == 503 and b"only observes" in body
        await mill.stop(3)
        await mill.start(3)  # and it goes on where it was
        assert mill.services[3].stint.standing.replica.state.log.size >= size


async def test_a_member_that_comes_late_to_the_founding_is_no_observer(tmp_path: Path) -> None:
    """Its journal is as empty as a wiped one; but the key is not made without it."""
    async with running(tmp_path, 4, BUSY, start=3) as mill:
        await mill.until(lambda: mill.state().sequence > 0)
        await mill.start(3)
        assert mill.services[3].stint.standing.standing()["role"] == "member"
        await mill.until(lambda: mill.state(3).federation_key)


class Liars:
    """Sources of the log: what each of them gives instead of it."""

    def __init__(self, pages: Sequence[bytes | None]) -> None:
        self.pages = pages
        self.asked: list[str] = []

    @property
    def urls(self) -> Sequence[str]:
        return [f"http://{number}" for number in range(len(self.pages))]

    async def fetch(self, url: str, bytes_max: int) -> bytes | None:
        """See `Source`."""
        self.asked.append(url)
        return self.pages[int(url.split("/")[2])]


async def test_one_honest_source_among_liars_is_enough(tmp_path: Path) -> None:
    """Silence, garbage, an empty log, another chain's log: each costs one question."""
    async with running(tmp_path / "other", 1, BUSY) as other, running(tmp_path, 1, BUSY) as mill:
        for one in (other, mill):
            await one.until(lambda one=one: one.state().cycle > 1)
        (_, foreign), (_, honest) = await asyncio.gather(
            asked(other.urls[0] + api.LOG), asked(mill.urls[0] + api.LOG)
        )
        entries = decode(tuple[LogEntry, ...], honest)
        source = Liars([None, b"\x00", encode(()), foreign, honest])
        setup = load_setup(mill.homes[0])
        journal = Journal(tmp_path / "observer.db", mill.genesis.chain_id, b"x" * 33)
        observer = Observer(Application(Rules(setup.genesis)))
        follower = Follower(observer, journal, source, "a test")
        taken = [await follower.follow() for _ in source.pages]
        assert taken[:4] == [None, None, 0, None]
        assert taken[4] == sum(1 for entry in entries if entry.proof)
        assert source.asked[:5] == [
            f"http://{number}/v1/log?from=0&limit=512" for number in range(5)
        ]
        assert observer.wanted == len(entries) == journal.recover().log_size
        journal.close()
