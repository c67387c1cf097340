"""Keeping up with the chain: headers first, bodies from all peers, each in its place.

Source: Bitcoin Core, net_processing.cpp; docs/PROTOCOL.md, "Blocks".
Pure.
"""

from collections.abc import Callable
from typing import Protocol

from bft.errors import DecodeError, Refused
from chain.download import Download
from chain.gossip_events import Effects, ScriptsChecked, Send, Taken
from chain.headers import Body, view_of
from chain.intake import Intake
from chain.peer import WANTED_MAX, Peer
from chain.records.block import (
    HEADER_BYTES,
    CertifiedHeader,
    block_hash,
    decode_certified_header,
)
from chain.records.evidence import Finality
from chain.records.peer_message import (
    CERTIFIED_HEADERS_MAX,
    MSG_WITNESS_BLOCK,
    decode_certheaders,
    encode_getcertheaders,
    encode_inventory,
)
from chain.validation import check_header, verify_certificates

HEADERS_MS_MAX = 20_000  # then somebody else is asked for headers

# Not the sender's fault, or nobody's: the block is dropped and the peer stays.
_BENIGN = frozenset(
    {"stale", "unknown-parent", "from-the-future", "too-many", "federation-fault", "busy"}
)


class DropPeer(Protocol):
    """Ends a connection (chain.gossip)."""

    def __call__(self, peer: Peer, reason: str, now_ms: int, *, discourage: bool) -> Effects:
        """What follows from it."""


class Sync:
    """What is asked of peers, and what becomes of what they bring."""

    def __init__(
        self,
        intake: Intake,
        peers: dict[int, Peer],
        spread: Callable[[tuple[Taken, ...], Peer | None], Effects],
        drop: DropPeer,
    ) -> None:
        """`peers`: all of them, as they come and go; `spread` tells them but the source."""
        self.intake, self.peers = intake, peers
        self.download = Download()
        self._spread, self._drop = spread, drop

    def ready(self) -> list[Peer]:
        """Those that have greeted."""
        return [peer for _, peer in sorted(self.peers.items()) if peer.ready]

    def lost(self, peer: Peer, now_ms: int) -> Effects:
        """What it was asked for is asked of others."""
        if not (peer.requested or peer.wanted or peer.headers_asked_ms is not None):
            return ()
        asked = tuple(self.ask_headers(other, now_ms) for other in self.ready())
        return asked + self.assign(now_ms)

    def tick(self, now_ms: int) -> Effects:
        """What has not come is asked of others; what is there is connected."""
        ready = self.ready()
        for peer in ready:
            asked_ms = peer.headers_asked_ms
            if asked_ms is not None and now_ms - asked_ms > HEADERS_MS_MAX:
                peer.headers_asked_ms, peer.height = None, min(peer.height, self.height)
        self.download.release(ready, now_ms)
        effects = self.connect(now_ms, all_there=True) + self.assign(now_ms)
        return effects + self.ask_on(now_ms)

    # What peers bring

    def on_certheaders(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        headers = [decode_certified_header(each) for each in decode_certheaders(payload)]
        peer.headers_asked_ms = None
        intake, chain = self.intake, self.download.chain
        whole = len(headers) == CERTIFIED_HEADERS_MAX
        if not headers:
            peer.height = min(peer.height, self.height)
            return ()
        fresh, parent = self.download.fresh(headers, intake.tree)
        if parent is None:
            return ()  # our tip moved on since we asked; the next tick asks again
        verify_certificates(
            [each.coinbase.certificate for each in fresh], intake.federation_key, intake.chain_id
        )
        for certified in fresh:
            check_header(certified, parent, intake.profile)
            fault = chain.fault_of(certified) or intake.tree.fault_of(certified)
            if fault is not None:
                return self._spread(intake.convict(fault), None)
            parent = view_of(certified)
        peer.height = max(peer.height, parent.height) if whole else parent.height
        effects: Effects = ()
        if fresh:
            self._note_headers(peer, fresh)
            if whole and not chain.full:
                effects = (self.ask_headers(peer, now_ms),)
        return effects + self.assign(now_ms)

    def _note_headers(self, peer: Peer, fresh: list[CertifiedHeader]) -> None:
        """Headers that lead on are fetched from whoever has them, another candidate from `peer`."""
        self.download.chain.extend(fresh)
        self.want(peer, fresh[-1].hash)

    def on_block(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        block = block_hash(payload[:HEADER_BYTES])
        peer.came(block)
        if block in self.download.chain:
            if self.download.chain.wants(block):
                self.download.chain.bodies[block] = Body(peer.number, payload)
            return self.connect(now_ms) + self.assign(now_ms)
        try:
            effects = self.take_block(payload, peer, now_ms)
        except Refused as error:
            if error.code not in _BENIGN:
                raise
            effects = ()
            if error.code == "unknown-parent":
                peer.keep_orphan(block, payload)
                effects = (self.ask_headers(peer, now_ms),)
        return effects + self.assign(now_ms)

    def connect(self, now_ms: int, *, all_there: bool = False) -> Effects:
        """The bodies whose turn it is; who brought one that does not fit its header goes."""
        effects: Effects = ()
        for certified, body in self.download.chain.run(all_there=all_there):
            self.download.chain.bodies.pop(certified.hash, None)
            source = self.peers.get(body.peer)
            try:
                proven = certified.certificate.height < self.download.chain.height
                taken = self.intake.block(body.data, now_ms, certified, body.peer, proven=proven)
            except (DecodeError, Refused) as error:
                if isinstance(error, Refused) and error.code in _BENIGN:
                    return effects + self._give_up()
                if source is None:
                    return effects + self.assign(now_ms)
                return effects + self._drop(source, f"block: {error}", now_ms, discourage=True)
            effects += self._spread(taken, source) + self._adopt_orphans(now_ms)
            if certified.hash in self.intake.waiting:
                self.download.chain.bodies[certified.hash] = body
                break
        if effects:
            effects += self.ask_on(now_ms)
        return effects

    @property
    def height(self) -> int:
        """Of the highest header that is here."""
        return max(self.download.chain.height, self.intake.tree.tip.height)

    def _give_up(self) -> Effects:
        """What cannot be taken now is not asked for again before somebody speaks of more."""
        self.download.chain.clear()
        for peer in self.peers.values():
            peer.height = min(peer.height, self.height)
        return ()

    def ask_headers(self, peer: Peer, now_ms: int) -> Send:
        """For what follows the highest block that is certainly of the chain."""
        start = self.download.chain.proven or self.intake.tree.final
        peer.headers_asked_ms = now_ms
        payload = encode_getcertheaders(start.height, start.hash)
        return Send(peer=peer.number, command="getcerthdrs", payload=payload)

    def ask_on(self, now_ms: int) -> Effects:
        """Once there is room again, for the headers that somebody has beyond ours."""
        ready = self.ready()
        asking = any(peer.headers_asked_ms is not None for peer in ready)
        further = self.download.further(ready, self.height)
        if asking or further is None:
            return ()
        return (self.ask_headers(further, now_ms),)

    def want(self, peer: Peer, block: bytes) -> None:
        known = (
            self.intake.tree.find(block) is not None
            or block in self.download.chain
            or any(
                block in other.requested or block in other.wanted or block in other.orphans
                for other in self.peers.values()
            )
        )
        if not known and len(peer.wanted) < WANTED_MAX:
            peer.wanted.append(block)

    def assign(self, now_ms: int) -> Effects:
        """Ask peers for blocks, each for as many as it may have in flight."""
        self.download.chain.settle(
            lambda block: self.intake.tree.find(block) is not None, self.intake.tree.final.height
        )
        effects: Effects = ()
        for number, hashes in self.download.assign(self.ready(), now_ms):
            payload = encode_inventory(hashes, MSG_WITNESS_BLOCK)
            effects += (Send(peer=number, command="getdata", payload=payload),)
        return effects

    def take_block(self, data: bytes, source: Peer | None, now_ms: int) -> Effects:
        """One block, then those that waited for it."""
        taken = self.intake.block(data, now_ms, None, None if source is None else source.number)
        return self._spread(taken, source) + self._adopt_orphans(now_ms)

    def scripts_checked(self, event: ScriptsChecked, now_ms: int) -> Effects:
        """A block that waited for its scripts goes on, or whoever brought it goes."""
        waiting = self.intake.scripts_checked(event)
        if waiting is None:
            return ()
        source = None if waiting.source is None else self.peers.get(waiting.source)
        if event.verdict is not None:
            self.download.chain.bodies.pop(event.block, None)
            if source is None:
                return self.assign(now_ms)
            return self._drop(source, f"block: {event.verdict[1]}", now_ms, discourage=True)
        if event.block in self.download.chain:
            return self.connect(now_ms, all_there=True) + self.assign(now_ms)
        try:
            return self.take_block(waiting.data, source, now_ms)
        except (DecodeError, Refused):
            return ()  # another block became final meanwhile

    def _adopt_orphans(self, now_ms: int) -> Effects:
        effects: Effects = ()
        adopted = True
        while adopted:
            adopted = False
            for _, peer in sorted(self.peers.items()):
                for data in peer.take_orphans(self._has):
                    adopted = True
                    try:
                        effects += self._spread(self.intake.block(data, now_ms), peer)
                    except (DecodeError, Refused):
                        continue  # it was valid by itself; what it lacks is nobody's proven fault
        return effects

    def _has(self, block: bytes) -> bool:
        return self.intake.tree.find(block) is not None

    def take_finality(self, finality: Finality, source: Peer | None, now_ms: int) -> Effects:
        """The federation's word; if its block is missing, the block is asked for."""
        effects = self._spread(self.intake.finality(finality), source)
        if self.intake.pending != finality:
            return effects
        if source is None:
            return effects + tuple(self.ask_headers(peer, now_ms) for peer in self.ready())
        if finality.height == self.intake.tree.final.height + 1:
            self.want(source, finality.block)
            return effects + self.assign(now_ms)
        return (*effects, self.ask_headers(source, now_ms))
