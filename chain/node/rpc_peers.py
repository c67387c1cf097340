"""JSON-RPC about peers and whom to dial.  Source: Bitcoin Core, rpc/net.cpp."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from bft.errors import ConfigError
from chain.gossip_events import Event, PeerNamed, PeerUnnamed, PeerUnwanted
from chain.node.config import Endpoint, split_endpoint
from chain.node.core import NodeCore
from chain.node.rpc import INVALID_PARAMETER, RpcError
from chain.node.rpc_arguments import check_int, text
from chain.peer import NEVER_MS, Peer
from chain.peers.outbound import MANUAL_MAX
from chain.records.peer_message import NODE_NETWORK, NODE_NETWORK_LIMITED, NODE_WITNESS

ALREADY_ADDED, NOT_ADDED, NOT_CONNECTED = -23, -24, -29  # Core's codes, rpc/protocol.h
_SERVICES = (
    (NODE_NETWORK, "NETWORK"),
    (NODE_WITNESS, "WITNESS"),
    (NODE_NETWORK_LIMITED, "NETWORK_LIMITED"),
)
_NETWORKS = ("ipv4", "ipv6", "not_publicly_routable")
_COMMANDS = ("add", "remove", "onetry")


def service_names(services: int) -> list[str]:
    """As Core writes them; unknown bits are left out."""
    return [name for bit, name in _SERVICES if services & bit]


class PeerMethods:
    """Each public method is one of Core's."""

    def __init__(self, core: NodeCore, step: Callable[[Event], None]) -> None:
        self._core, self._step = core, step
        self._neighbours = core.gossip.neighbours

    def getpeerinfo(self) -> list[dict[str, Any]]:
        """Each connection."""
        return [self._peer(peer) for _, peer in sorted(self._core.gossip.peers.items())]

    def _peer(self, peer: Peer) -> dict[str, Any]:
        version, talk = peer.version, self._neighbours.exchange.talks.get(peer.number)
        services = version.services if version else 0
        pings = {"pingtime": peer.ping_ms, "minping": peer.ping_ms_min}
        return {
            "id": peer.number,
            "addr": self._core.addresses.get(peer.number, ""),
            "network": peer.address.network if peer.address else "",
            "services": f"{services:016x}",
            "servicesnames": service_names(services),
            "relaytxes": peer.passes_transactions,
            "last_transaction": peer.transaction_ms // 1000,
            "last_block": peer.block_ms // 1000,
            "conntime": peer.since_ms // 1000,
            **{name: Decimal(ms) / 1000 for name, ms in pings.items() if ms != NEVER_MS},
            "version": version.protocol if version else 0,
            "subver": version.user_agent.decode("utf-8", "replace") if version else "",
            "inbound": not peer.outbound,
            "startingheight": version.height if version else -1,
            "synced_headers": peer.height,
            "synced_blocks": peer.height,
            "inflight": len(peer.requested) + len(peer.slow),
            "addr_relay_enabled": talk is not None,
            "addr_processed": talk.processed if talk else 0,
            "addr_rate_limited": talk.rate_limited if talk else 0,
            "connection_type": peer.kind.value,
        }

    def getnodeaddresses(self, count: int = 1, network: str | None = None) -> list[dict[str, Any]]:
        """Addresses of other nodes that this one would tell; count 0: all."""
        check_int(count, "count")
        if count < 0:
            raise RpcError(INVALID_PARAMETER, "Address count out of range")
        if network is not None and text(network, "network") not in _NETWORKS:
            raise RpcError(INVALID_PARAMETER, f"Network not recognized: {network:.40}")
        book = self._neighbours.book
        found = [
            {
                "time": entry.seen_s,
                "services": entry.services,
                "address": str(entry.address.host),
                "port": entry.address.port,
                "network": entry.address.network,
            }
            for entry in book.sample(self._core.now_ms() // 1000, len(book))
            if network in (None, entry.address.network)
        ]
        return found[: count or None]

    def getaddrmaninfo(self) -> dict[str, dict[str, int]]:
        """How many addresses this node knows, and of how many it knows that they answer."""
        entries = list(self._neighbours.book.entries.values())

        def line(network: str | None) -> dict[str, int]:
            mine = [each for each in entries if network in (None, each.address.network)]
            tried = sum(each.tried for each in mine)
            return {"new": len(mine) - tried, "tried": tried, "total": len(mine)}

        return {**{name: line(name) for name in _NETWORKS}, "all_networks": line(None)}

    def addnode(self, node: str, command: str, v2transport: bool = False) -> None:
        """Dial host:port always (add), not always (remove), or once (onetry).  A restart forgets
        it: what is to stay stands in the settings (peers)."""
        endpoint, named = _endpoint(node), self._neighbours.outbound.named
        if text(command, "command") not in _COMMANDS:
            raise RpcError(INVALID_PARAMETER, f"command is one of {', '.join(_COMMANDS)}")
        if v2transport:
            raise RpcError(INVALID_PARAMETER, "this node speaks version 1 frames only")
        if command == "remove":
            if endpoint not in named:
                text_ = "Node could not be removed. It has not been added previously."
                raise RpcError(NOT_ADDED, f"Error: {text_}")
            self._step(PeerUnnamed(endpoint=endpoint))
            return
        if command == "add" and endpoint in named:
            raise RpcError(ALREADY_ADDED, "Error: Node already added")
        if command == "add" and len(named) >= MANUAL_MAX:
            raise RpcError(INVALID_PARAMETER, f"at most {MANUAL_MAX} nodes are dialled always")
        self._step(PeerNamed(endpoint=endpoint, always=command == "add"))

    def getaddednodeinfo(self, node: str | None = None) -> list[dict[str, Any]]:
        """Those that are dialled always, by the settings or by addnode."""
        named = list(self._neighbours.outbound.named)
        if node is not None:
            if text(node, "node") not in named:
                raise RpcError(NOT_ADDED, "Error: Node has not been added.")
            named = [node]
        return [self._added(endpoint) for endpoint in named]

    def _added(self, endpoint: str) -> dict[str, Any]:
        there = [
            {"address": self._core.addresses.get(peer.number, ""), "connected": "outbound"}
            for peer in self._core.gossip.peers.values()
            if peer.endpoint == endpoint
        ]
        return {"addednode": endpoint, "connected": bool(there), "addresses": there}

    def disconnectnode(self, address: str = "", nodeid: int | None = None) -> None:
        """Closes the connection with this address, or with this id of getpeerinfo."""
        if bool(text(address, "address")) == (nodeid is not None):
            raise RpcError(INVALID_PARAMETER, "Only one of address and nodeid should be provided.")
        if nodeid is not None:
            check_int(nodeid, "nodeid")
        numbers = [
            number
            for number in self._core.gossip.peers
            if number == nodeid or (address and self._core.addresses.get(number) == address)
        ]
        if not numbers:
            raise RpcError(NOT_CONNECTED, "Node not found in connected nodes")
        self._step(PeerUnwanted(peer=numbers[0]))


def _endpoint(node: Any) -> str:
    try:
        endpoint: str = msgspec.convert(text(node, "node"), Endpoint)
        split_endpoint(endpoint)
    except (msgspec.ValidationError, ConfigError):
        raise RpcError(INVALID_PARAMETER, "node is host:port or [IPv6]:port") from None
    return endpoint
