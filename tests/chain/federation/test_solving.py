"""Profile signet: f replicas that are silent or sign wrongly neither stop a winner nor count."""

from collections.abc import AsyncIterator

import pytest

from bft.crypto.identity import PrivateKey
from bft.errors import Unavailable
from chain.federation import api
from chain.federation.client import FederationClient
from chain.records.block import decode_block
from chain.signet.draft import message_of
from chain.validation import check_alone
from tests.chain.federation.replicas import Replicas, as_json
from tests.chain.federation_fixture import key_of
from tests.chain.signet.test_blocks import EASY
from tests.chain.signet_fixture import OURS, PROFILE, REPLICAS, draft_on

DRAFTS = f"POST {api.DRAFTS}"
DRAFT = draft_on()
MESSAGE = message_of(DRAFT, PROFILE)


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    """Four that sign."""
    async with Replicas() as four:
        for replica, key in zip(four.all, REPLICAS, strict=True):
            replica.answers[DRAFTS] = answer(key)
        yield four


def answer(key: PrivateKey, message: bytes = MESSAGE, name: bytes = b"") -> tuple[int, bytes]:
    said = {"key": (name or key.public_key).hex(), "signature": key.sign(message).hex()}
    return 200, as_json(said)


async def solved_by(replicas: Replicas) -> bytes:
    async with FederationClient(OURS, replicas.urls) as client:
        return await client.solve(DRAFT.data, PROFILE)


WRONG: dict[str, tuple[int, bytes]] = {
    "another message": answer(REPLICAS[3], bytes(32)),
    "a stranger": answer(key_of("stranger")),
    "another's name": answer(REPLICAS[3], name=REPLICAS[2].public_key),
    "another's signature again": answer(REPLICAS[0]),
    "a refusal": (409, as_json({"code": "another-draft", "detail": "it signed another one"})),
    "no hexadecimal number": (200, as_json({"key": "xy", "signature": "zz"})),
    "no signature": (200, as_json({"key": "00"})),
    "no JSON": (200, b"\xff"),
}


@pytest.mark.parametrize("fault", WRONG)
async def test_one_that_signs_wrongly_is_passed_over(replicas: Replicas, fault: str) -> None:
    replicas.all[3].answers[DRAFTS] = WRONG[fault]
    block = decode_block(await solved_by(replicas))
    check_alone(block.certified_header, EASY)
    assert [body for name, body in replicas.all[0].asked if name == DRAFTS] == [DRAFT.data]


async def test_a_silent_one_is_not_waited_for(replicas: Replicas) -> None:
    replicas.all[0].silent = True
    check_alone(decode_block(await solved_by(replicas)).certified_header, EASY)


async def test_two_that_do_not_sign_are_one_too_many(replicas: Replicas) -> None:
    for index in (1, 2):
        replicas.all[index].answers[DRAFTS] = WRONG["a refusal"]
    with pytest.raises(Unavailable, match="it signed another one"):
        await solved_by(replicas)
