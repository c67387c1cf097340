"""Asking all replicas to sign a winner's draft, until its solution is there (profile signet)."""

from collections.abc import Sequence

import msgspec

from bft.errors import DecodeError
from chain.federation import api
from chain.federation.answers import read_json
from chain.federation.panel import gather_enough
from chain.federation.transport import JSON_BYTES_MAX, Transport, refusal
from chain.records.block import decode_block
from chain.records.profile import Profile
from chain.signet.draft import Collecting

SIGNATURES_GRACE_S = 0.5
DRAFT_S = api.REQUEST_WAIT_MS_MAX / 1000 + 5  # a replica may run a block's scripts first


class DraftSignature(msgspec.Struct, frozen=True):
    """What a replica answers to a draft; hexadecimal."""

    key: str
    signature: str


async def solve(transport: Transport, urls: Sequence[str], draft: bytes, profile: Profile) -> bytes:
    """The block of `draft` with its solution, by enough of the replicas at `urls`.

    What is malformed, of a stranger or does not verify is passed over.

    Raises:
        Unavailable: too few signed; the text says what came instead.
    """
    collecting = Collecting(decode_block(draft), profile)

    async def ask(url: str) -> None:
        reply = await transport.exchange(
            "POST",
            url + api.DRAFTS,
            body=draft,
            headers={"Content-Type": api.OCTETS},
            bytes_max=JSON_BYTES_MAX,
            timeout_s=DRAFT_S,
        )
        if reply.status != 200:
            raise refusal(reply)
        said = read_json(DraftSignature, url, reply.body)
        before = collecting.count
        try:
            collecting.take(bytes.fromhex(said.key), bytes.fromhex(said.signature))
        except ValueError:
            raise DecodeError(f"{url}: key and signature are no hexadecimal numbers") from None
        if collecting.count == before:
            raise DecodeError(f"{url}: a signature that another address gave already")

    await gather_enough([ask(url) for url in urls], collecting.required, SIGNATURES_GRACE_S)
    return collecting.solved()
