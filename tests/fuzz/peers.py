"""Readers of what chain nodes tell each other, ours and Bitcoin Core's, and of addresses kept."""

from chain.gossip_events import MessageCame, PeerConnected
from chain.peers.book import AddressBook
from chain.peers.kept import decode_book, encode_book
from chain.records import core_message as core
from chain.records import evidence as evidences
from chain.records import peer_message as peers
from chain.records.peer_address import (
    ADDRESSES_MAX,
    Announced,
    decode_addrv2,
    encode_addrv2,
    parse_address,
)
from tests.chain import federation_fixture as chain
from tests.chain.gossip_network import Node
from tests.fuzz.outsiders import EQUIVOCATION, FIRST, SECOND
from tests.fuzz.target import Target

ADDRESSES = encode_addrv2(
    [
        Announced(time=chain.CREATED_S, services=9, address=address)
        for address in map(parse_address, ("20.0.0.1:7500", "[2a00::1]:7500"))
        if address is not None
    ]
)
ASKED = core.GetHeaders(locator=(FIRST.hash, chain.START.hash), stop=bytes(32))
PAYLOADS = {
    "version": peers.Version(
        protocol=peers.PROTOCOL_VERSION, time=1, nonce=2, user_agent=b"/x/", height=0
    ).encode(),
    "verack": b"",
    "ping": peers.encode_nonce(7),
    "pong": peers.encode_nonce(7),
    "inv": peers.encode_inventory((FIRST.hash, SECOND.hash)),
    "getdata": peers.encode_inventory((FIRST.hash,), peers.MSG_WITNESS_BLOCK),
    "notfound": peers.encode_inventory((FIRST.hash,)),
    "block": FIRST.data,
    "getcerthdrs": peers.encode_getcertheaders(0, chain.START.hash),
    "certheaders": peers.encode_certheaders(
        tuple(block.certified_header.encode() for block in (FIRST, SECOND))
    ),
    "finality": chain.finality_of(FIRST).encode(),
    "evidence": evidences.encode_evidence(EQUIVOCATION),
    "getaddr": b"",
    "addrv2": ADDRESSES,
    "sendaddrv2": b"",
    "getheaders": core.encode_getheaders(ASKED, peers.PROTOCOL_VERSION),
    "getblocks": core.encode_getheaders(ASKED, peers.PROTOCOL_VERSION),
}
"""A valid payload of every command."""


def _frame_header(data: bytes) -> None:
    header = peers.decode_frame_header(chain.CHAIN_ID, data)
    assert header.length <= peers.PAYLOAD_BYTES_MAX


def _version(data: bytes) -> None:
    assert len(peers.decode_version(data).user_agent) <= peers.USER_AGENT_BYTES_MAX


def _inventory(data: bytes) -> None:
    assert len(peers.decode_inventory(data)) <= peers.INVENTORY_MAX


def _getheaders(data: bytes) -> None:
    found = core.decode_getheaders(data)
    assert core.encode_getheaders(found, int.from_bytes(data[:4], "little")) == data


def _headers(data: bytes) -> None:
    assert core.encode_headers(core.decode_headers(data)) == data


def _addresses(data: bytes) -> None:
    found = decode_addrv2(data)
    assert len(found) <= ADDRESSES_MAX
    assert decode_addrv2(encode_addrv2(found)) == found


def _book() -> AddressBook:
    book = AddressBook(bytes(32))
    told = decode_addrv2(ADDRESSES)
    book.add(told, told[0].address, chain.CREATED_S)
    book.good(told[0].address, 9, chain.CREATED_S)
    return book


def _address_book(data: bytes) -> None:
    book, anchors = decode_book(data, chain.CREATED_S)
    encode_book(book, anchors)


def _gossip(data: bytes) -> None:
    """A real node hears "command NUL payload" from a peer that has greeted it, and from one
    that has not; peers' messages never raise."""
    command, _, payload = data.partition(b"\x00")
    node = Node(1)
    for peer in (1, 2):
        node.gossip.step(PeerConnected(peer=peer, outbound=False), chain.CREATED_S * 1000)
    for name in ("version", "verack"):
        _hear(node, 1, name, PAYLOADS[name])
    for peer in (1, 2):
        _hear(node, peer, command.decode("latin-1"), payload)


def _hear(node: Node, peer: int, command: str, payload: bytes) -> None:
    now_ms = (chain.CREATED_S + 10_000) * 1000
    node.gossip.step(MessageCame(peer=peer, command=command, payload=payload), now_ms)


def targets() -> tuple[Target, ...]:
    """By message, then a node that hears them."""
    header = peers.encode_frame(chain.CHAIN_ID, "ping", peers.encode_nonce(7))
    return (
        Target(
            name="peer-frame",
            read=_frame_header,
            samples=(header[: peers.FRAME_HEADER_BYTES],),
            covers=("chain.records.peer_message:decode_frame_header",),
        ),
        Target(
            name="core-getheaders",
            read=_getheaders,
            samples=(PAYLOADS["getheaders"],),
            covers=("chain.records.core_message:decode_getheaders",),
        ),
        Target(
            name="core-headers",
            read=_headers,
            samples=(core.encode_headers((FIRST.header.encode(),) * 2),),
            covers=("chain.records.core_message:decode_headers",),
        ),
        Target(
            name="peer-version",
            read=_version,
            samples=(PAYLOADS["version"],),
            covers=("chain.records.peer_message:decode_version",),
        ),
        Target(
            name="peer-inventory",
            read=_inventory,
            samples=(PAYLOADS["inv"], PAYLOADS["getdata"]),
            covers=("chain.records.peer_message:decode_inventory",),
        ),
        Target(
            name="peer-getcertheaders",
            read=lambda data: peers.encode_getcertheaders(*peers.decode_getcertheaders(data)),
            samples=(PAYLOADS["getcerthdrs"],),
            covers=("chain.records.peer_message:decode_getcertheaders",),
        ),
        Target(
            name="peer-certheaders",
            read=lambda data: peers.encode_certheaders(peers.decode_certheaders(data)),
            samples=(PAYLOADS["certheaders"],),
            covers=("chain.records.peer_message:decode_certheaders",),
        ),
        Target(
            name="peer-nonce",
            read=lambda data: peers.encode_nonce(peers.decode_nonce(data)),
            samples=(PAYLOADS["ping"],),
            covers=("chain.records.peer_message:decode_nonce",),
        ),
        Target(
            name="peer-addresses",
            read=_addresses,
            samples=(ADDRESSES,),
            covers=("chain.records.peer_address:decode_addrv2",),
        ),
        Target(
            name="address-book",
            read=_address_book,
            samples=(encode_book(_book(), ["20.0.0.1:7500"]),),
            covers=("chain.peers.kept:decode_book",),
        ),
        Target(
            name="peer-step",
            read=_gossip,
            samples=tuple(name.encode() + b"\x00" + sent for name, sent in PAYLOADS.items()),
            slow=True,
        ),
    )
