"""Every replica is a drand endpoint: what its HTTP API promises drand's clients."""

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chain.records.phase import Phase
from chain.rules.beacon import chain_info, verify_round
from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies
from tests.coordinator.service.beacon_mill import REPLICAS, Beaming, beaming
from tests.coordinator.service.mill import Mill, running

pytestmark = pytest.mark.integration


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as found:
        yield found


async def get(
    session: aiohttp.ClientSession, mill: Mill, path: str, replica: int = 0
) -> tuple[int, Any, Any]:
    """(status, JSON, headers)"""
    async with session.get(mill.urls[replica] + path) as answer:
        return answer.status, json.loads(await answer.read()), answer.headers


async def test_every_replica_serves_the_same_beacon(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    """One federation for all that can be asked: a ceremony of four replicas takes seconds."""
    async with beaming(tmp_path) as beacon:
        await check_info(session, beacon)
        await check_rounds(session, beacon)
        await check_missing_rounds(session, beacon)
        await check_health(session, beacon)
        for replica in range(1, REPLICAS):
            for path in ("/info", "/public/latest", f"/public/{beacon.rounds[0]}"):
                first = await get(session, beacon.mill, path)
                other = await get(session, beacon.mill, path, replica)
                assert other[:2] == first[:2]


async def check_info(session: aiohttp.ClientSession, beacon: Beaming) -> None:
    """drand's v1 names and those of v2; a client can recompute the hash from the rest."""
    mill, key = beacon.mill, beacon.federation_key
    status, told, headers = await get(session, mill, "/info")
    assert status == 200 and "immutable" in headers["Cache-Control"]
    assert told["public_key"] == key.hex()
    assert told["schemeID"] == told["scheme"] == "bls-unchained-g1-rfc9380"
    assert told["metadata"] == {"beaconID": "gristmill"} and told["beacon_id"] == "gristmill"
    assert told["groupHash"] == told["genesis_seed"] == mill.genesis.chain_id.hex()
    assert told["genesis_time"] == mill.genesis.created_ms // 1000
    hashed = sha256(
        told["period"].to_bytes(4, "big")
        + told["genesis_time"].to_bytes(8, "big")
        + bytes.fromhex(told["public_key"] + told["groupHash"])
        + b"gristmill"
    ).hexdigest()
    assert told["hash"] == told["chain_hash"] == hashed
    assert (await get(session, mill, "/chains"))[:2] == (200, [hashed])
    for path in ("/info", "/public/latest", f"/public/{beacon.rounds[1]}", "/health"):
        plain = await get(session, mill, path)
        assert (await get(session, mill, f"/{hashed}{path}"))[:2] == plain[:2]
        assert (await get(session, mill, f"/{'00' * 32}{path}"))[0] == 404
    assert chain_info(mill.genesis, key).hash.hex() == hashed


async def check_rounds(session: aiohttp.ClientSession, beacon: Beaming) -> None:
    """Each is the federation's, under our rule and under py_ecc's."""
    for number in beacon.rounds:
        status, told, headers = await get(session, beacon.mill, f"/public/{number}")
        assert status == 200 and "immutable" in headers["Cache-Control"]
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert list(told) == ["round", "randomness", "signature"] and told["round"] == number
        signature = bytes.fromhex(told["signature"])
        assert verify_round(beacon.federation_key, number, signature).hex() == told["randomness"]
    message = sha256(beacon.rounds[1].to_bytes(8, "big")).digest()
    assert py_ecc_verifies(beacon.federation_key, signature, message)
    status, latest, headers = await get(session, beacon.mill, "/public/latest?1234")
    assert (status, latest) == (200, told) and headers["Cache-Control"] == "no-cache"


async def check_missing_rounds(session: aiohttp.ClientSession, beacon: Beaming) -> None:
    """404 as drand answers; the text tells a round that may come from one that never will."""
    for number, word in ((1, "newer ones are"), (beacon.rounds[1] + 1, "not signed yet")):
        status, told, headers = await get(session, beacon.mill, f"/public/{number}")
        assert (status, told["code"]) == (404, "not-found") and word in told["detail"]
        assert (
            headers["Cache-Control"] == "no-cache" and headers["Access-Control-Allow-Origin"] == "*"
        )
    for spelling in ("x", "-1", "9" * 40):
        assert (await get(session, beacon.mill, f"/public/{spelling}"))[0] == 400


async def check_health(session: aiohttp.ClientSession, beacon: Beaming) -> None:
    newest = beacon.rounds[1]
    status, told, _ = await get(session, beacon.mill, "/health")
    assert (status, told) == (200, {"current": newest, "expected": newest})


async def test_without_a_key_there_is_no_beacon(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with running(tmp_path, 4, start=1) as mill:
        for path in ("/info", "/chains", "/public/latest", "/public/2", "/health"):
            status, told, _ = await get(session, mill, path)
            assert (status, told["code"]) == (404, "not-found")


async def test_before_the_first_round_there_is_none(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with running(tmp_path, 1) as mill:
        await mill.reach(Phase.REGISTRATION)
        assert (await get(session, mill, "/public/latest"))[0] == 404
        assert (await get(session, mill, "/public/2"))[0] == 404
        assert (await get(session, mill, "/health"))[:2] == (200, {"current": 0, "expected": 0})
