"""How a client comes to a receipt although a replica lies, is silent, or answers twice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from bft.errors import Refused, Unavailable
from chain.federation import api
from chain.federation.client import FederationClient
from chain.receipts import verify_receipt
from chain.records.receipt import ExecutionReceipt
from tests.chain.federation.replicas import Replicas, Reply, as_json
from tests.chain.federation_fixture import CHAIN_ID, GENESIS, key_of

REQUESTS = f"POST {api.REQUESTS}"
REQUEST = b"a sealed request"
EXECUTION = ExecutionReceipt(
    chain_id=CHAIN_ID,
    epoch=0,
    client=key_of("client").public_key,
    cseq=7,
    request=sha256(REQUEST),
    sequence=12,
    outcomes=(b"accepted",),
)


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    async with Replicas() as four:
        yield four


@pytest.fixture
async def client(replicas: Replicas) -> AsyncIterator[FederationClient]:
    async with FederationClient(GENESIS, replicas.urls) as one:
        yield one


def answer(replica: int, status: int = 200, **fields: Any) -> Reply:
    """What this replica says: the truth, but for `fields`."""
    key = key_of(f"replica {replica}")
    execution = replace(EXECUTION, **fields)
    receipt = seal(execution, key.public_key, key.sign).hex()
    return status, as_json({"code": execution.outcomes[0].decode(), "receipt": receipt})


def honest(replicas: Replicas, status: int = 200, **fields: Any) -> None:
    for index, replica in enumerate(replicas.all):
        replica.answers[REQUESTS] = answer(index, status, **fields)


async def test_f_plus_1_replicas_that_sign_alike_make_a_receipt(
    replicas: Replicas, client: FederationClient
) -> None:
    honest(replicas)
    receipt = await client.receipt(REQUEST)
    assert verify_receipt(receipt, GENESIS.membership) == EXECUTION


async def test_a_refusal_that_was_ordered_has_a_receipt_as_well(
    replicas: Replicas, client: FederationClient
) -> None:
    honest(replicas, 409, outcomes=(b"full",))
    receipt = await client.receipt(REQUEST)
    assert verify_receipt(receipt, GENESIS.membership).outcomes == (b"full",)


LIES: tuple[Reply, ...] = (
    answer(0, outcomes=(b"full",)),
    answer(0, sequence=13),
    answer(0, request=bytes(32)),
    answer(0, chain_id=bytes(32)),
    answer(1),  # another's, repeated
    (200, as_json({"code": "accepted"})),
    (200, as_json({"code": "accepted", "receipt": "not hex"})),
    (409, as_json({"code": "full", "detail": "full"})),
    (202, as_json({"code": "pending"})),
    (500, b""),
)


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
async def test_a_replica_that_lies_changes_nothing(
    replicas: Replicas, client: FederationClient, lie: Reply
) -> None:
    """Scenario 57: whatever one of four says, f + 1 others say the truth."""
    honest(replicas)
    replicas.all[0].answers[REQUESTS] = lie
    for _ in range(4):  # whoever is asked first
        receipt = await client.receipt(REQUEST)
        assert verify_receipt(receipt, GENESIS.membership) == EXECUTION


async def test_one_replica_at_four_addresses_makes_no_receipt(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(REQUESTS, answer(2))
    with pytest.raises(Unavailable, match="nothing follows"):
        await client.receipt(REQUEST)


async def test_a_request_that_is_refused_unordered_has_no_receipt(
    replicas: Replicas, client: FederationClient
) -> None:
    replicas.everywhere(REQUESTS, (403, as_json({"code": "not-for-clients", "detail": "no"})))
    replicas.all[1].answers[REQUESTS] = answer(1)
    with pytest.raises(Refused) as refused:
        await client.receipt(REQUEST)
    assert refused.value.code == "not-for-clients"
