"""An address book in JSON, as it is kept over a restart.

Trusted: the file belongs to this node's user alone.  Its loss costs what the node knew of others.
Pure.
"""

import msgspec

from bft.errors import DecodeError
from chain.peers.book import BUCKET_PLACES, NEW_BUCKETS, SECRET_BYTES, TRIED_BUCKETS, AddressBook
from chain.peers.entry import Entry
from chain.records.peer_address import parse_address

VERSION = 1
ANCHORS_MAX = 2
KEPT_MAX = BUCKET_PLACES * (NEW_BUCKETS + TRIED_BUCKETS)
KEPT_BYTES_MAX = KEPT_MAX * 256


class KeptAddress(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One entry; times in Unix seconds."""

    address: str
    source_group: str  # hex
    services: int
    seen_s: int
    succeeded_s: int
    attempted_s: int
    failures: int
    tried: bool


class KeptBook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    version: int
    secret: str  # hex
    addresses: list[KeptAddress]
    anchors: list[str] = []  # block-only peers at the last clean end: they are dialled first


def encode_book(book: AddressBook, anchors: list[str]) -> bytes:
    """The file's bytes."""
    addresses = [
        KeptAddress(
            str(entry.address),
            entry.source_group.hex(),
            entry.services,
            entry.seen_s,
            entry.succeeded_s,
            entry.attempted_s,
            entry.failures,
            entry.tried,
        )
        for entry in book.entries.values()
    ]
    kept = KeptBook(version=VERSION, secret=book.secret.hex(), addresses=addresses, anchors=anchors)
    return msgspec.json.encode(kept)


def decode_book(data: bytes, now_s: int) -> tuple[AddressBook, list[str]]:
    """(book, anchors).  Raises DecodeError: not such a file."""
    try:
        kept = msgspec.json.decode(data, type=KeptBook)
        book = AddressBook(_exactly(kept.secret, SECRET_BYTES), now_s)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DecodeError(f"no address book: {error}") from None
    if kept.version != VERSION:
        raise DecodeError(f"an address book of version {kept.version}; this is {VERSION}")
    if len(kept.addresses) > KEPT_MAX or len(kept.anchors) > ANCHORS_MAX:
        raise DecodeError(f"an address book has {KEPT_MAX} addresses and {ANCHORS_MAX} anchors")
    for each in sorted(kept.addresses, key=lambda each: not each.tried):
        book.restore(_entry(each), now_s)
    if any(parse_address(anchor) is None for anchor in kept.anchors):
        raise DecodeError("an anchor is no address")
    return book, kept.anchors


def _entry(kept: KeptAddress) -> Entry:
    address = parse_address(kept.address)
    numbers = (kept.seen_s, kept.succeeded_s, kept.attempted_s, kept.failures)
    fits = all(0 <= number < 2**32 for number in numbers) and 0 <= kept.services < 2**64
    if address is None or not fits:
        raise DecodeError(f"{kept.address!r}: no address, or a number that is out of its range")
    try:
        group = bytes.fromhex(kept.source_group)
    except ValueError:
        raise DecodeError(f"{kept.source_group!r} is no group") from None
    if len(group) > 32:
        raise DecodeError(f"a group of {len(group)} bytes")
    return Entry(
        address,
        group,
        kept.services,
        kept.seen_s,
        succeeded_s=kept.succeeded_s,
        attempted_s=kept.attempted_s,
        counted_s=kept.attempted_s,
        failures=kept.failures,
        tried=kept.tried,
    )


def _exactly(text: str, size: int) -> bytes:
    data = bytes.fromhex(text)
    if len(data) != size:
        raise ValueError(f"a secret has {size} bytes")
    return data
