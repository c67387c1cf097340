"""`gristmill verify --from`: the command that people use against a real node."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bft.codec.canonical import encode
from chain.federation import api
from chain.gossip_events import BlockSubmitted, FinalitySubmitted
from chain.light.cli import follow_servers, follow_source
from chain.light.follow import STALE_CYCLES, begin, cycle_s
from chain.light.source import Source
from chain.light.state import decode_state, encode_state
from chain.node.service import NodeService
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.peer_message import decode_certheaders
from gristmill import exits
from gristmill.cli import main
from tests.chain.federation_fixture import (
    FEDERATION_KEY,
    GENESIS,
    OTHER_SECRET,
    START,
    block_on,
    finality_of,
    make_chain,
    view_of,
)
from tests.chain.node.homes import make_config
from tests.chain.test_spending import MATURE, PARENT, spend_of
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

CHAIN = make_chain(4)
SPEND = spend_of(MATURE[0])
NEW = begin(GENESIS, FEDERATION_KEY)


@asynccontextmanager
async def serving(home: Path, *final: Block, tip: Block | None = None) -> AsyncIterator[str]:
    """A node's address; it holds `final` for final, and `tip` on them."""
    service = NodeService(make_config(home))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await service.start()
            for block in final:
                service.step(BlockSubmitted(data=block.data))
                service.step(FinalitySubmitted(finality=finality_of(block)))
            if tip is not None:
                service.step(BlockSubmitted(data=tip.data))
            yield f"http://{service.http_endpoint}"
    finally:
        await service.stop()


@pytest.fixture
def pinned(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "genesis.bin").write_bytes(encode(GENESIS))
    return ("--genesis", str(tmp_path / "genesis.bin"), "--key", FEDERATION_KEY.hex())


@pytest.fixture(autouse=True)
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the time of the newest block."""
    monkeypatch.setattr("chain.light.cli.now_s", lambda: CHAIN[-1].header.time)


async def run_verify(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, Any]:
    status = await asyncio.to_thread(main, ["verify", *args, "--json"])
    return status, json.loads(capsys.readouterr().out)


async def test_the_chain_is_followed_and_remembered(
    tmp_path: Path, pinned: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "light.state"
    async with serving(tmp_path / "node", *CHAIN[:2], tip=CHAIN[2]) as url:
        status, told = await run_verify(capsys, "--from", url, *pinned, "--state", str(state))
        assert status == exits.OK, told
        assert told["data"]["height"] == 2
        assert told["data"]["block"] == CHAIN[1].hash[::-1].hex()
        assert told["data"]["unproven_tip"] == CHAIN[2].hash[::-1].hex()
    # Another server that is behind cannot take it back.
    async with serving(tmp_path / "behind", CHAIN[0]) as url:
        status, told = await run_verify(capsys, "--from", url, *pinned, "--state", str(state))
        assert (status, told["data"]["height"]) == (exits.OK, 2)
    async with serving(tmp_path / "ahead", *CHAIN) as url:
        status, told = await run_verify(capsys, "--from", url, *pinned, "--state", str(state))
        assert (told["data"]["height"], told["data"]["unproven_tip"]) == (4, None)
    saved = decode_state(state.read_bytes(), NEW, "state")
    assert saved.proven == view_of(CHAIN[3])


async def test_following_goes_on_and_says_each_block_that_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        """What was waited for has been said."""

    told: list[int] = []
    monkeypatch.setattr("chain.light.cli.POLL_S", 0.01)
    (tmp_path / "genesis.bin").write_bytes(encode(GENESIS))
    service = NodeService(make_config(tmp_path / "node"))
    await service.start()
    loop = asyncio.get_running_loop()

    def show(data: dict[str, Any]) -> None:
        told.append(data["height"])
        if len(told) == 3:
            raise Enough
        block = CHAIN[len(told) - 1]
        for event in (
            BlockSubmitted(data=block.data),
            FinalitySubmitted(finality=finality_of(block)),
        ):
            loop.call_soon_threadsafe(service.step, event)

    try:
        # A server that is not there does not end it.
        servers = ["http://127.0.0.1:1", f"http://{service.http_endpoint}"]
        with pytest.raises(Enough):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.to_thread(
                    *(follow_servers, servers, tmp_path / "genesis.bin", FEDERATION_KEY),
                    *(None, True, show),
                )
    finally:
        await service.stop()
    assert told == [0, 1, 2]


async def test_an_old_chain_is_refused_as_stale(
    tmp_path: Path,
    pinned: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = CHAIN[1].header.time + STALE_CYCLES * cycle_s(MINIMAL) + 1
    monkeypatch.setattr("chain.light.cli.now_s", lambda: late)
    async with serving(tmp_path / "node", *CHAIN[:2]) as url:
        status, told = await run_verify(capsys, "--from", url, *pinned)
    assert status == exits.REFUSED
    assert "old part of the chain" in told["error"]["detail"]


async def test_another_federations_chain_is_refused(
    tmp_path: Path, pinned: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    from bft.crypto import bls

    other = (*pinned[:3], bls.public_key(OTHER_SECRET).hex())
    async with serving(tmp_path / "node", *CHAIN) as url:
        status, _ = await run_verify(capsys, "--from", url, *other)
        assert status == exits.VERIFICATION_FAILED
        state = tmp_path / "light.state"
        state.write_bytes(encode_state(begin(GENESIS, bls.public_key(OTHER_SECRET))))
        args = ("--from", url, *pinned, "--state", str(state))
        assert (await run_verify(capsys, *args))[0] == exits.CONFIG
        args = ("--from", "http://127.0.0.1:1", "--from", url, *pinned)
        assert (await run_verify(capsys, *args))[0] == exits.OK  # one that answers is enough


async def test_two_proven_blocks_at_one_height_end_it(
    tmp_path: Path, pinned: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    fork = block_on(START, nonce=bytes(32))
    async with (
        serving(tmp_path / "a", CHAIN[0]) as one,
        serving(tmp_path / "b", fork) as two,
    ):
        status, told = await run_verify(capsys, "--from", one, "--from", two, *pinned)
    assert status == exits.REFUSED
    assert "two blocks are proven at height 1" in told["error"]["detail"]


async def test_a_transaction_is_proven_by_two_headers_or_by_finality(
    tmp_path: Path, pinned: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    last = block_on(PARENT, transactions=[SPEND], reward=50 * 10**8)
    async with serving(tmp_path / "node", *MATURE, last) as url:
        for block, height in ((MATURE[4], 5), (last, len(MATURE) + 1)):
            for place, entry in enumerate(block.transactions):
                txid = entry.txid[::-1].hex()
                args = ("--from", url, *pinned, "--transaction", txid, "--height", str(height))
                status, told = await run_verify(capsys, *args)
                assert (status, told["data"]["place"]) == (exits.OK, place)
                assert told["data"]["block"] == block.hash[::-1].hex()
        txid = SPEND.txid[::-1].hex()
        for wrong, height, expected in (
            (txid, 3, exits.NOT_FOUND),
            (txid, 5_000, exits.NOT_FOUND),
            ("00" * 32, 5, exits.NOT_FOUND),
            ("xy", 5, exits.CONFIG),
        ):
            args = ("--from", url, *pinned, "--transaction", wrong, "--height", str(height))
            assert (await run_verify(capsys, *args))[0] == expected
        following = await asyncio.to_thread(follow_source, NEW, Source(url))
        assert following.proven == view_of(last)  # through more than one answer's headers


async def test_doors_of_a_node_for_light_clients(tmp_path: Path) -> None:
    last = block_on(PARENT, transactions=[SPEND], reward=50 * 10**8)
    async with (
        serving(tmp_path / "node", *MATURE, tip=last) as url,
        aiohttp.ClientSession() as client,
    ):
        for first in (1, 60, len(MATURE), len(MATURE) + 1):
            async with client.get(f"{url}{api.HEADERS}?from={first}") as answer:
                headers = decode_certheaders(await answer.read())
            wanted = [*MATURE, last][first - 1 :][: api.HEADERS_LIMIT_MAX]
            assert headers == tuple(block.certified_header.encode() for block in wanted)
        for path, status in (
            (f"{api.HEADERS}?from=-1", 400),
            (f"{api.HEADERS}?from=99999999999", 400),
            (f"{api.HEADERS}?from=x", 400),
            (f"{api.HEADERS}?from=4000000000", 200),
            (api.PROOF.format(height=1, txid="zz"), 400),
            (api.PROOF.format(height=1, txid="00" * 32), 404),
            (api.PROOF.format(height=9_999, txid="00" * 32), 404),
        ):
            async with client.get(url + path) as answer:
                assert answer.status == status, path


def test_options_that_do_not_go_together() -> None:
    for args in (
        ["--from", "http://x"],
        ["--from", "http://x", "--key", "00"],
        ["--follow", "--hex", "00", "--key", FEDERATION_KEY.hex()],
        ["--transaction", "00", "--hex", "00", "--key", FEDERATION_KEY.hex()],
    ):
        assert main(["verify", *args]) == exits.USAGE
