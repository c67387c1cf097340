"""What an operator's commands ask of a running federation.

One replica's word about itself is shown as such; about the federation, what f + 1 replicas say
alike, or what the federation signed.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from bft.errors import DecodeError, FederationError, Unavailable
from chain.federation.api import CYCLES, STATUS
from chain.federation.client import FederationClient
from chain.federation.transport import JSON_BYTES_MAX, Transport, refusal
from chain.records.federation import Genesis, MemberRecord
from coordinator.service.plain import plain_certificate


def urls_of(members: Sequence[MemberRecord]) -> tuple[str, ...]:
    """The members' API addresses, by index."""
    return tuple(f"http://{member.api.decode('ascii')}" for member in members)


async def _json(transport: Transport, url: str) -> Any:
    reply = await transport.exchange("GET", url, bytes_max=JSON_BYTES_MAX)
    if reply.status != 200:
        raise refusal(reply)
    try:
        return msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"{url}: no JSON: {error}") from None


async def _all(urls: Sequence[str], path: str) -> list[Any]:
    """Every replica's answer, or the error in its place."""
    async with Transport() as transport:
        return await asyncio.gather(
            *(_json(transport, url + path) for url in urls), return_exceptions=True
        )


def statuses(urls: Sequence[str]) -> list[dict[str, Any]]:
    """What each replica says about itself; `{"error": ...}` where it says nothing usable."""
    told: list[dict[str, Any]] = []
    for url, answer in zip(urls, asyncio.run(_all(urls, STATUS)), strict=True):
        if isinstance(answer, dict):
            told.append({"url": url, **answer})
        elif isinstance(answer, FederationError) or not isinstance(answer, BaseException):
            told.append({"url": url, "error": str(answer)})
        else:
            raise answer
    return told


def cycles(genesis: Genesis, urls: Sequence[str]) -> list[dict[str, Any]]:
    """The newest cycles, each line as `weak` replicas tell it alike.

    Raises:
        Unavailable: fewer replicas answered.
    """
    weak = genesis.membership.weak
    answers = [told for told in asyncio.run(_all(urls, CYCLES)) if isinstance(told, list)]
    if len(answers) < weak:
        raise Unavailable(f"{len(answers)} replicas answered; {weak} needed to believe one")
    votes = Counter(msgspec.json.encode(line) for told in answers for line in told)
    lines = [msgspec.json.decode(line) for line, count in votes.items() if count >= weak]
    return sorted(lines, key=lambda line: int(line["cycle"]))


def certificate(genesis: Genesis, urls: Sequence[str], cycle: int) -> dict[str, Any] | None:
    """A cycle's certificate, verified under the federation's key; None when there is none.

    Raises:
        Unavailable: too few replicas answered.
    """

    async def ask() -> dict[str, Any] | None:
        async with FederationClient(genesis, urls) as client:
            found = await client.certificate(cycle)
        if found is None:
            return None
        return {"certificate": found[1].hex(), **plain_certificate(found[0])}

    return asyncio.run(ask())
