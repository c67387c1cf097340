"""What comes in over HTTP is taken, or refused with a reason, and harms nobody else."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode, encode
from bft.codec.envelope import Envelope
from bft.crypto.hashing import sha256
from bft.ordering.request import REQUEST_BYTES_MAX, seal_request
from chain.federation import api
from chain.receipts import open_execution_receipt
from chain.records.phase import Phase
from chain.records.votes import Elapsed
from coordinator.config import Home, read_secret
from coordinator.service.miner_api import ENVELOPE_BYTES
from tests.coordinator.service.mill import STILL, Miner, running
from tests.coordinator.service.trial import (
    Trial,
    code,
    registering,
    several,
)
from tests.patience import PATIENCE_S

# Requests.


async def test_a_signed_request_is_executed_and_answered(trial: Trial) -> None:
    assert await trial.post(trial.miner.register(1)) == (200, "accepted")
    assert trial.miner.key.public_key in trial.mill.state().registrations


async def test_an_executed_request_is_answered_with_this_replicas_receipt(trial: Trial) -> None:
    member = trial.mill.genesis.membership
    for sealed, status, outcome in (
        (trial.miner.register(1), 200, b"accepted"),
        (trial.miner.register(1), 409, b"twice"),
    ):
        answers = [await trial.call("POST", api.REQUESTS, data=sealed) for _ in range(2)]
        assert answers[0] == answers[1], "the same when it comes again"
        assert answers[0][0] == status
        replica, receipt = open_execution_receipt(
            bytes.fromhex(answers[0][1]["receipt"]),
            member,  # type: ignore[index,arg-type]
        )
        assert replica == 0
        assert receipt.request == sha256(sealed)
        assert receipt.outcomes == (outcome,)
        assert receipt.client == trial.miner.key.public_key
        assert 0 < receipt.sequence <= trial.mill.state().sequence


async def test_operations_under_one_signature_are_answered_one_by_one(trial: Trial) -> None:
    sealed = several(trial.miner, registering(1), registering(1), registering(9))
    status, told = await trial.call("POST", api.REQUESTS, data=sealed)
    assert isinstance(told, dict)
    assert (status, told["code"]) == (200, "mixed")
    codes = ["accepted", "twice", "wrong-cycle"]
    assert [outcome["code"] for outcome in told["outcomes"]] == codes
    sealed = several(trial.miner, registering(1), registering(1))
    assert await trial.post(sealed) == (409, "twice")


async def test_a_replicas_word_among_others_is_not_taken_from_a_client(trial: Trial) -> None:
    elapsed = Elapsed(cycle=1, phase=Phase.REGISTRATION, attempt=0)
    sealed = several(trial.miner, registering(1), elapsed)
    assert await trial.post(sealed) == (403, "not-for-clients")


async def test_a_refusal_of_the_rules_is_a_problem_with_its_code(trial: Trial) -> None:
    assert await trial.post(trial.miner.register(2)) == (409, "wrong-cycle")
    await trial.post(trial.miner.register(1))
    assert await trial.post(trial.miner.register(1)) == (409, "twice")


async def test_who_does_not_wait_is_told_that_it_is_under_way(trial: Trial) -> None:
    status, told = await trial.post(trial.miner.register(1), params={"wait_ms": "0"})
    assert (status, told) == (202, "pending")
    key = trial.miner.key.public_key
    await trial.mill.until(lambda: key in trial.mill.state().registrations)


async def test_a_request_sent_twice_is_executed_once_and_answered_alike(trial: Trial) -> None:
    sealed = trial.miner.register(1)
    assert await trial.post(sealed) == (200, "accepted")
    log = trial.mill.state().log
    assert await trial.post(sealed) == (200, "accepted")
    assert trial.mill.state().log == log


async def test_a_used_number_with_another_content_is_refused(trial: Trial) -> None:
    await trial.post(trial.miner.register(1))
    again = Miner(7, trial.miner.chain_id)
    assert await trial.post(again.register(2)) == (409, "executed-before")


async def test_a_replay_after_a_restart_is_refused_and_changes_nothing(trial: Trial) -> None:
    sealed = trial.miner.register(1)
    await trial.post(sealed)
    await trial.mill.stop(0)
    await trial.mill.start(0)
    size = trial.mill.state().log.size
    assert await trial.post(sealed) == (409, "executed-before")
    assert trial.mill.state().log.size == size


async def test_an_unsigned_request_is_refused(trial: Trial) -> None:
    envelope = decode(Envelope, trial.miner.register(1))
    assert await trial.post(encode(replace(envelope, signature=bytes(64)))) == (
        403,
        "bad-signature",
    )


async def test_a_request_under_another_key_is_refused(trial: Trial) -> None:
    """The client is who signed, not who is named."""
    other = Miner(8, trial.miner.chain_id)
    sealed = seal_request(
        trial.miner.chain_id,
        trial.miner.key.public_key,
        1,
        b"",
        other.key.sign,
    )
    assert await trial.post(sealed) == (403, "bad-signature")


async def test_a_request_for_another_chain_is_refused(trial: Trial) -> None:
    assert await trial.post(Miner(7, b"o" * 32).register(1)) == (400, "malformed")


@pytest.mark.parametrize("cut", [0, 1, 50, -1])
async def test_a_truncated_request_is_refused(trial: Trial, cut: int) -> None:
    assert await trial.post(trial.miner.register(1)[:cut]) == (400, "malformed")


async def test_a_request_with_something_behind_it_is_refused(trial: Trial) -> None:
    assert await trial.post(trial.miner.register(1) + b"\x00") == (400, "malformed")


async def test_a_body_at_the_limit_is_read_and_one_past_it_is_not(trial: Trial) -> None:
    limit = REQUEST_BYTES_MAX + ENVELOPE_BYTES
    assert await trial.post(bytes(limit)) == (400, "malformed")
    assert await trial.post(bytes(limit + 1)) == (413, "too-large")


async def test_a_body_without_a_length_is_bounded_as_well(trial: Trial) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(64 * 1024)

    url = trial.mill.urls[0] + api.REQUESTS
    try:
        async with trial.session.post(url, data=endless()) as answer:
            assert answer.status == 413
    except aiohttp.ClientOSError:
        pass  # refused and closed while we were still sending


async def test_an_operation_of_replicas_does_not_come_through_this_door(trial: Trial) -> None:
    elapsed = Elapsed(cycle=1, phase=int(Phase.REGISTRATION), attempt=0)
    assert await trial.post(trial.miner.request(elapsed)) == (403, "not-for-clients")


async def test_a_replicas_key_does_not_speak_through_this_door(trial: Trial) -> None:
    secret = read_secret(Home(trial.mill.homes[0]).identity_key)
    replica = Miner(int.from_bytes(secret, "big"), trial.miner.chain_id)
    assert await trial.post(replica.register(1)) == (403, "not-for-clients")


async def test_an_unknown_operation_is_refused(trial: Trial) -> None:
    key = trial.miner.key
    sealed = seal_request(
        trial.miner.chain_id, key.public_key, 1, b"\x92\xc4\x01x\xc4\x00", key.sign
    )
    assert await trial.post(sealed) == (400, "malformed")


@pytest.mark.parametrize("wait", ["-1", "x", "15001", "1e3", "9" * 30])
async def test_a_wait_out_of_range_is_refused(trial: Trial, wait: str) -> None:
    answer = await trial.post(trial.miner.register(1), params={"wait_ms": wait})
    assert answer == (400, "malformed")


async def test_one_key_has_a_budget_and_others_are_not_harmed(tmp_path: Path) -> None:
    async with running(tmp_path, 1, STILL, start=0) as mill, aiohttp.ClientSession() as session:
        settings = Home(mill.homes[0]).config
        limits = "limits: {client_burst: 2, client_requests_s: 1}\n"
        settings.write_text(settings.read_text() + limits)
        await mill.start(0)
        await mill.reach(Phase.REGISTRATION)
        loud = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        quiet = Trial(mill, Miner(8, mill.genesis.chain_id), session)
        codes = [await loud.post(loud.miner.register(2)) for _ in range(3)]
        assert codes == [(409, "wrong-cycle"), (409, "wrong-cycle"), (429, "busy")]
        url = mill.urls[0] + api.REQUESTS
        async with session.post(url, data=loud.miner.register(2)) as answer:
            assert int(answer.headers["Retry-After"]) >= 1
        assert await quiet.post(quiet.miner.register(1)) == (200, "accepted")


async def test_what_others_repeat_from_the_public_log_uses_up_no_miners_budget(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, 1, STILL, start=0) as mill, aiohttp.ClientSession() as session:
        settings = Home(mill.homes[0]).config
        limits = "limits: {client_burst: 2, client_requests_s: 1}\n"
        settings.write_text(settings.read_text() + limits)
        await mill.start(0)
        await mill.reach(Phase.REGISTRATION)
        trial = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        executed = trial.miner.register(1)
        for _ in range(9):
            assert await trial.post(executed) == (200, "accepted")
        refused = trial.miner.register(1)
        for _ in range(9):
            assert await trial.post(refused) == (409, "twice")


async def test_one_address_has_a_budget_before_anything_is_verified(tmp_path: Path) -> None:
    async with running(tmp_path, 1, STILL, start=0) as mill, aiohttp.ClientSession() as session:
        settings = Home(mill.homes[0]).config
        limits = "limits: {address_burst: 1, address_requests_s: 1}\n"
        settings.write_text(settings.read_text() + limits)
        await mill.start(0)
        found = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        assert await found.post(b"garbage") == (400, "malformed")
        assert await found.post(b"garbage") == (429, "busy")


async def test_a_body_that_stays_away_is_given_up(tmp_path: Path) -> None:
    async with running(tmp_path, 1, STILL, start=0) as mill:
        settings = Home(mill.homes[0]).config
        settings.write_text(settings.read_text() + "limits: {body_s: 1}\n")
        await mill.start(0)
        host, port = mill.genesis.members[0].api.decode().split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {api.REQUESTS} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        writer.write(head.encode() + b"ten bytes.")
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.readuntil(b"\r\n")
        assert answer.startswith(b"HTTP/1.1 408")
        writer.close()
        await writer.wait_closed()


# Blocks.


async def test_a_block_out_of_turn_is_refused(trial: Trial) -> None:
    answer = await trial.call("POST", api.BLOCKS, data=b"no block")
    assert code(answer) == (409, "no-block-due")


async def test_a_block_beyond_the_limit_is_not_read(trial: Trial) -> None:
    answer = await trial.call("POST", api.BLOCKS, data=io.BytesIO(bytes(api.BLOCK_BYTES_MAX + 1)))
    assert code(answer) == (413, "too-large")


# The house rules of HTTP.


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(trial: Trial) -> None:
    assert code(await trial.call("GET", "/v1/nothing")) == (404, "not-found")
    url = trial.mill.urls[0] + api.STATUS
    async with trial.session.delete(url) as answer:
        assert answer.status == 405
        assert answer.content_type == api.PROBLEM
        assert "GET" in answer.headers["Allow"]
