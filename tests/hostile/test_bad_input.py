"""Unsigned, wrongly signed, replayed, late, oversized, truncated, malformed: each kind of thing.

Registrations, commitments, reveals and blobs at a replica's door, blocks at a node's; each refused
with its reason, and the honest miner between them gets its work done.
"""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import Envelope, seal
from bft.crypto.hashing import sha256
from bft.ordering.request import REQUEST_BYTES_MAX, Request, seal_request
from chain.federation import api
from chain.node.service import NodeService
from chain.records.contribution import (
    Register,
    ResourceReport,
    UpdateCommitment,
    UpdateReveal,
    UploadAuthorization,
)
from chain.records.operations import Operation, encode_operation
from chain.rules.families.registry import segment_parameters
from coordinator.service.miner_api import ENVELOPE_BYTES
from tests.chain import federation_fixture as chain
from tests.chain.node.homes import make_config
from tests.coordinator.service.mill import PATIENT, Miner, running
from tests.coordinator.service.trial import SALT, UPDATE, Trial, code

pytestmark = pytest.mark.integration

STRANGER = 99
OTHER_CHAIN = b"o" * 32


@pytest.fixture
async def revealing(tmp_path: Path) -> AsyncIterator[Trial]:
    """Reveals are open, and the miner has one committed unit."""
    async with running(tmp_path, 1, PATIENT) as mill, aiohttp.ClientSession() as session:
        found = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        await found.reveal_phase()
        yield found


def sealed_raw(miner: Miner, cseq: int, operation: bytes) -> bytes:
    """Any operation's bytes under a good signature."""
    return seal_request(miner.chain_id, miner.key.public_key, cseq, operation, miner.key.sign)


def faults(miner: Miner, operation: Record) -> dict[str, tuple[bytes, set[tuple[int, str]]]]:
    """What is wrong with it -> (the request, the answers that are right)."""
    good = miner.request(operation)
    envelope = decode(Envelope, good)
    other = Miner(STRANGER, miner.chain_id)
    forged = seal_request(miner.chain_id, miner.key.public_key, 90, b"x", other.key.sign)
    encoded = encode_operation(operation)
    tag = decode(Operation, encoded).tag
    malformed, unsigned = {(400, "malformed")}, {(403, "bad-signature")}
    return {
        "unsigned": (encode(replace(envelope, signature=bytes(64))), unsigned),
        "signed by another": (forged, unsigned),
        "changed after signing": (
            encode(replace(envelope, body=envelope.body[:-1] + b"\x01")),
            unsigned,
        ),
        "for another chain": (Miner(7, OTHER_CHAIN).request(operation), malformed),
        "truncated": (good[:-1], malformed),
        "extended": (good + b"\x00", malformed),
        "oversized": (
            good + bytes(REQUEST_BYTES_MAX + ENVELOPE_BYTES),
            {(413, "too-large")},
        ),
        "an operation that is none": (sealed_raw(miner, 91, b"\xc1"), malformed),
        "an operation cut short": (sealed_raw(miner, 92, encoded[:-1]), malformed),
        "a record of another kind": (
            sealed_raw(miner, 93, encode(Operation(tag=tag, body=encode((1, 2.5, None))))),
            malformed,
        ),
        "a request in a request": (
            sealed_raw(miner, 94, encode(decode(Request, envelope.body))),
            malformed,
        ),
    }


async def refused(trial: Trial, name: str, operation: Record) -> None:
    for fault, (sent, right) in faults(trial.miner, operation).items():
        assert await trial.post(sent) in right, f"{name} {fault}"


async def test_bad_requests_of_every_kind_are_refused_and_the_good_one_still_counts(
    revealing: Trial,
) -> None:
    mill, miner = revealing.mill, revealing.miner
    cycle = mill.state().cycle
    register = decode(Register, _body(miner.register(cycle + 1)))
    commitment = decode(UpdateCommitment, _body(miner.commit(cycle, 0, sha256(UPDATE), SALT)))
    status, receipt = await revealing.put()
    assert status == 201 and isinstance(receipt, bytes)
    opening = UpdateReveal(
        cycle=cycle,
        unit=0,
        salt=SALT,
        digest=sha256(UPDATE),
        size=len(UPDATE),
        parameters=segment_parameters(mill.genesis.job, mill.state().units[0].segment),
        resources=ResourceReport(
            cpu_user_ms=1,
            cpu_system_ms=1,
            wall_ms=1,
            memory_peak_bytes=1,
            energy_mj=1,
            estimated=1,
        ),
        receipts=(receipt,),
    )
    before = mill.state().log
    for name, operation in (("register", register), ("commit", commitment), ("reveal", opening)):
        await refused(revealing, name, operation)
    assert mill.state().log == before, "what the door refuses is not even ordered"

    stranger = Miner(STRANGER, miner.chain_id)
    late = {(409, "late"), (409, "wrong-cycle"), (409, "wrong-phase")}
    assert await revealing.post(miner.request(replace(register, cycle=cycle))) in late
    assert await revealing.post(miner.request(commitment)) in late
    assert await revealing.post(miner.request(replace(opening, cycle=cycle - 1))) in late
    assert (await revealing.post(stranger.request(opening)))[1] in ("not-assigned", "not-yours")
    for wrong in (
        replace(opening, salt=bytes([1] * 32)),
        replace(opening, digest=bytes(32)),
        replace(opening, size=len(UPDATE) + 1),
        replace(opening, parameters=1),
        replace(opening, receipts=()),
        replace(opening, receipts=(b"nonsense",)),
        replace(opening, unit=1),
    ):
        status, _ = await revealing.post(miner.request(wrong))
        assert status in (409, 422)
    assert mill.state().reveals == {}
    good = miner.request(opening)
    assert await revealing.post(good) == (200, "accepted")
    assert await revealing.post(good) == (200, "accepted")  # a replay is answered, not executed


def _body(sealed: bytes) -> bytes:
    """The record in a sealed request."""
    request = decode(Request, decode(Envelope, sealed).body)
    return decode(Operation, request.operation).body


async def test_bad_uploads_are_refused_and_the_good_one_still_fits(revealing: Trial) -> None:
    miner, mill = revealing.miner, revealing.mill
    asked = UploadAuthorization(
        chain_id=mill.genesis.chain_id,
        cycle=mill.state().cycle,
        digest=sha256(UPDATE),
        size=len(UPDATE),
    )
    good = seal(asked, miner.key.public_key, miner.key.sign)
    envelope = decode(Envelope, good)
    other = Miner(STRANGER, miner.chain_id).key
    path = api.BLOBS.format(digest=sha256(UPDATE).hex())
    for fault, header, right in (
        ("unsigned", encode(replace(envelope, signature=bytes(64))), (403, "bad-signature")),
        (
            "signed by another",
            seal(asked, miner.key.public_key, other.sign),
            (403, "bad-signature"),
        ),
        ("a stranger's", seal(asked, other.public_key, other.sign), (403, "not-assigned")),
        ("truncated", good[:-1], (400, "malformed")),
        ("extended", good + b"\x00", (400, "malformed")),
        ("oversized", good + bytes(2_000), (400, "malformed")),
        ("a request", miner.register(1), (400, "malformed")),
    ):
        answer = await revealing.call(
            "PUT", path, data=UPDATE, headers={api.UPLOAD_HEADER: header.hex()}
        )
        assert code(answer) == right, fault
    assert (await revealing.put())[0] == 201


BLOCK = chain.make_chain(1)[0]
BAD_BLOCKS: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "truncated": (BLOCK.data[:-1], 400),
    "extended": (BLOCK.data + b"\x00", 400),
    "oversized": (BLOCK.data + bytes(api.BLOCK_BYTES_MAX), 413),
    "no block": (b"\xff" * 500, 400),
    "signed by another than the winner": (
        chain.block_on(
            chain.START,
            miner=chain.OTHER,
            winner=chain.WINNER.public_key,
            payee=chain.WINNER.public_key,
        ).data,
        403,
    ),
    "certified by another federation": (
        chain.block_on(chain.START, secret=chain.OTHER_SECRET).data,
        403,
    ),
    "of another chain": (chain.block_on(chain.START, chain_id=OTHER_CHAIN).data, 409),
    "paying too much": (chain.block_on(chain.START, reward=2**62).data, 409),
    "before its certificate's time": (chain.block_on(chain.START, time=chain.START.time).data, 409),
    "after its certificate's time": (
        chain.block_on(chain.START, time=chain.START.time + 10 * chain.STEP_S).data,
        409,
    ),
}


async def test_bad_blocks_are_refused_and_the_good_one_is_taken(tmp_path: Path) -> None:
    service = NodeService(make_config(tmp_path))
    await service.start()
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://{service.http_endpoint}{api.BLOCKS}"

            async def post(data: bytes) -> tuple[int, str]:
                async with session.post(url, data=BytesIO(data)) as answer:
                    told = await answer.json(content_type=None)
                    if answer.status >= 400:
                        assert answer.content_type == api.PROBLEM
                        assert told["code"] and told["detail"]
                    return answer.status, told.get("detail", "")

            for fault, (data, right) in BAD_BLOCKS.items():
                status, told = await post(data)
                assert status == right, f"{fault}: {told}"
            for place in range(0, len(BLOCK.data), 37):
                flipped = bytearray(BLOCK.data)
                flipped[place] ^= 1
                assert (await post(bytes(flipped)))[0] in (400, 403, 409), f"byte {place}"
            assert service.core.tree.tip == chain.START
            assert (await post(BLOCK.data))[0] == 202
            assert (await post(BLOCK.data))[0] == 202  # a replay changes nothing
            assert service.core.tree.tip == chain.view_of(BLOCK)
    finally:
        await service.stop()
