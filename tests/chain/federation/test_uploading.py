"""What a replica says is missing is believed only where it can be so; who gives up says why."""

import json
from typing import Any

import pytest

from bft.errors import DecodeError, Refused
from chain.federation import api
from chain.federation.transport import Transport
from chain.federation.uploading import send_in_chunks
from tests.chain.federation.replicas import Replicas, Reply

PATH = "/artifact"
DATA = bytes(api.CHUNK_BYTES + 1)
GET, POST = (f"{method} {PATH}{api.CHUNKS_BELOW}" for method in ("GET", "POST"))


def says(**changes: Any) -> Reply:
    """A replica's word about DATA."""
    told = {"chunk_bytes": api.CHUNK_BYTES, "chunks": 2, "missing": [], **changes}
    return 200, json.dumps(told).encode()


async def sent(answers: dict[str, Reply]) -> tuple[bytes, list[str]]:
    """(receipt, what was asked) at a replica that answers so."""
    async with Replicas(1) as replicas, Transport() as transport:
        replicas.all[0].answers.update(answers)
        receipt = await send_in_chunks(transport, replicas.urls[0] + PATH, DATA, {})
        return receipt, [route for route, _ in replicas.all[0].asked]


async def test_only_what_is_missing_is_sent() -> None:
    chunk = f"PUT {PATH}{api.CHUNKS_BELOW}/1"
    answers = {GET: says(missing=[1]), chunk: (204, b""), POST: (201, b"receipt")}
    assert await sent(answers) == (b"receipt", [GET, chunk, POST])


@pytest.mark.parametrize(
    "wrong",
    [
        says(chunk_bytes=1),
        says(chunks=3),
        says(missing=[2]),
        says(missing=[-1]),
        says(missing=[0] * 3),
        (200, b"{}"),
        (200, b"garbage"),
    ],
)
async def test_what_cannot_be_missing_is_not_sent(wrong: Reply) -> None:
    with pytest.raises(DecodeError):
        await sent({GET: wrong})


async def test_a_refusal_is_final() -> None:
    answers = {GET: (409, b'{"code":"late","detail":"too late"}')}
    with pytest.raises(Refused, match="too late"):
        await sent(answers)
