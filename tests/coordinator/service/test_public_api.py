"""What everybody may read."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from bft.codec.canonical import decode, encode
from bft.crypto.merkle import Frontier, leaf_hash
from chain.federation import api
from chain.records.federation import FederationKey, Genesis
from chain.records.peer_message import encode_certheaders
from chain.records.phase import Phase
from chain.records.score_log import LogEntry, Ordered, decode_leaf
from coordinator.config import Home
from coordinator.service.parameters import INTEGER_MAX
from tests.coordinator.service.mill import BUSY, SNAPSHOT, Mill, running
from tests.patience import PATIENCE_S


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[Mill]:
    """One replica whose cycles close empty, one after the other."""
    async with running(tmp_path, 1, BUSY) as found:
        await found.until(lambda: found.state().cycle > 3)
        yield found


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as found:
        yield found


async def get(session: aiohttp.ClientSession, mill: Mill, path: str) -> tuple[int, bytes]:
    async with session.get(mill.urls[0] + path) as answer:
        return answer.status, await answer.read()


async def test_status_names_what_people_ask_first(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    status, body = await get(session, mill, api.STATUS)
    told = json.loads(body)
    assert status == 200
    assert told["replica"] == 0 and told["view"] == 0 and told["primary"] == 0
    assert told["chain_id"] == mill.genesis.chain_id.hex()
    assert told["phase"] in Phase.__members__
    assert told["cycle"] > 3 and told["log_size"] > 0 and told["height"] == 0
    assert len(bytes.fromhex(told["log_root"])) == len(bytes.fromhex(told["tip"])) == 32
    assert len(bytes.fromhex(told["federation_key"])) == 96
    assert told["peers_up"] == []


async def test_the_trust_anchor_and_the_key_are_served_as_they_are_hashed(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    _, body = await get(session, mill, api.GENESIS)
    assert decode(Genesis, body) == mill.genesis
    _, body = await get(session, mill, api.FEDERATION_KEY)
    assert decode(FederationKey, body) == mill.state().federation_key
    _, body = await get(session, mill, api.EPOCHS)
    assert decode(tuple[FederationKey, ...], body) == (mill.state().federation_key,)
    for first in (1, INTEGER_MAX):
        assert await get(session, mill, f"{api.EPOCHS}?from={first}") == (200, encode(()))


async def test_before_there_is_a_key_none_is_served(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with running(tmp_path, 4, start=1) as mill:
        status, body = await get(session, mill, api.FEDERATION_KEY)
        assert (status, json.loads(body)["code"]) == (404, "not-found")
        status, body = await get(session, mill, api.EPOCHS)
        assert (status, json.loads(body)["code"]) == (404, "not-found")


async def test_the_served_log_has_the_served_root(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    told = json.loads((await get(session, mill, api.STATUS))[1])
    entries: list[LogEntry] = []
    url = URL(mill.urls[0] + f"{api.LOG}?limit=5&from=0")
    while len(entries) < told["log_size"]:
        async with session.get(url) as answer:
            body, url = await answer.read(), URL(str(answer.links["next"]["url"]))
        page: tuple[LogEntry, ...] = decode(tuple[LogEntry, ...], body)
        assert 0 < len(page) <= 5
        entries += page
    assert [entry.index for entry in entries] == list(range(len(entries)))
    frontier = Frontier()
    for entry in entries[: told["log_size"]]:
        frontier = frontier.push(leaf_hash(entry.leaf))
    assert frontier.root().hex() == told["log_root"]
    for entry in entries:
        assert bool(entry.proof) == isinstance(decode_leaf(entry.leaf), Ordered)


async def test_behind_the_logs_end_there_is_nothing(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{mill.urls[0]}{api.LOG}?from=1000000") as answer:
        assert (answer.status, await answer.read()) == (200, encode(()))
        assert "Link" not in answer.headers


async def test_without_blocks_there_are_no_headers(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    assert await get(session, mill, api.HEADERS) == (200, encode_certheaders([]))
    status, _ = await get(session, mill, f"{api.HEADERS}?from=-1")
    assert status == 400


@pytest.mark.parametrize(
    "query", ["from=-1", "from=x", f"limit={api.LOG_LIMIT_MAX + 1}", "from=99999999999999999999"]
)
async def test_a_range_out_of_bounds_is_refused(
    mill: Mill, session: aiohttp.ClientSession, query: str
) -> None:
    status, body = await get(session, mill, f"{api.LOG}?{query}")
    assert (status, json.loads(body)["code"]) == (400, "malformed")


async def test_a_closed_cycle_says_why(mill: Mill, session: aiohttp.ClientSession) -> None:
    _, body = await get(session, mill, api.CYCLE.format(cycle=2))
    told = json.loads(body)
    assert told["closed"] == "no-miners" and told["certificates"] == []
    _, body = await get(session, mill, api.CYCLES)
    lines = json.loads(body)
    assert [line["cycle"] for line in lines][:3] == [1, 2, 3]
    assert lines[0]["closed"] == "no-miners" and lines[0]["winner"] is None


@pytest.mark.parametrize(
    "path",
    [
        api.CYCLE.format(cycle=1000),
        api.ASSIGNMENT.format(cycle=1),
        api.SCORES.format(cycle=1),
        api.ASSIGNED_UNITS.format(cycle=1, miner="02" * 33),
        api.SCORED_UNITS.format(cycle=1, miner="02" * 33),
        api.CERTIFICATE.format(cycle=1),
        api.CONTRIBUTION.format(cycle=1, miner="02" * 33),
        api.BLOCK.format(height=1),
        api.FINALITY.format(height=1),
        api.PROOF.format(height=1, txid="00" * 32),
        api.PROOF.format(height=0, txid="00" * 32),
        api.BLOBS.format(digest="00" * 32),
    ],
)
async def test_what_is_not_there_is_not_found(
    mill: Mill, session: aiohttp.ClientSession, path: str
) -> None:
    status, body = await get(session, mill, path)
    assert (status, json.loads(body)["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    "path",
    [
        api.CYCLE.format(cycle="x"),
        api.CYCLE.format(cycle="9" * 40),
        api.CONTRIBUTION.format(cycle=1, miner="02"),
        api.BLOCK.format(height="-1"),
    ],
)
async def test_what_cannot_be_is_malformed(
    mill: Mill, session: aiohttp.ClientSession, path: str
) -> None:
    status, body = await get(session, mill, path)
    assert (status, json.loads(body)["code"]) == (400, "malformed")


async def test_a_blob_may_be_cached_for_ever(mill: Mill, session: aiohttp.ClientSession) -> None:
    digest = mill.genesis.job.genesis_model.hex()
    url = mill.urls[0] + api.BLOBS.format(digest=digest)
    async with session.get(url) as answer:
        assert await answer.read() == SNAPSHOT
        assert answer.headers["ETag"] == f'"{digest}"'
        assert "immutable" in answer.headers["Cache-Control"]
    async with session.get(url, headers={"If-None-Match": f'"{digest}"'}) as answer:
        assert answer.status == 304


async def read_events(
    response: aiohttp.ClientResponse, count: int
) -> list[tuple[int, str, dict[str, Any]]]:
    """(id, name, data) of the next events."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            block = (await response.content.readuntil(b"\n\n")).decode()
            fields = dict(line.split(": ", 1) for line in block.strip().splitlines())
            if "id" in fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def test_events_are_the_derived_records_as_they_come(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    async with session.get(mill.urls[0] + api.EVENTS) as response:
        assert response.content_type == "text/event-stream"
        first, second = await read_events(response, 2)
    assert first[1] == second[1] == "cycle-closed"
    assert second[2] == {"cycle": first[2]["cycle"] + 1, "reason": "no-miners"}


async def test_a_listener_goes_on_where_it_was_cut_off(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    url = mill.urls[0] + api.EVENTS
    async with session.get(url, params={"from": "0"}) as response:
        events = await read_events(response, 3)
    assert [name for _, name, _ in events] == ["key-activated", "cycle-closed", "cycle-closed"]
    async with session.get(url, headers={"Last-Event-ID": str(events[0][0])}) as response:
        assert await read_events(response, 2) == events[1:]


async def test_listeners_are_bounded_and_leave_their_place(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with running(tmp_path, 1, BUSY, start=0) as mill:
        settings = Home(mill.homes[0]).config
        settings.write_text(settings.read_text() + "limits: {listeners: 1}\n")
        await mill.start(0)
        url = mill.urls[0] + api.EVENTS
        async with session.get(url) as first:
            assert first.status == 200
            async with session.get(url) as second:
                assert second.status == 429
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with session.get(url) as third:
                    if third.status == 200:
                        break


async def test_a_listener_does_not_hold_up_the_end(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    async with session.get(mill.urls[0] + api.EVENTS) as response:
        await read_events(response, 1)
        async with asyncio.timeout(PATIENCE_S):
            await mill.stop(0)


async def test_scripts_of_any_web_page_may_read_what_anybody_may(
    mill: Mill, session: aiohttp.ClientSession
) -> None:
    """The answer to a POST stays with whoever sent it."""
    header = "Access-Control-Allow-Origin"
    for path in (api.STATUS, api.CERTIFICATE.format(cycle=1), api.EVENTS):
        async with session.get(mill.urls[0] + path) as answer:
            assert answer.headers[header] == "*"
    async with session.post(mill.urls[0] + api.REQUESTS, data=b"no request") as answer:
        assert answer.status == 400 and header not in answer.headers
