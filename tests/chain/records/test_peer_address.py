"""BIP 155's addresses: the bytes of the standard, and what is refused."""

import pytest

from bft.errors import DecodeError
from chain.records.peer_address import (
    ADDRESS_BYTES_MAX,
    ADDRESSES_MAX,
    Announced,
    Scope,
    decode_addrv2,
    encode_addrv2,
    parse_address,
)
from chain.records.serialization import blob, compact_size


def announced(text: str, time: int = 7, services: int = 1033) -> Announced:
    address = parse_address(text)
    assert address is not None
    return Announced(time=time, services=services, address=address)


def entry(network: int, packed: bytes, port: int = 7500) -> bytes:
    return bytes(4) + b"\x09" + bytes([network]) + blob(packed) + port.to_bytes(2, "big")


def test_the_bytes_are_bip_155s() -> None:
    """Core's stream_addrv2_hex of net_tests.cpp: its first two lines, ::1 with two times."""
    known = (
        "03" "61bc6649" "00" "02" "10" "00000000000000000000000000000001" "0000"
        "79627683" "01" "02" "10" "00000000000000000000000000000001" "00f1"
        "ffffffff" "fd4804" "02" "10" "00000000000000000000000000000001" "f1f2"
    )  # fmt: skip
    found = decode_addrv2(bytes.fromhex(known))
    assert found == (
        announced("[::1]:241", time=0x83766279, services=1),
        announced("[::1]:61938", time=0xFFFFFFFF, services=1096),
    ), "port 0 is nobody's"
    encoded = encode_addrv2(found)
    assert encoded == b"\x02" + bytes.fromhex(known)[1 + 4 + 1 + 1 + 17 + 2 :]


def test_addresses_come_back() -> None:
    found = (announced("20.1.2.3:7500"), announced("[2a00::5]:1024"))
    assert decode_addrv2(encode_addrv2(found)) == found


def test_kinds_that_we_do_not_know_are_left_out_and_the_rest_is_read() -> None:
    good = announced("20.1.2.3:7500")
    data = (
        b"\x05"
        + entry(4, bytes(32))
        + entry(99, bytes(ADDRESS_BYTES_MAX))
        + entry(2, bytes(10) + b"\xff\xff" + bytes(4))
        + entry(6, bytes(16))
        + encode_addrv2([good])[1:]
    )
    assert decode_addrv2(data) == (good,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01" + entry(1, bytes(5)),
        b"\x01" + entry(2, bytes(4)),
        b"\x01" + entry(4, bytes(10)),
        b"\x01" + entry(99, bytes(ADDRESS_BYTES_MAX + 1)),
        b"\x01" + entry(1, bytes(4)) + b"\x00",
        compact_size(ADDRESSES_MAX + 1) + entry(1, bytes(4)) * (ADDRESSES_MAX + 1),
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_addrv2(data)


def test_a_full_message_is_read() -> None:
    data = compact_size(ADDRESSES_MAX) + entry(1, b"\x14\x00\x00\x01") * ADDRESSES_MAX
    assert len(decode_addrv2(data)) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("20.1.2.3:1", Scope.PUBLIC),
        ("[2a00::1]:1", Scope.PUBLIC),
        ("10.0.0.1:1", Scope.PRIVATE),
        ("192.168.7.1:1", Scope.PRIVATE),
        ("100.64.0.1:1", Scope.PRIVATE),
        ("203.0.113.5:1", Scope.PRIVATE),
        ("[fd00::1]:1", Scope.PRIVATE),
        ("127.0.0.9:1", Scope.LOOPBACK),
        ("[::1]:1", Scope.LOOPBACK),
        ("224.0.0.1:1", Scope.NOBODY),
        ("0.0.0.0:1", Scope.NOBODY),
        ("255.255.255.255:1", Scope.NOBODY),
    ],
)
def test_who_can_reach_an_address(text: str, scope: Scope) -> None:
    assert announced(text).address.scope is scope


def test_groups_are_16_bits_of_ipv4_and_32_of_ipv6_and_a_private_host_alone() -> None:
    def group(text: str) -> bytes:
        return announced(text).address.group

    assert group("20.1.2.3:1") == group("20.1.9.9:2") != group("20.2.2.3:1")
    assert group("[2a00:1:2::1]:1") == group("[2a00:1:3::1]:1") != group("[2a00:2::1]:1")
    assert group("10.0.0.1:1") == group("10.0.0.1:2") != group("10.0.0.2:1")
    assert group("127.0.0.1:1") != group("127.0.0.1:2")
