"""Messages of Bitcoin Core's own header sync, for chains whose headers Core can follow.

Source: Bitcoin Core, net_processing.cpp (GETHEADERS, HEADERS), primitives/block.h
(`CBlockLocator`).  Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chain.records.block import HEADER_BYTES
from chain.records.serialization import Reader, compact_size

LOCATOR_MAX = 101
HEADERS_MAX = 2_000  # in one headers message
GETHEADERS_BYTES_MAX = 4 + 3 + 32 * LOCATOR_MAX + 32
HEADERS_BYTES_MAX = 3 + (HEADER_BYTES + 1) * HEADERS_MAX


@dataclass(frozen=True, kw_only=True, slots=True)
class GetHeaders:
    """For what follows the first block of `locator` that we have too."""

    locator: tuple[bytes, ...]  # 32 bytes each, newest first
    stop: bytes  # 32; zero: as many as may be


def decode_getheaders(data: bytes) -> GetHeaders:
    """Raises DecodeError: malformed, or a locator longer than LOCATOR_MAX."""
    reader = Reader(data)
    reader.integer(4)  # a protocol version that nobody looks at
    count = reader.count(item_bytes_min=32, items_max=LOCATOR_MAX)
    locator = tuple(reader.take(32) for _ in range(count))
    found = GetHeaders(locator=locator, stop=reader.take(32))
    reader.end()
    return found


def encode_getheaders(asked: GetHeaders, protocol: int) -> bytes:
    """As Core asks."""
    locator = compact_size(len(asked.locator)) + b"".join(asked.locator)
    return protocol.to_bytes(4, "little") + locator + asked.stop


def encode_headers(headers: Sequence[bytes]) -> bytes:
    """Headers of HEADER_BYTES each, every one on the one before, with their empty transactions."""
    assert len(headers) <= HEADERS_MAX
    return compact_size(len(headers)) + b"".join(header + b"\x00" for header in headers)


def decode_headers(data: bytes) -> tuple[bytes, ...]:
    """Raises DecodeError: malformed, or more than HEADERS_MAX."""
    reader = Reader(data)
    count = reader.count(item_bytes_min=HEADER_BYTES + 1, items_max=HEADERS_MAX)
    headers = []
    for _ in range(count):
        headers.append(reader.take(HEADER_BYTES))
        reader.count(item_bytes_min=1, items_max=0)
    reader.end()
    return tuple(headers)
