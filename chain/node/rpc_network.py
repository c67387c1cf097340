"""JSON-RPC about the network and this process.  Source: Bitcoin Core, rpc/{net,server}.cpp."""

from collections.abc import Callable
from typing import Any

from chain.bitcoin.text import amount
from chain.gossip_events import Event
from chain.mempool import FEE_RATE_MIN
from chain.node.core import USER_AGENT, NodeCore
from chain.node.guards import warnings
from chain.node.rpc_peers import service_names
from chain.records.peer_message import PROTOCOL_VERSION

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
            "localservices": f"{self._core.services:016x}",
            "localservicesnames": service_names(self._core.services),
            "localrelay": True,
            "timeoffset": 0,
            "networkactive": True,
            "connections": len(ready),
            "connections_in": len(ready) - outbound,
            "connections_out": outbound,
            "networks": [
                {"name": name, "limited": False, "reachable": True, "proxy": ""}
                for name in ("ipv4", "ipv6")
            ],
            "relayfee": amount(FEE_RATE_MIN * 4),
            "incrementalfee": amount(FEE_RATE_MIN * 4),
            "localaddresses": self._own(),
            "warnings": warnings(self._core),
        }

    def _own(self) -> list[dict[str, Any]]:
        own = self._core.gossip.neighbours.exchange.own
        if own is None:
            return []
        return [{"address": str(own.host), "port": own.port, "score": 1}]

    def uptime(self) -> int:
        """Seconds since the start."""
        return (self._core.now_ms() - self._started_ms) // 1000
