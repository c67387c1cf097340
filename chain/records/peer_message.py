"""What chain nodes say to each other: Bitcoin's version 1 frames, Bitcoin's messages, four of ours.

A frame: magic (4 bytes, chain/network.py), command (12 bytes, zero-padded), payload length
(u32), checksum (first 4 bytes of the double SHA-256), payload.
Source: Bitcoin Core, protocol.h and net_processing.cpp; BIP 144 for witness blocks.
Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.crypto.hashing import double_sha256
from bft.errors import DecodeError
from chain.federation.api import BLOCK_BYTES_MAX
from chain.records.block import CERTIFIED_HEADER_BYTES_MAX
from chain.records.core_message import GETHEADERS_BYTES_MAX
from chain.records.evidence import EVIDENCE_BYTES_MAX
from chain.records.peer_address import ADDRESSES_MAX, ADDRV2_BYTES_MAX
from chain.records.serialization import Reader, blob, compact_size

FRAME_HEADER_BYTES = 24
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024

PROTOCOL_VERSION = 70016
NODE_NETWORK = 1  # has all blocks
NODE_WITNESS = 1 << 3  # and what signs their transactions
NODE_NETWORK_LIMITED = 1 << 10  # BIP 159: has the newest 288 at least
SERVICES = NODE_NETWORK | NODE_WITNESS | NODE_NETWORK_LIMITED
SERVICES_PRUNED = NODE_WITNESS | NODE_NETWORK_LIMITED
SERVICES_NONE_OLD = NODE_WITNESS  # has less than the newest 288: began from a snapshot lately
USER_AGENT_BYTES_MAX = 256
MSG_TX = 1
MSG_WITNESS_TX = MSG_TX | 1 << 30
MSG_BLOCK = 2
MSG_WITNESS_BLOCK = 2 | 1 << 30
TRANSACTION_WEIGHT_MAX = 400_000  # what nodes pass on, BIP 141's unit
INVENTORY_MAX = 64  # hashes in one inv, getdata or notfound
CERTIFIED_HEADERS_MAX = 64  # in one certheaders

_INVENTORY_BYTES_MAX = 9 + 36 * INVENTORY_MAX
PAYLOAD_MAX = {
    "version": 86 + 3 + USER_AGENT_BYTES_MAX,
    "verack": 0,
    "ping": 8,
    "pong": 8,
    "inv": _INVENTORY_BYTES_MAX,
    "getdata": _INVENTORY_BYTES_MAX,
    "notfound": _INVENTORY_BYTES_MAX,
    "block": BLOCK_BYTES_MAX,
    "tx": TRANSACTION_WEIGHT_MAX,  # all witness, at the most
    "getcerthdrs": 36,
    "getheaders": GETHEADERS_BYTES_MAX,
    "getblocks": GETHEADERS_BYTES_MAX,
    "certheaders": 9 + CERTIFIED_HEADERS_MAX * (3 + CERTIFIED_HEADER_BYTES_MAX),
    "finality": 84,
    "evidence": EVIDENCE_BYTES_MAX,
    "getaddr": 0,
    "sendaddrv2": 0,
    "addrv2": ADDRV2_BYTES_MAX,
    "addr": 3 + 30 * ADDRESSES_MAX,  # not read: we say sendaddrv2
}
"""Commands that we know, with the longest payload of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameHeader:
    """What precedes a payload on the wire."""

    command: str
    length: int
    checksum: bytes  # 4

    def check(self, payload: bytes) -> bytes:
        """The payload.  Raises DecodeError: another one was announced."""
        if double_sha256(payload)[:4] != self.checksum:
            raise DecodeError(f"the checksum of a {self.command!r} message does not fit")
        return payload


def encode_frame(magic: bytes, command: str, payload: bytes) -> bytes:
    """One message as it travels."""
    name = command.encode("ascii")
    assert len(name) <= 12 and len(payload) <= PAYLOAD_BYTES_MAX
    length = len(payload).to_bytes(4, "little")
    checksum = double_sha256(payload)[:4]
    return magic[:4] + name.ljust(12, b"\x00") + length + checksum + payload


def decode_frame_header(magic: bytes, data: bytes) -> FrameHeader:
    """The header in FRAME_HEADER_BYTES bytes.

    Raises:
        DecodeError: of another chain, no command, or a payload longer than its kind may have.
    """
    reader = Reader(data)
    if reader.take(4) != magic[:4]:
        raise DecodeError("a message of another chain")
    name = reader.take(12).rstrip(b"\x00")
    if not name or not all(0x21 <= letter <= 0x7E for letter in name):
        raise DecodeError("a command consists of printable ASCII, then zeros")
    command, length = name.decode("ascii"), reader.integer(4)
    limit = PAYLOAD_MAX.get(command, PAYLOAD_BYTES_MAX)
    if length > limit:
        raise DecodeError(f"a {command!r} of {length} bytes came; at most {limit} allowed")
    found = FrameHeader(command=command, length=length, checksum=reader.take(4))
    reader.end()
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """The first message: who speaks, and how far its chain goes."""

    protocol: int  # u32
    time: int  # u64, Unix seconds
    nonce: int  # u64, drawn at start; its own nonce tells a node that it dialled itself
    user_agent: bytes
    height: int  # u32, of its tip
    services: int = SERVICES  # u64, NODE_NETWORK and others
    relay: bool = True  # it wants to hear of transactions

    def encode(self) -> bytes:
        """Bitcoin's payload; the two network addresses are zero, as nobody relies on them."""
        return b"".join(
            (
                self.protocol.to_bytes(4, "little"),
                self.services.to_bytes(8, "little"),
                self.time.to_bytes(8, "little"),
                bytes(52),
                self.nonce.to_bytes(8, "little"),
                blob(self.user_agent),
                self.height.to_bytes(4, "little"),
                self.relay.to_bytes(1, "little"),
            )
        )


def decode_version(data: bytes) -> Version:
    """Raises DecodeError: malformed."""
    reader = Reader(data)
    protocol, services, time = reader.integer(4), reader.integer(8), reader.integer(8)
    reader.take(52)
    found = Version(
        protocol=protocol,
        time=time,
        nonce=reader.integer(8),
        user_agent=reader.blob(USER_AGENT_BYTES_MAX),
        height=reader.integer(4),
        services=services,
        relay=reader.take(1) != b"\x00",
    )
    reader.end()
    return found


def encode_inventory(hashes: Sequence[bytes], kind: int = MSG_BLOCK) -> bytes:
    """Payload of inv, getdata and notfound."""
    entries = (kind.to_bytes(4, "little") + entry for entry in hashes)
    return compact_size(len(hashes)) + b"".join(entries)


def decode_inventory(
    data: bytes, kinds: tuple[int, ...] = (MSG_BLOCK, MSG_WITNESS_BLOCK)
) -> tuple[bytes, ...]:
    """Hashes (32 bytes each) of these kinds, of blocks if not said otherwise; others are left out.

    Raises:
        DecodeError: malformed, or more than INVENTORY_MAX.
    """
    reader = Reader(data)
    count = reader.count(item_bytes_min=36, items_max=INVENTORY_MAX)
    entries = [(reader.integer(4), reader.take(32)) for _ in range(count)]
    reader.end()
    return tuple(entry for kind, entry in entries if kind in kinds)


def encode_getcertheaders(height: int, block: bytes) -> bytes:
    """Asks for what follows `block` (32 bytes), which the sender has at `height`."""
    return height.to_bytes(4, "little") + block


def decode_getcertheaders(data: bytes) -> tuple[int, bytes]:
    """(height, block hash).  Raises DecodeError: not 36 bytes."""
    reader = Reader(data)
    found = reader.integer(4), reader.take(32)
    reader.end()
    return found


def encode_certheaders(headers: Sequence[bytes]) -> bytes:
    """Encoded certified headers, each on the one before."""
    return compact_size(len(headers)) + b"".join(blob(header) for header in headers)


def decode_certheaders(data: bytes) -> tuple[bytes, ...]:
    """Encoded certified headers.  Raises DecodeError: malformed, or too many."""
    reader = Reader(data)
    count = reader.count(item_bytes_min=81, items_max=CERTIFIED_HEADERS_MAX)
    headers = tuple(reader.blob(CERTIFIED_HEADER_BYTES_MAX) for _ in range(count))
    reader.end()
    return headers


def encode_nonce(nonce: int) -> bytes:
    """Payload of ping and pong."""
    return nonce.to_bytes(8, "little")


def decode_nonce(data: bytes) -> int:
    """Raises DecodeError: not 8 bytes."""
    reader = Reader(data)
    nonce = reader.integer(8)
    reader.end()
    return nonce
