"""Bounds that had no test of their own, and the table of limits in docs/THREATS.md kept true."""

import ast
import asyncio
import importlib
import re
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from bft.errors import Busy
from bft.ordering.request import Request
from chain.federation import api
from chain.gossip_events import MessageCame, PeerConnected
from chain.intake import EVIDENCE_MAX
from chain.node.links import OUTBOX_BYTES_MAX, Link
from chain.node.service import NodeService
from chain.params import MINIMAL
from chain.peer import ORPHAN_BYTES_MAX, WANTED_MAX, Peer
from chain.peers.connection import Connection
from chain.records.evidence import encode_evidence, equivocation
from chain.records.peer_message import INVENTORY_MAX, encode_inventory
from coordinator.config import Home
from coordinator.service import requests
from coordinator.service.index import CYCLES_MAX
from tests.chain import federation_fixture as chain
from tests.chain.gossip_network import NOW_MS, Node
from tests.chain.node.homes import make_config
from tests.coordinator.service.mill import PATIENT, Miner, running
from tests.coordinator.service.trial import UPDATE, Trial, code
from tests.fuzz.peers import PAYLOADS
from tests.hostile.http import check_answer, request

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| `(?P<name>[\w.]+)` \| (?P<value>[^|]+) \| [^|]+ \| `(?P<test>[^`]+)` \|$", re.M
)


def rows() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs" / "THREATS.md").read_text(encoding="utf-8")
    return [(row["name"], row["value"].strip(), row["test"]) for row in ROW.finditer(text)]


def test_the_table_has_all_its_rows() -> None:
    """A row that does not fit the pattern would be checked by nobody."""
    text = (ROOT / "docs" / "THREATS.md").read_text(encoding="utf-8")
    section = text.partition("## Limits")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(lines) == len(rows()) > 50


@pytest.mark.parametrize(("name", "value", "test"), rows(), ids=[name for name, _, _ in rows()])
def test_a_row_of_the_table_is_true(name: str, value: str, test: str) -> None:
    """The constant has this value, and the test exists."""
    module, _, constant = name.rpartition(".")
    try:
        owner: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        place, _, inside = module.rpartition(".")
        owner = getattr(importlib.import_module(place), inside)
    found = getattr(owner() if isinstance(owner, type) else owner, constant)
    assert found == int(value.replace(" ", "")), f"{name} is {found}"
    path, _, function = test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = [
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert function in names, f"{path} has no {function}"


# Doors of a replica.


async def test_so_many_may_wait_for_answers_and_the_next_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "WAITING_MAX", 2)
    door = requests.Requests(lambda _: None, lambda client, cseq: True)

    async def ask(cseq: int) -> Any:
        asked = Request(chain_id=bytes(32), client=bytes(33), cseq=cseq, operation=b"")
        return await door.ask(b"%d" % cseq, asked, 30)

    waiting = [asyncio.create_task(ask(cseq)) for cseq in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="2 requests wait"):
        await ask(3)
    waiting.append(asyncio.create_task(ask(1)))  # the same question costs no new place
    await asyncio.sleep(0)
    assert not waiting[2].done()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.integration
async def test_so_many_uploads_may_be_under_way_and_a_finished_one_makes_room(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, 1, PATIENT, start=0) as mill, aiohttp.ClientSession() as session:
        settings = Home(mill.homes[0]).config
        settings.write_text(settings.read_text() + "limits: {uploads: 1}\n")
        await mill.start(0)
        trial = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        await trial.reveal_phase()
        more = asyncio.Event()
        begun = asyncio.Event()

        async def slow() -> Any:
            yield UPDATE[:1]
            begun.set()
            await more.wait()
            yield UPDATE[1:]

        first = asyncio.create_task(trial.put(cast(bytes, slow())))
        await begun.wait()
        answer = await trial.put()
        while answer[0] == 201:  # the first had not come through the door yet
            answer = await trial.put()
        assert code(answer) == (429, "busy")
        more.set()
        assert (await first)[0] == 201
        assert (await trial.put())[0] == 201


@pytest.mark.integration
async def test_an_overview_has_so_many_cycles(tmp_path: Path) -> None:
    hasty = replace(MINIMAL, registration_ms=1)
    async with running(tmp_path, 1, hasty) as mill, aiohttp.ClientSession() as session:
        await mill.until(lambda: mill.state().cycle > CYCLES_MAX + 2)
        for query, expected in (("?from=1", CYCLES_MAX), (f"?from={CYCLES_MAX}", None)):
            async with session.get(mill.urls[0] + api.CYCLES + query) as answer:
                lines = await answer.json()
                assert len(lines) == expected or (expected is None and len(lines) < CYCLES_MAX)


# A node.


@pytest.mark.integration
async def test_a_nodes_slow_sender_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.node.doors.BODY_S", 0.1)
    service = NodeService(make_config(tmp_path))
    await service.start()
    try:
        host, _, port = service.http_endpoint.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request("POST", api.BLOCKS, [("Content-Length", "100")], b"abc"))
        assert check_answer(await reader.readuntil(b"}")) == 408
        writer.close()
    finally:
        await service.stop()


def test_what_waits_for_a_slow_peer_is_bounded() -> None:
    link = Link(1, "x", cast(Any, None), cast(Any, None), chain.CHAIN_ID)
    frame = 24 + 1024 * 1024
    for _ in range(OUTBOX_BYTES_MAX // frame):
        assert link.send("block", bytes(1024 * 1024))
    assert not link.send("block", bytes(1024 * 1024))


def test_a_large_block_without_its_parent_is_not_kept() -> None:
    peer = Peer(number=1, kind=Connection.INBOUND, since_ms=0)
    peer.keep_orphan(b"fits", bytes(ORPHAN_BYTES_MAX))
    peer.keep_orphan(b"does not", bytes(ORPHAN_BYTES_MAX + 1))
    assert list(peer.orphans) == [b"fits"]


def test_a_peer_that_announces_ever_more_blocks_is_asked_for_so_many() -> None:
    node = Node(1)
    node.step(PeerConnected(peer=1, outbound=False))
    for command in ("version", "verack"):
        node.step(MessageCame(peer=1, command=command, payload=PAYLOADS[command]))
    for number in range(4):
        hashes = tuple(sha256(b"%d %d" % (number, i)) for i in range(INVENTORY_MAX))
        node.step(MessageCame(peer=1, command="inv", payload=encode_inventory(hashes)), NOW_MS)
    peer = node.gossip.peers[1]
    assert len(peer.wanted) == WANTED_MAX


def test_evidence_that_a_node_keeps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EVIDENCE_MAX == 256
    monkeypatch.setattr("chain.intake.EVIDENCE_MAX", 1)
    node = Node(1)
    for height in (1, 2):
        pair = [
            chain.block_on(chain.START, cycle=height, time=chain.START.time + 10 + extra)
            for extra in (0, 1)
        ]
        told = encode_evidence(equivocation(*(block.certified_header for block in pair)))
        taken = node.gossip.intake.evidence(told)
        assert bool(taken) == (height == 1)
