"""How two nodes greet each other: version, sendaddrv2, verack.

Source: Bitcoin Core, net_processing.cpp (`ProcessMessage`, VERSION and VERACK); BIP 155.
Pure.
"""

from collections.abc import Callable

from bft.errors import Refused
from chain.gossip_events import Effects, Send
from chain.peer import Peer
from chain.peers.connection import Connection
from chain.peers.outbound import may_be_useful
from chain.records.peer_message import PROTOCOL_VERSION, Version, decode_version

HANDSHAKE_COMMANDS = ("version", "verack", "sendaddrv2")


class Unfit(Exception):
    """The peer has done nothing wrong, and is none for us."""


class Ourselves(Unfit):
    """We have dialled ourselves."""


class Handshake:
    """What this node says of itself, and whom it takes."""

    def __init__(
        self, *, nonce: int, user_agent: bytes, services: int, height: Callable[[], int]
    ) -> None:
        """`nonce` is random, u64; `height`: of our tip."""
        self.nonce, self.services = nonce, services
        self._user_agent, self._height = user_agent, height

    def greet(self, peer: Peer, now_ms: int) -> Send:
        """Our version; block-only peers and feelers are not to tell us of transactions."""
        version = Version(
            protocol=PROTOCOL_VERSION,
            time=now_ms // 1000,
            nonce=self.nonce,
            user_agent=self._user_agent,
            height=self._height(),
            services=self.services,
            relay=peer.kind not in (Connection.BLOCK_ONLY, Connection.FEELER),
        )
        return Send(peer=peer.number, command="version", payload=version.encode())

    def take(self, peer: Peer, command: str, payload: bytes, now_ms: int) -> Effects:
        """One of HANDSHAKE_COMMANDS; `peer.ready` afterwards tells whether it was the last.

        Raises:
            DecodeError, Refused: not what may come now.
            Unfit: ourselves, an old version, or an automatic peer without blocks.
        """
        if command == "version":
            return self._version(peer, payload, now_ms)
        if peer.version is None or peer.verack:
            raise Refused("handshake", f"{command} came before version, or after verack")
        if command == "verack":
            peer.verack = True
        else:
            peer.wants_addrv2 = True
        return ()

    def _version(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        version = decode_version(payload)
        if peer.version is not None:
            raise Refused("handshake", "version came twice")
        if version.nonce == self.nonce:
            raise Ourselves("this is ourselves")
        if version.protocol < PROTOCOL_VERSION:
            raise Unfit(f"protocol {version.protocol} is too old")
        if peer.kind.automatic and not may_be_useful(version.services):
            raise Unfit(f"services {version.services:#x} are not those of a node with blocks")
        peer.version, peer.height = version, version.height
        greeting = () if peer.outbound else (self.greet(peer, now_ms),)
        replies = ("sendaddrv2", "verack")
        return (
            *greeting,
            *(Send(peer=peer.number, command=reply, payload=b"") for reply in replies),
        )
