"""`gristmill node evidence`: what a node has against winners, and showing it by hand."""

import asyncio
from collections.abc import Sequence
from typing import Any

from bft.errors import FederationError
from chain.federation.answers import read_verdict
from chain.federation.api import OCTETS, REQUEST_WAIT_MS_MAX, REQUESTS
from chain.federation.transport import JSON_BYTES_MAX, Transport, base_url
from chain.node.showing import Showing
from chain.params import Params
from chain.records.evidence import Equivocation, Evidence


def describe_evidence(evidence: Evidence) -> dict[str, Any]:
    """Whom it is against; hashes of blocks reversed, as people see them."""
    if not isinstance(evidence, Equivocation):
        return {"against": "the federation"}
    certificate = evidence.first.certificate
    return {
        "against": certificate.winner.hex(),
        "cycle": certificate.cycle,
        "height": certificate.height,
        "rank": certificate.rank,
        "blocks": [each.hash[::-1].hex() for each in (evidence.first, evidence.second)],
    }


def show_evidence(
    chain_id: bytes, params: Params, winners: Sequence[Equivocation], servers: Sequence[str]
) -> list[list[str]]:
    """What each replica says of each piece, by piece, in the order of `servers`.

    Raises:
        ConfigError: a malformed address.
    """
    sealed = Showing(chain_id, params).requests(winners)
    return asyncio.run(_show([base_url(server) for server in servers], sealed))


async def _show(urls: Sequence[str], requests: Sequence[bytes]) -> list[list[str]]:
    async with Transport() as transport:
        return [[await _ask(transport, url, sealed) for url in urls] for sealed in requests]


async def _ask(transport: Transport, url: str, sealed: bytes) -> str:
    try:
        reply = await transport.exchange(
            "POST",
            f"{url}{REQUESTS}?wait_ms={REQUEST_WAIT_MS_MAX}",
            body=sealed,
            headers={"Content-Type": OCTETS},
            bytes_max=JSON_BYTES_MAX,
            timeout_s=2 * REQUEST_WAIT_MS_MAX / 1000,
        )
        verdict = read_verdict(url, reply)
    except FederationError as error:
        return f"{url}: {error}"
    return f"{url}: {verdict.code}{f': {verdict.text}' if verdict.text else ''}"
