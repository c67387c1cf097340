"""Where a node answers, as nodes tell each other of it: BIP 155's addresses, of IPv4 and IPv6.

Source: BIP 155; Bitcoin Core, netaddress.cpp and netgroup.cpp.
Pure.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from bft.errors import DecodeError
from chain.records.serialization import Reader, blob, compact_size

ADDRESSES_MAX = 1_000  # in one addrv2
ADDRESS_BYTES_MAX = 512  # of one address of a kind that we do not know
PORT_MIN = 1_024  # lower ones are other services': nobody shall make us knock there
HOSTS_CACHED_MAX = 4_096  # whose scope is not worked out again
_ENTRY_BYTES_MIN = 4 + 1 + 1 + 1 + 2
_ENTRY_BYTES_MAX = 4 + 9 + 1 + 3 + ADDRESS_BYTES_MAX + 2
ADDRV2_BYTES_MAX = 3 + ADDRESSES_MAX * _ENTRY_BYTES_MAX
_NETWORK_BYTES = {1: 4, 2: 16, 3: 10, 4: 32, 5: 32, 6: 16}
"""Length of each kind of BIP 155: IPv4, IPv6, Tor (two kinds), I2P, CJDNS; others are ignored."""
_IPV4, _IPV6 = 1, 2


class Scope(Enum):
    """Who can reach an address."""

    PUBLIC = "public"
    PRIVATE = "private"  # whoever is in the same network
    LOOPBACK = "loopback"  # the same machine
    NOBODY = "nobody"  # multicast, unspecified, reserved


@lru_cache(maxsize=HOSTS_CACHED_MAX)
def _scope(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Scope:
    if host.is_loopback:
        return Scope.LOOPBACK
    if host.is_multicast or host.is_unspecified or host.is_reserved:
        return Scope.NOBODY
    return Scope.PUBLIC if host.is_global else Scope.PRIVATE


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """An IP address and a port."""

    host: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int  # 1 .. 65535

    @property
    def key(self) -> bytes:
        """Bytes that are this address's alone."""
        return self.host.packed + self.port.to_bytes(2, "big")

    @property
    def scope(self) -> Scope:
        """Who can reach it."""
        return _scope(self.host)

    @property
    def group(self) -> bytes:
        """What one operator is likely to hold at once: /16 of IPv4, /32 of IPv6.

        A host that is not public is a group by itself, on one machine each port: in a test network
        all are one's own.
        """
        if self.scope is Scope.LOOPBACK:
            return b"\x00" + self.key
        if self.scope is not Scope.PUBLIC:
            return b"\x01" + self.host.packed
        if isinstance(self.host, ipaddress.IPv4Address):
            return b"\x04" + self.host.packed[:2]
        return b"\x06" + self.host.packed[:4]

    @property
    def network(self) -> str:
        """As Bitcoin Core's RPC names it."""
        if self.scope is not Scope.PUBLIC:
            return "not_publicly_routable"
        return "ipv4" if isinstance(self.host, ipaddress.IPv4Address) else "ipv6"

    def __str__(self) -> str:
        """host:port, or [IPv6]:port."""
        host = str(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse_address(text: str) -> PeerAddress | None:
    """The address in host:port or [IPv6]:port; None: a name, or nothing of the kind."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 2**16:
        return None
    try:
        found = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return _made(found, int(port))


def _made(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> PeerAddress | None:
    if isinstance(host, ipaddress.IPv6Address):
        if host.scope_id is not None:
            return None
        host = host.ipv4_mapped or host
    return PeerAddress(host, port)


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """One line of an addrv2."""

    time: int  # u32, Unix seconds, when somebody last saw it
    services: int  # u64
    address: PeerAddress


def encode_addrv2(announced: Sequence[Announced]) -> bytes:
    """Payload of addrv2."""
    return compact_size(len(announced)) + b"".join(_entry(each) for each in announced)


def _entry(announced: Announced) -> bytes:
    host = announced.address.host
    network = _IPV4 if isinstance(host, ipaddress.IPv4Address) else _IPV6
    return b"".join(
        (
            announced.time.to_bytes(4, "little"),
            compact_size(announced.services),
            network.to_bytes(1, "little"),
            blob(host.packed),
            announced.address.port.to_bytes(2, "big"),
        )
    )


def decode_addrv2(data: bytes) -> tuple[Announced, ...]:
    """The addresses that we can use; those of other kinds are left out.

    Raises:
        DecodeError: malformed, more than ADDRESSES_MAX, or a known kind of another length.
    """
    reader = Reader(data)
    count = reader.count(item_bytes_min=_ENTRY_BYTES_MIN, items_max=ADDRESSES_MAX)
    found = [_read_entry(reader) for _ in range(count)]
    reader.end()
    return tuple(each for each in found if each is not None)


def _read_entry(reader: Reader) -> Announced | None:
    time, services, network = reader.integer(4), reader.compact_size(), reader.integer(1)
    packed = reader.blob(ADDRESS_BYTES_MAX)
    port = int.from_bytes(reader.take(2), "big")
    expected = _NETWORK_BYTES.get(network, len(packed))
    if len(packed) != expected:
        raise DecodeError(f"an address of kind {network} has {expected} bytes; {len(packed)} came")
    if network not in (_IPV4, _IPV6) or not port:
        return None
    host = ipaddress.ip_address(packed)
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        return None  # BIP 155: IPv4 has its own kind
    return Announced(time=time, services=services, address=PeerAddress(host, port))
