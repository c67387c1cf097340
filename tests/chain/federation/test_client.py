"""What a client believes, what it does not, and that no single replica can stop it."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.codec.envelope import open_as, seal
from bft.crypto import bls
from bft.crypto.hashing import sha256
from bft.errors import ConfigError, DecodeError, Unavailable
from chain.federation import api
from chain.federation.answers import Position, Verdict
from chain.federation.client import FederationClient
from chain.federation.transport import JSON_BYTES_MAX
from chain.records.contribution import StorageReceipt, UploadAuthorization, WorkUnit
from chain.records.federation import FederationKey, activation_message
from chain.records.phase import Phase
from chain.records.score_log import Assigned
from tests.chain.federation.replicas import Replica, Replicas, Reply, as_json
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    FEDERATION_SECRET,
    GENESIS,
    OTHER_SECRET,
    START,
    certificate_on,
    key_of,
    signed,
)

STATUS = f"GET {api.STATUS}"
REQUESTS = f"POST {api.REQUESTS}"
KEY_ROUTE = f"GET {api.FEDERATION_KEY}"
CERTIFICATE_7 = f"GET {api.CERTIFICATE.format(cycle=7)}"
ASSIGNMENT_7 = f"GET {api.ASSIGNMENT.format(cycle=7)}"
MINER = key_of("miner")
REQUEST = b"a sealed request"
ACCEPTED: Reply = (200, as_json({"code": "accepted", "text": ""}))


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    async with Replicas() as four:
        yield four


@pytest.fixture
async def client(replicas: Replicas) -> AsyncIterator[FederationClient]:
    async with FederationClient(GENESIS, replicas.urls) as one:
        yield one


def assigned(seed: bytes = bytes(32)) -> bytes:
    unit = WorkUnit(unit=0, miner=MINER.public_key, segment=0, chunk=0, steps=1)
    return encode(Assigned(cycle=7, seed=seed, base=bytes(32), units=(unit,)))


def status(cycle: int, phase: str) -> Reply:
    return 200, as_json({"cycle": cycle, "phase": phase, "replica": 0, "more": [1]})


def federation_key(secret: int = FEDERATION_SECRET, chain_id: bytes = CHAIN_ID) -> bytes:
    commitments = (bls.public_key(secret),)
    activation = bls.sign(
        FEDERATION_SECRET, activation_message(chain_id, 0, GENESIS.members, commitments)
    )
    record = FederationKey(
        chain_id=chain_id,
        epoch=0,
        members=GENESIS.members,
        commitments=commitments,
        qualified=(0, 1, 2),
        activation=activation,
    )
    return encode(record)


def refusal(code: str, status_code: int = 409) -> Reply:
    return status_code, as_json({"code": code, "detail": f"refused: {code}"})


# Agreed reads.


async def test_an_answer_counts_when_f_plus_1_replicas_give_it_alike(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(ASSIGNMENT_7, (200, assigned()))
    found = await client.assignment(7)
    assert found is not None and found.units[0].miner == MINER.public_key


@pytest.mark.parametrize("liar", range(4))
async def test_one_liar_changes_no_agreed_answer(
    replicas: Replicas, client: FederationClient, liar: int
) -> None:
    replicas.everywhere(ASSIGNMENT_7, (200, assigned()))
    replicas.all[liar].answers[ASSIGNMENT_7] = (200, assigned(seed=sha256(b"lie")))
    for _ in range(4):
        found = await client.assignment(7)
        assert found is not None and found.seed == bytes(32)


async def test_two_contradicting_halves_prove_nothing(
    replicas: Replicas, client: FederationClient
) -> None:
    """Four different answers: no two alike."""
    for index, replica in enumerate(replicas.all):
        replica.answers[ASSIGNMENT_7] = (200, assigned(seed=sha256(b"%d" % index)))
    with pytest.raises(Unavailable, match="nothing follows"):
        await client.assignment(7)


async def test_what_no_replica_has_is_not_there(client: FederationClient) -> None:
    assert await client.assignment(7) is None
    assert await client.scores(7) is None


async def test_a_replica_that_lags_does_not_hide_what_two_others_have(
    replicas: Replicas, client: FederationClient
) -> None:
    for replica in replicas.all[:3]:
        replica.answers[ASSIGNMENT_7] = (200, assigned())
    for _ in range(4):
        assert await client.assignment(7) is not None


async def test_a_dead_and_a_silent_replica_are_overtaken(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(ASSIGNMENT_7, (200, assigned()))
    await replicas.shut(0)
    replicas.all[1].silent = True
    for _ in range(4):
        assert await client.assignment(7) is not None


async def test_with_all_replicas_down_the_client_says_so(
    replicas: Replicas, client: FederationClient
) -> None:
    for index in range(4):
        await replicas.shut(index)
    with pytest.raises(Unavailable, match="cannot connect"):
        await client.assignment(7)


# The federation's place.


async def test_the_position_is_one_that_a_correct_replica_has_reached(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(STATUS, status(3, "REVEAL"))
    replicas.all[0].answers[STATUS] = status(900, "FINALITY")
    for _ in range(4):
        assert await client.position() == Position(3, Phase.REVEAL)


async def test_one_replica_cannot_hold_the_position_back(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(STATUS, status(3, "REVEAL"))
    replicas.all[2].answers[STATUS] = status(0, "KEYGEN")
    for _ in range(4):
        assert await client.position() == Position(3, Phase.REVEAL)


async def test_f_plus_1_replicas_are_enough_for_a_position(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(STATUS, status(3, "REVEAL"))
    await replicas.shut(0)
    await replicas.shut(3)
    assert await client.position() == Position(3, Phase.REVEAL)
    await replicas.shut(1)
    with pytest.raises(Unavailable):
        await client.position()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"cycle": "3", "phase": "REVEAL"}',
        as_json({"cycle": -1, "phase": "REVEAL"}),
        as_json({"cycle": 3, "phase": "LUNCH"}),
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
async def test_a_status_that_is_none_is_no_answer(
    replicas: Replicas, client: FederationClient, body: bytes
) -> None:
    replicas.everywhere(STATUS, status(3, "REVEAL"))
    replicas.all[1].answers[STATUS] = (200, body)
    for _ in range(4):
        assert await client.position() == Position(3, Phase.REVEAL)


async def test_statuses_name_who_did_not_answer(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(STATUS, status(3, "REVEAL"))
    await replicas.shut(2)
    found = await client.statuses()
    assert [status is None for status in found.values()] == [False, False, True, False]


# What the federation signed.


async def test_a_certificate_counts_under_the_federation_key_from_any_replica(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(KEY_ROUTE, (200, federation_key()))
    data = signed(certificate_on(START, cycle=7))
    replicas.everywhere(CERTIFICATE_7, (200, data))
    found = await client.certificate(7)
    assert found is not None and found[1] == data
    assert (await client.federation_key()).key == FEDERATION_KEY


async def test_a_forged_certificate_is_no_answer(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(KEY_ROUTE, (200, federation_key()))
    true = signed(certificate_on(START, cycle=7))
    replicas.everywhere(CERTIFICATE_7, (200, true))
    forged = signed(certificate_on(START, cycle=7, rank=3), OTHER_SECRET)
    replicas.all[0].answers[CERTIFICATE_7] = (200, forged)
    for _ in range(4):
        assert await client.certificate(7) == (certificate_on(START, cycle=7), true)


async def test_another_cycles_certificate_is_no_answer(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(KEY_ROUTE, (200, federation_key()))
    replicas.everywhere(CERTIFICATE_7, (200, signed(certificate_on(START, cycle=6))))
    with pytest.raises(Unavailable, match="certificate of cycle 6"):
        await client.certificate(7)


async def test_the_highest_rank_that_f_plus_1_replicas_know_is_the_one(
    replicas: Replicas, client: FederationClient
) -> None:
    """A voided rank's certificate is true, and no longer of use."""
    replicas.everywhere(KEY_ROUTE, (200, federation_key()))
    second = signed(certificate_on(START, cycle=7, rank=1))
    replicas.everywhere(CERTIFICATE_7, (200, second))
    first = signed(certificate_on(START, cycle=7, rank=0))
    replicas.all[3].answers[CERTIFICATE_7] = (200, first)
    for _ in range(4):
        found = await client.certificate(7)
        assert found is not None and found[0].rank == 1


async def test_a_federation_key_that_did_not_sign_its_activation_is_refused(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(KEY_ROUTE, (200, federation_key(OTHER_SECRET)))
    with pytest.raises(DecodeError):
        await client.federation_key()


async def test_a_federation_key_of_another_chain_is_refused(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(KEY_ROUTE, (200, federation_key(chain_id=bytes(32))))
    with pytest.raises(DecodeError, match="chain"):
        await client.federation_key()


async def test_before_its_activation_there_is_no_federation_key(
    client: FederationClient,
) -> None:
    with pytest.raises(Unavailable, match="no key yet"):
        await client.federation_key()


# Bytes by their digest.


async def test_a_blob_counts_by_its_digest_whoever_gives_it(
    replicas: Replicas, client: FederationClient
) -> None:
    data = b"snapshot" * 1000
    route = f"GET {api.BLOBS.format(digest=sha256(data).hex())}"
    replicas.everywhere(route, (200, b"another"))
    replicas.all[2].answers[route] = (200, data)
    assert await client.blob(sha256(data)) == data


async def test_an_answer_beyond_its_bound_is_cut_off(
    replicas: Replicas, client: FederationClient
) -> None:
    at_bound, beyond = bytes(1000), bytes(1001)
    for data in (at_bound, beyond):
        route = f"GET {api.BLOBS.format(digest=sha256(data).hex())}"
        replicas.everywhere(route, (200, data))
    assert await client.blob(sha256(at_bound), bytes_max=1000) == at_bound
    with pytest.raises(Unavailable, match="more than 1000 bytes"):
        await client.blob(sha256(beyond), bytes_max=1000)


async def test_no_redirect_is_followed(replicas: Replicas, client: FederationClient) -> None:
    def away(request: web.Request, body: bytes) -> Reply:
        raise web.HTTPFound(replicas.all[0].url + "/elsewhere")

    replicas.everywhere(ASSIGNMENT_7, away)
    with pytest.raises(Unavailable, match="redirect"):
        await client.assignment(7)
    assert not any("elsewhere" in route for route, _ in replicas.all[0].asked)


# Requests.


async def test_a_request_goes_to_f_plus_1_replicas_at_once(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(REQUESTS, ACCEPTED)
    assert await client.submit(REQUEST) == Verdict("accepted", "")
    assert sum((REQUESTS, REQUEST) in replica.asked for replica in replicas.all) == 2


@pytest.mark.parametrize("liar", range(4))
async def test_one_replica_can_neither_refuse_nor_accept_a_request(
    replicas: Replicas, client: FederationClient, liar: int
) -> None:
    replicas.everywhere(REQUESTS, ACCEPTED)
    replicas.all[liar].answers[REQUESTS] = refusal("twice")
    assert (await client.submit(REQUEST)).code == "accepted"
    replicas.everywhere(REQUESTS, refusal("full"))
    replicas.all[liar].answers[REQUESTS] = ACCEPTED
    assert await client.submit(REQUEST) == Verdict("full", "refused: full")


async def test_a_busy_or_waiting_replica_gives_no_verdict(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(REQUESTS, ACCEPTED)
    replicas.all[0].answers[REQUESTS] = refusal("busy", 429)
    replicas.all[1].answers[REQUESTS] = (202, as_json({"code": "pending"}))
    for _ in range(4):
        assert (await client.submit(REQUEST)).code == "accepted"


async def test_without_a_verdict_the_request_is_open(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(REQUESTS, (202, b"{}"))
    with pytest.raises(Unavailable, match="not executed yet"):
        await client.submit(REQUEST)


async def test_a_refusal_is_made_fit_for_a_terminal(
    replicas: Replicas, client: FederationClient
) -> None:
    problem = {"code": "x\n\x1b[2J", "detail": "line\none\x1b[31m" + "y" * 10_000}
    replicas.everywhere(REQUESTS, (422, as_json(problem)))
    verdict = await client.submit(REQUEST)
    assert verdict.code.isprintable() and verdict.text.isprintable()
    assert len(verdict.text) <= 500


@pytest.mark.parametrize("body", [b"", b"not json", b"x" * (JSON_BYTES_MAX + 1), b"[[[["])
async def test_a_refusal_without_problem_details_is_still_one(
    replicas: Replicas, client: FederationClient, body: bytes
) -> None:
    replicas.everywhere(REQUESTS, (413, body))
    if len(body) > JSON_BYTES_MAX:
        with pytest.raises(Unavailable):
            await client.submit(REQUEST)
    else:
        assert (await client.submit(REQUEST)).code == "http-413"


# Uploads.

DATA = b"update" * 50
RECEIPT = StorageReceipt(
    chain_id=CHAIN_ID, cycle=7, miner=MINER.public_key, digest=sha256(DATA), size=len(DATA)
)
PUT = f"PUT {api.BLOBS.format(digest=sha256(DATA).hex())}"
AUTHORIZATION = seal(
    UploadAuthorization(chain_id=CHAIN_ID, cycle=7, digest=sha256(DATA), size=len(DATA)),
    MINER.public_key,
    MINER.sign,
)


def receipt_of(index: int, receipt: StorageReceipt = RECEIPT) -> Reply:
    key = key_of(f"replica {index}")
    return 201, seal(receipt, key.public_key, key.sign)


def storing(replicas: Replicas) -> list[Replica]:
    """All replicas sign for the bytes."""
    for index, replica in enumerate(replicas.all):
        replica.answers[PUT] = receipt_of(index)
    return replicas.all


async def test_an_upload_goes_to_every_replica_and_brings_its_receipt(
    replicas: Replicas, client: FederationClient
) -> None:
    storing(replicas)
    receipts = await client.upload(DATA, AUTHORIZATION, RECEIPT)
    signers = [open_as(StorageReceipt, receipt)[0] for receipt in receipts]
    assert signers == [member.key for member in GENESIS.members]
    assert all((PUT, DATA) in replica.asked for replica in replicas.all)


async def test_f_plus_1_receipts_are_enough(replicas: Replicas, client: FederationClient) -> None:
    storing(replicas)[0].answers[PUT] = refusal("quota", 403)
    replicas.all[1].silent = True
    assert len(await client.upload(DATA, AUTHORIZATION, RECEIPT)) == 2


async def test_a_receipt_counts_only_from_a_member_and_for_these_bytes(
    replicas: Replicas, client: FederationClient
) -> None:
    storing(replicas)
    replicas.all[0].answers[PUT] = receipt_of(9)
    other = StorageReceipt(
        chain_id=CHAIN_ID, cycle=8, miner=MINER.public_key, digest=sha256(DATA), size=len(DATA)
    )
    replicas.all[1].answers[PUT] = receipt_of(1, other)
    replicas.all[2].answers[PUT] = (201, b"garbage")
    with pytest.raises(Unavailable, match="1 usable"):
        await client.upload(DATA, AUTHORIZATION, RECEIPT)


async def test_one_replica_that_answers_at_two_addresses_counts_once(
    replicas: Replicas, client: FederationClient
) -> None:
    """A receipt names its replica by the signature."""
    for replica in replicas.all:
        replica.answers[PUT] = receipt_of(0)
    with pytest.raises(Unavailable):
        await client.upload(DATA, AUTHORIZATION, RECEIPT)


# Blocks and addresses.


async def test_a_block_is_offered_to_replicas_and_nodes(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(f"POST {api.BLOCKS}", (202, b"{}"))
    replicas.all[1].answers[f"POST {api.BLOCKS}"] = refusal("wrong-parent")
    async with Replicas(1) as nodes:
        nodes.everywhere(f"POST {api.BLOCKS}", (201, b"{}"))
        said = await client.offer_block(b"block", [*nodes.urls, "http://127.0.0.1:1"])
        assert said[nodes.urls[0]].code == "accepted"
    assert said[replicas.urls[1]] == Verdict("wrong-parent", "refused: wrong-parent")
    assert "http://127.0.0.1:1" not in said


@pytest.mark.parametrize(
    "urls",
    [
        ["http://a:1"],
        ["http://a:1", "http://a:1/"],
        ["ftp://a:1", "http://b:1"],
        ["a:1", "b:1"],
        ["http://a:99999", "http://b:1"],
        ["http://a:1?x=1", "http://b:1"],
    ],
)
def test_addresses_that_cannot_work_are_refused_at_once(urls: list[str]) -> None:
    with pytest.raises(ConfigError):
        FederationClient(GENESIS, urls)


def test_without_addresses_the_genesis_record_names_the_replicas() -> None:
    members = tuple(
        replace(member, api=b"replica-%d.example:8001" % index)
        for index, member in enumerate(GENESIS.members)
    )
    client = FederationClient(replace(GENESIS, members=members))
    assert client.urls == tuple(f"http://replica-{index}.example:8001" for index in range(4))
