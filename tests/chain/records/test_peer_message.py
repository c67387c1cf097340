"""Frames and messages between nodes: Bitcoin's form, bounded before they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bft.errors import DecodeError
from chain.records.peer_message import (
    CERTIFIED_HEADERS_MAX,
    FRAME_HEADER_BYTES,
    INVENTORY_MAX,
    MSG_WITNESS_BLOCK,
    PAYLOAD_BYTES_MAX,
    PAYLOAD_MAX,
    Version,
    decode_certheaders,
    decode_frame_header,
    decode_getcertheaders,
    decode_inventory,
    decode_nonce,
    decode_version,
    encode_certheaders,
    encode_frame,
    encode_getcertheaders,
    encode_inventory,
    encode_nonce,
)
from tests.chain.federation_fixture import CHAIN_ID, make_chain

VERSION = Version(protocol=70016, time=1, nonce=2**64 - 1, user_agent=b"/a/", height=9)
HEADER = make_chain(1)[0].certified_header.encode()


def test_a_frame_is_bitcoins_with_our_magic() -> None:
    frame = encode_frame(CHAIN_ID, "verack", b"")
    assert frame[:4] == CHAIN_ID[:4]
    # Bitcoin's wiki shows this verack: command, length 0, checksum of nothing.
    assert frame[4:].hex() == "76657261636b000000000000" + "00000000" + "5df6e0e2"


def test_a_frame_comes_back() -> None:
    frame = encode_frame(CHAIN_ID, "ping", encode_nonce(7))
    header = decode_frame_header(CHAIN_ID, frame[:FRAME_HEADER_BYTES])
    assert (header.command, header.length) == ("ping", 8)
    assert decode_nonce(header.check(frame[FRAME_HEADER_BYTES:])) == 7
    with pytest.raises(DecodeError, match="checksum"):
        header.check(encode_nonce(8))


def test_a_frame_of_another_chain_is_refused() -> None:
    with pytest.raises(DecodeError, match="another chain"):
        decode_frame_header(bytes(32), encode_frame(CHAIN_ID, "ping", b"")[:FRAME_HEADER_BYTES])


@pytest.mark.parametrize("command", [*PAYLOAD_MAX, "mystery"])
def test_a_payload_is_refused_one_byte_past_its_limit_before_it_is_read(command: str) -> None:
    limit = PAYLOAD_MAX.get(command, PAYLOAD_BYTES_MAX)
    name = command.encode().ljust(12, b"\x00")
    for length, good in ((limit, True), (limit + 1, False)):
        data = CHAIN_ID[:4] + name + length.to_bytes(4, "little") + bytes(4)
        if good:
            assert decode_frame_header(CHAIN_ID, data).length == length
        else:
            with pytest.raises(DecodeError, match="at most"):
                decode_frame_header(CHAIN_ID, data)


@pytest.mark.parametrize("name", [b"", b"a\x00b", b"\xff", b"a b"])
def test_a_command_is_printable(name: bytes) -> None:
    with pytest.raises(DecodeError, match="printable"):
        decode_frame_header(CHAIN_ID, CHAIN_ID[:4] + name.ljust(12, b"\x00") + bytes(8))


def test_messages_come_back() -> None:
    assert decode_version(VERSION.encode()) == VERSION
    hashes = (bytes(32), b"\x01" * 32)
    assert decode_inventory(encode_inventory(hashes)) == hashes
    assert decode_inventory(encode_inventory(hashes, MSG_WITNESS_BLOCK)) == hashes
    assert decode_inventory(encode_inventory(hashes, 1)) == ()  # transactions: not ours
    assert decode_getcertheaders(encode_getcertheaders(9, bytes(32))) == (9, bytes(32))
    assert decode_certheaders(encode_certheaders([HEADER, HEADER])) == (HEADER, HEADER)


def test_lists_are_bounded() -> None:
    decode_inventory(encode_inventory([bytes(32)] * INVENTORY_MAX))
    with pytest.raises(DecodeError, match="a list of"):
        decode_inventory(encode_inventory([bytes(32)] * (INVENTORY_MAX + 1)))
    decode_certheaders(encode_certheaders([HEADER] * CERTIFIED_HEADERS_MAX))
    with pytest.raises(DecodeError, match="a list of"):
        decode_certheaders(encode_certheaders([HEADER] * (CERTIFIED_HEADERS_MAX + 1)))


@pytest.mark.parametrize(
    ("decoder", "data"),
    [
        (decode_version, VERSION.encode()),
        (decode_inventory, encode_inventory([bytes(32)] * 3)),
        (decode_getcertheaders, encode_getcertheaders(1, bytes(32))),
        (decode_certheaders, encode_certheaders([HEADER])),
        (decode_nonce, encode_nonce(1)),
    ],
)
def test_a_message_cut_short_or_with_something_behind_it_is_refused(decoder, data) -> None:  # type: ignore[no-untyped-def]
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            decoder(data[:size])
    with pytest.raises(DecodeError):
        decoder(data + b"\x00")


@given(st.binary(max_size=400))
def test_noise_never_does_more_than_be_refused(data: bytes) -> None:
    for decoder in (decode_version, decode_inventory, decode_certheaders, decode_nonce):
        try:
            decoder(data)
        except DecodeError:
            continue
