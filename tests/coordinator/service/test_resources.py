"""What miners claim to have used: totals and flags, from the log alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from bft.codec.canonical import Record
from chain.federation import api
from chain.records.contribution import ResourceReport
from chain.records.score_log import Ordered, decode_leaf
from chain.rules.plausibility import LONGER_THAN_THE_CYCLE, NO_CPU
from coordinator.effects import Append
from coordinator.service.index import LogIndex
from coordinator.service.journal import Journal
from coordinator.service.problems import errors_to_problems
from coordinator.service.reader import JournalReader
from coordinator.service.resources import ResourcesApi
from tests.chain.audit.mill import Mill

LIAR = 1
CLAIM = {"cpu_user_ms": 0, "cpu_system_ms": 0, "energy_mj": 0, "wall_ms": 2**40}


class Liars(Mill):
    """A mill in which the miner of unit LIAR claims what cannot be."""

    def opening(self, unit, holders=None):  # type: ignore[no-untyped-def]
        """The reveal of a unit."""
        opening = super().opening(unit, holders)
        if unit.unit != LIAR:
            return opening
        return replace(opening, resources=replace(opening.resources, **CLAIM))


def written(mill: Mill, path: Path) -> None:
    """The mill's log as a replica's journal."""
    journal = Journal(path, mill.genesis.chain_id, mill.replicas[0].public_key)
    batches: list[list[Record]] = []
    for entry in mill.entries:
        record = decode_leaf(entry.leaf)
        if isinstance(record, Ordered):
            batches.append([])
        batches[-1].append(record)
    index = 0
    for records in batches:
        ordered = records[0]
        assert isinstance(ordered, Ordered)
        append = Append(ordered.sequence, ordered.batch, b"proof", index, tuple(records))
        journal.commit([append])
        index += len(records)
    journal.close()


@pytest.fixture(scope="module")
def mill() -> Mill:
    return Liars().found().to_evaluation()


@pytest.fixture
async def url(mill: Mill, tmp_path: Path) -> AsyncIterator[str]:
    written(mill, tmp_path / "journal.db")
    reader = JournalReader(tmp_path / "journal.db")
    index = LogIndex(reader, mill.genesis.params)
    app = web.Application(middlewares=[errors_to_problems])
    app.add_routes(ResourcesApi(index, mill.genesis.job).routes())
    async with TestServer(app) as server:
        yield str(server.make_url(""))
    index.close()
    reader.close()


async def asked(url: str, cycle: int) -> tuple[int, dict[str, object]]:
    path = api.RESOURCES.format(cycle=cycle)
    async with aiohttp.ClientSession() as session, session.get(url.rstrip("/") + path) as answer:
        return answer.status, await answer.json()


async def test_totals_are_those_of_the_reveals_and_what_cannot_be_is_flagged(
    mill: Mill, url: str
) -> None:
    status, told = await asked(url, 1)
    reports: list[ResourceReport] = [
        mill.opening(unit).resources for unit in mill.state.units if unit.unit in mill.state.reveals
    ]
    assert status == 200 and told["units"] == len(reports) == len(mill.state.units)
    assert told["cpu_ms"] == sum(r.cpu_user_ms + r.cpu_system_ms for r in reports)
    assert told["energy_mj"] == sum(report.energy_mj for report in reports)
    flagged = {each["unit"]: each["flags"] for each in told["flagged"]}  # type: ignore[attr-defined]
    assert {NO_CPU, LONGER_THAN_THE_CYCLE} <= set(flagged[LIAR])
    assert all(LONGER_THAN_THE_CYCLE not in flagged.get(u, ()) for u in flagged if u != LIAR)


async def test_a_cycle_without_closed_reveals_has_none(url: str) -> None:
    status, told = await asked(url, 2)
    assert (status, told["code"]) == (404, "not-found")
