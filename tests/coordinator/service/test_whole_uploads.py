"""Updates come in under an authorization, whole, once, and within the limits."""

from pathlib import Path

import aiohttp
import pytest

from bft.codec.envelope import open_as
from bft.crypto.hashing import sha256
from chain.federation import api
from chain.records.contribution import (
    StorageReceipt,
)
from chain.records.phase import Phase
from chain.rules.updates import update_bytes_max
from coordinator.config import Home
from tests.coordinator.service.mill import PATIENT, Miner, running
from tests.coordinator.service.trial import UPDATE, Trial, code


async def test_an_update_is_stored_and_the_receipt_is_signed(revealing: Trial) -> None:
    status, sealed = await revealing.put()
    assert status == 201 and isinstance(sealed, bytes)
    signer, receipt = open_as(StorageReceipt, sealed)
    assert signer == revealing.mill.genesis.members[0].key
    assert receipt == StorageReceipt(
        chain_id=revealing.mill.genesis.chain_id,
        cycle=revealing.mill.state().cycle,
        miner=revealing.miner.key.public_key,
        digest=sha256(UPDATE),
        size=len(UPDATE),
    )
    path = api.BLOBS.format(digest=sha256(UPDATE).hex())
    assert await revealing.call("GET", path) == (200, UPDATE)


async def test_the_same_update_may_be_put_again(revealing: Trial) -> None:
    assert (await revealing.put())[0] == 201
    assert (await revealing.put())[0] == 201


async def test_one_committed_unit_stores_one_update(revealing: Trial) -> None:
    assert (await revealing.put())[0] == 201
    more = b"one more update"
    answer = await revealing.put(more, digest=sha256(more), size=len(more))
    assert code(answer) == (403, "quota")


async def test_a_failed_upload_does_not_use_up_the_quota(revealing: Trial) -> None:
    wrong = b"x" * len(UPDATE)
    assert code(await revealing.put(wrong)) == (422, "wrong-digest")
    more = b"another update"
    status, _ = await revealing.put(more, digest=sha256(more), size=len(more))
    assert status == 201
    assert code(await revealing.put()) == (403, "quota")


async def test_a_failed_repetition_does_not_widen_the_quota(revealing: Trial) -> None:
    assert (await revealing.put())[0] == 201
    assert code(await revealing.put(b"x" * len(UPDATE))) == (422, "wrong-digest")
    more = b"another update"
    answer = await revealing.put(more, digest=sha256(more), size=len(more))
    assert code(answer) == (403, "quota")


async def test_bytes_under_a_wrong_digest_are_refused_and_not_kept(revealing: Trial) -> None:
    wrong = b"x" * len(UPDATE)
    before = (await revealing.call("GET", api.STATUS))[1]
    assert code(await revealing.put(wrong)) == (422, "wrong-digest")
    after = (await revealing.call("GET", api.STATUS))[1]
    assert isinstance(before, dict) and isinstance(after, dict)
    assert after["blob_bytes"] == before["blob_bytes"]
    path = api.BLOBS.format(digest=sha256(UPDATE).hex())
    assert code(await revealing.call("GET", path)) == (404, "not-found")


async def test_a_truncated_update_is_refused(revealing: Trial) -> None:
    assert code(await revealing.put(UPDATE[:-1])) == (422, "wrong-digest")


async def test_more_bytes_than_authorized_are_not_read(revealing: Trial) -> None:
    assert code(await revealing.put(UPDATE + b"!")) == (413, "too-large")


async def test_an_update_above_the_chains_limit_is_refused(revealing: Trial) -> None:
    limit = revealing.mill.genesis.params.update_bytes_max
    assert code(await revealing.put(size=limit + 1)) == (422, "too-long")
    assert code(await revealing.put(size=0)) == (422, "too-long")


async def test_an_update_longer_than_any_of_this_job_is_refused(revealing: Trial) -> None:
    """A store that junk could fill would turn the next cycle's updates away."""
    genesis = revealing.mill.genesis
    longest = max(update_bytes_max(genesis.job, segment) for segment in range(genesis.job.segments))
    assert longest < genesis.params.update_bytes_max
    assert code(await revealing.put(size=longest + 1)) == (422, "too-long")
    data = bytes(longest)
    status, _ = await revealing.put(data, size=longest, digest=sha256(data))
    assert status == 201


async def test_an_upload_by_somebody_without_a_unit_is_refused(revealing: Trial) -> None:
    stranger = Miner(9, revealing.miner.chain_id)
    assert code(await revealing.put(key=stranger.key)) == (403, "not-assigned")


async def test_an_upload_for_another_cycle_is_refused(revealing: Trial) -> None:
    cycle = revealing.mill.state().cycle
    assert code(await revealing.put(cycle=cycle + 1)) == (409, "wrong-cycle")
    assert code(await revealing.put(cycle=cycle - 1)) == (409, "late")


async def test_an_upload_for_another_chain_or_digest_is_refused(revealing: Trial) -> None:
    assert code(await revealing.put(chain_id=bytes(32))) == (400, "malformed")
    assert code(await revealing.put(path_digest=bytes(32))) == (400, "malformed")


async def test_an_upload_without_authorization_is_refused(revealing: Trial) -> None:
    path = api.BLOBS.format(digest=sha256(UPDATE).hex())
    assert code(await revealing.call("PUT", path, data=UPDATE)) == (400, "malformed")
    for header in ("zz", "00", "ff" * 2000):
        headers = {api.UPLOAD_HEADER: header}
        answer = await revealing.call("PUT", path, data=UPDATE, headers=headers)
        assert code(answer) == (400, "malformed")


async def test_an_upload_before_the_reveal_is_too_early(tmp_path: Path) -> None:
    async with running(tmp_path, 1, PATIENT) as mill, aiohttp.ClientSession() as session:
        found = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        await mill.reach(Phase.REGISTRATION)
        assert code(await found.put()) == (409, "wrong-phase")
        await found.post(found.miner.register(mill.state().cycle))
        await mill.reach(Phase.TRAINING)
        assert code(await found.put()) == (409, "wrong-phase")


async def test_artifacts_beyond_the_operators_limit_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, 1, PATIENT, start=0) as mill, aiohttp.ClientSession() as session:
        settings = Home(mill.homes[0]).config
        settings.write_text(settings.read_text() + "storage: {blobs_bytes_max: 20}\n")
        await mill.start(0)
        found = Trial(mill, Miner(7, mill.genesis.chain_id), session)
        await found.reveal_phase()
        assert code(await found.put()) == (507, "storage-full")


@pytest.mark.parametrize("name", ["x", "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32])
async def test_a_blobs_name_has_one_spelling(trial: Trial, name: str) -> None:
    path = api.BLOBS.format(digest=name)
    assert code(await trial.call("GET", path)) == (400, "malformed")
