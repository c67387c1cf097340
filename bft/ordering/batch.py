"""The unit of agreement: a batch of signed requests with the time that the primary proposes.

Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U63
from bft.crypto.hashing import tagged_hash
from bft.ordering.request import REQUEST_BYTES_MAX

BATCH_REQUESTS_MAX = 400
BATCH_BYTES_MAX = 1024 * 1024 + REQUEST_BYTES_MAX


class Batch(Record):
    """Requests in execution order.  `timestamp_ms` is Unix time; execution makes it monotone."""

    TAG = "bft.batch/1"

    timestamp_ms: U63
    requests: Annotated[tuple[bytes, ...], Meta(max_length=BATCH_REQUESTS_MAX)]


NULL_BATCH = encode(Batch(timestamp_ms=0, requests=()))
"""Fills gaps in a new view: no request, no change of state, no passing of time."""


def batch_digest(batch: bytes) -> bytes:
    """32 bytes that PBFT votes on."""
    return tagged_hash(Batch.TAG, batch)


def decode_batch(data: bytes) -> Batch:
    """Raises DecodeError: malformed or beyond its limits."""
    return decode(Batch, data, bytes_max=BATCH_BYTES_MAX)


NULL_DIGEST = batch_digest(NULL_BATCH)
