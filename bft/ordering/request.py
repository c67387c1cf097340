"""What clients ask the federation to order.

Pure.  Both PBFT and the auditor read requests, so they stand outside `bft.pbft`.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.envelope import Sign, open_as, seal
from bft.codec.types import U63, Bytes32, IdentityKey
from bft.errors import DecodeError

REQUEST_BYTES_MAX = 256 * 1024

CSEQ_WINDOW = 64
"""Requests that one client may have under way: below its highest cseq by so many, one is stale."""

CLIENTS_MAX = 10_000
"""Clients whose windows are remembered; the least recently executed is forgotten first."""


class Request(Record):
    """`client` asks that `operation` be executed once.  PBFT section 4.1."""

    TAG = "bft.request/1"

    chain_id: Bytes32
    client: IdentityKey
    cseq: U63  # chosen by the client, never twice; see bft/pbft/clients.py for the window
    operation: Annotated[bytes, Meta(max_length=REQUEST_BYTES_MAX)]


def seal_request(chain_id: bytes, client: bytes, cseq: int, operation: bytes, sign: Sign) -> bytes:
    """The encoded, signed request."""
    request = Request(chain_id=chain_id, client=client, cseq=cseq, operation=operation)
    return seal(request, client, sign)


def open_request(data: bytes, chain_id: bytes) -> Request:
    """The request in an encoded envelope, signed by its client, for this chain.

    Raises:
        DecodeError: malformed, too long, for another chain, or signed by another key.
        BadSignature: the signature does not stand.
    """
    signer, request = open_as(Request, data, bytes_max=REQUEST_BYTES_MAX + 1024)
    if signer != request.client:
        raise DecodeError("a request must be signed by its own client")
    if request.chain_id != chain_id:
        raise DecodeError(
            f"request for chain {request.chain_id.hex()[:16]}; this is {chain_id.hex()[:16]}"
        )
    return request
