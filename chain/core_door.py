"""What a node says to a stock Bitcoin Core that follows its chain (profiles signet and regtest).

Core asks for headers and blocks as it would ask its like.  It is shown final blocks only: it would
follow any candidate that met its target, and could not be told that its rank became void.  What it
says beyond that is ignored, as messages are that nobody knows.
Source: Bitcoin Core, net_processing.cpp; docs/PROTOCOL.md, section 18.  Pure.
"""

from collections.abc import Callable

from chain.gossip_events import Announce, Effects, SaveFinal, Send, ServeCoreHeaders, Taken
from chain.peer import Peer
from chain.records.core_message import decode_getheaders
from chain.records.peer_message import encode_inventory
from chain.records.profile import Profile

BEFORE_VERACK = ("wtxidrelay", "sendtxrcncl")
"""Core says these between version and verack; they change nothing here (BIP 339, 330)."""


def concerns(announced: Announce, peer: Peer) -> bool:
    """Whether a peer is told; Core hears of final blocks by `CoreDoor.tell` only."""
    return peer.passes_transactions if announced.transactions else not peer.asks_as_core


class CoreDoor:
    """Who of the peers asks as Core does, and what it is told."""

    def __init__(self, profile: Profile, ready: Callable[[], list[Peer]]) -> None:
        """`ready`: the peers that have greeted."""
        self._open, self._ready = bool(profile.block_0), ready

    def on_getheaders(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        """It follows final blocks from now on."""
        return self._asked(peer, payload, inventory=False)

    def on_getblocks(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        """The same question in its older form, as btcd asks it."""
        return self._asked(peer, payload, inventory=True)

    def _asked(self, peer: Peer, payload: bytes, *, inventory: bool) -> Effects:
        if not self._open:
            return ()
        asked = decode_getheaders(payload)
        peer.asks_as_core = True
        effect = ServeCoreHeaders(
            peer=peer.number, locator=asked.locator, stop=asked.stop, inventory=inventory
        )
        return (effect,)

    def tell(self, taken: tuple[Taken, ...]) -> Effects:
        """The newest block that became final; Core asks for headers then."""
        final = [item.view.hash for item in taken if isinstance(item, SaveFinal)]
        if not final:
            return ()
        payload = encode_inventory(final[-1:])
        return tuple(
            Send(peer=peer.number, command="inv", payload=payload)
            for peer in self._ready()
            if peer.asks_as_core
        )
