"""Block 0, headers, certificates, what the federation signs: docs/PROTOCOL.md, 3, 5, 6 and 13."""

import struct
from hashlib import sha256
from typing import Any, NamedTuple

from tests.oracle.primitives import all_signed, leaf, tagged
from tests.oracle.records import Malformed, encode, pack

REGTEST_HASH = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
"""Of Bitcoin Core's regtest block 0, as people write it."""
REGTEST_TIME = 1_296_688_602
Fields = dict[str, Any]


class Tip(NamedTuple):
    """The newest final block."""

    height: int
    hash: bytes
    time: int


def double(data: bytes) -> bytes:
    """SHA-256 twice."""
    return sha256(sha256(data).digest()).digest()


def block_0(chain: bytes, genesis: Fields) -> Tip:
    """Section 3."""
    if genesis["params"]["profile"] == 1:
        return Tip(0, bytes.fromhex(REGTEST_HASH)[::-1], REGTEST_TIME)
    seconds = genesis["created_ms"] // 1000
    header = struct.pack("<I32s32sIII", 0x20000000, bytes(32), chain, seconds, 0x207FFFFF, 0)
    return Tip(0, double(header), seconds)


def previous_and_time(header: bytes) -> tuple[bytes, int]:
    """Of Bitcoin's header."""
    _, previous, _, time, _, _ = struct.unpack("<I32s32sIII", header)
    return previous, time


def beacon_message(number: int) -> bytes:
    """Section 6."""
    return sha256(number.to_bytes(8, "big")).digest()


def finality_message(chain: bytes, height: int, block: bytes) -> bytes:
    """Section 6."""
    return tagged("gristmill/finality/v1", chain + height.to_bytes(4, "big") + block)


def sharing_message(session: bytes, commitments: list[bytes]) -> bytes:
    """Section 6."""
    return tagged("gristmill/sharing/v1", session + b"".join(commitments))


def activation_message(
    chain: bytes, epoch: int, members: list[Fields], commitments: list[bytes]
) -> bytes:
    """Section 5."""
    listed = pack([[each[name] for name in each] for each in members])
    digest = tagged("gristmill.members/1", listed)
    joined = chain + epoch.to_bytes(4, "big") + digest + b"".join(commitments)
    return tagged("gristmill/activation/v1", joined)


def key_record_digest(record: Fields) -> bytes:
    """Section 5."""
    return tagged("gristmill.federation-key/1", encode("FederationKey", record))


def certificate_body(fields: dict[str, Any]) -> bytes:
    """Section 13: 323 bytes, of fields in this order."""
    return struct.pack("<B32sIQIB32sII32s33sQqQQ32s32sQ32s32s", 1, *fields.values())


def certificate_holds(data: bytes, key: bytes, chain: bytes) -> bool:
    """Section 13: 371 bytes, of this chain, with a window, signed by the federation."""
    if len(data) != 371 or data[0] != 1 or data[1:33] != chain:
        return False
    first, last = struct.unpack_from("<II", data, 82)
    try:
        signed = all_signed(key, ((tagged("gristmill/certificate/v1", data[:323]), data[323:]),))
    except Malformed:
        return False
    return bool(first <= last and signed)


def contribution_holds(row: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    """Section 13 and RFC 9162, 2.1.3.2: the row stands at `index` of `size` under the root."""
    if index >= size:
        return False
    at, last, hashed = index, size - 1, leaf(row)
    for sibling in proof:
        if not last:
            return False
        if at % 2 or at == last:
            hashed = sha256(b"\x01" + sibling + hashed).digest()
            while at and not at % 2:
                at, last = at // 2, last // 2
        else:
            hashed = sha256(b"\x01" + hashed + sibling).digest()
        at, last = at // 2, last // 2
    return not last and hashed == root
