"""JSON-RPC about peers and this process.  Source: Bitcoin Core, rpc/net.cpp, rpc/server.cpp."""

from collections.abc import Callable
from typing import Any

from chain.bitcoin.text import amount
from chain.gossip_events import Event
from chain.mempool import FEE_RATE_MIN
from chain.node.core import USER_AGENT, NodeCore
from chain.node.guards import warnings
from chain.records.peer_message import PROTOCOL_VERSION, SERVICES

VERSION = 10_000  # as Core writes 0.1.0


class NetworkMethods:
    """Each public method is one of Core's."""

    def __init__(self, core: NodeCore, step: Callable[[Event], None]) -> None:
        self._core, self._step = core, step
        self._started_ms = core.now_ms()

    def getconnectioncount(self) -> int:
        """Peers that have greeted."""
        return sum(peer.ready for peer in self._core.gossip.peers.values())

    def getnetworkinfo(self) -> dict[str, Any]:
        """What this node speaks."""
        ready = [peer for peer in self._core.gossip.peers.values() if peer.ready]
        outbound = sum(peer.outbound for peer in ready)
        return {
            "version": VERSION,
            "subversion": USER_AGENT.decode("ascii"),
            "protocolversion": PROTOCOL_VERSION,
            "localservices": f"{SERVICES:016x}",
            "localservicesnames": ["NETWORK", "WITNESS"],
            "localrelay": True,
            "timeoffset": 0,
            "networkactive": True,
            "connections": len(ready),
            "connections_in": len(ready) - outbound,
            "connections_out": outbound,
            "networks": [],
            "relayfee": amount(FEE_RATE_MIN * 4),
            "incrementalfee": amount(FEE_RATE_MIN * 4),
            "localaddresses": [],
            "warnings": warnings(self._core),
        }

    def getpeerinfo(self) -> list[dict[str, Any]]:
        """Each connection."""
        return [
            {
                "id": peer.number,
                "addr": self._core.addresses.get(peer.number, ""),
                "inbound": not peer.outbound,
                "connection_type": "manual" if peer.outbound else "inbound",
                "conntime": peer.since_ms // 1000,
                "version": peer.version.protocol if peer.version else 0,
                "subver": peer.version.user_agent.decode("utf-8", "replace")
                if peer.version
                else "",
                "startingheight": peer.version.height if peer.version else -1,
                "synced_headers": peer.height,
                "synced_blocks": peer.height,
                "inflight": len(peer.requested) + len(peer.slow),
            }
            for _, peer in sorted(self._core.gossip.peers.items())
        ]

    def uptime(self) -> int:
        """Seconds since the start."""
        return (self._core.now_ms() - self._started_ms) // 1000
