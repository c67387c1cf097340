"""How chain nodes tell each other of blocks: every message is a step with effects.

`Gossip.step(event, now_ms)` decides; the edge (chain/node) owns sockets, clock and disk.  It
carries out the effects in their order, and what they save is on disk before anything is sent.
A header is never kept without a verified certificate, so headers are not free to make.  Trouble
has three outcomes only: ignore, disconnect, disconnect and discourage.
Source: Bitcoin Core, net_processing.cpp; docs/PROTOCOL.md, "Blocks".
Pure.
"""

from collections.abc import Callable

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import Coins
from chain.core_door import BEFORE_VERACK, CoreDoor, concerns
from chain.gossip_events import (
    Announce,
    BlockSubmitted,
    DialFailed,
    Drop,
    Effects,
    Event,
    FinalitySubmitted,
    MessageCame,
    PeerConnected,
    PeerLost,
    PeerNamed,
    PeerUnnamed,
    PeerUnwanted,
    SaveBlock,
    ScriptsChecked,
    Send,
    ServeBlocks,
    ServeHeaders,
    Taken,
    Tick,
    TransactionSubmitted,
)
from chain.intake import Intake
from chain.light.follow import cycle_s
from chain.params import Params
from chain.peer import Peer
from chain.peers.book import AddressBook
from chain.peers.connection import Connection
from chain.peers.handshake import HANDSHAKE_COMMANDS, Handshake, Ourselves, Unfit
from chain.peers.neighbours import Neighbourhood, Neighbours
from chain.records.block import (
    HEADER_BYTES,
    Block,
    block_hash,
)
from chain.records.evidence import Evidence, decode_finality
from chain.records.peer_message import (
    MSG_TX,
    MSG_WITNESS_TX,
    SERVICES,
    decode_getcertheaders,
    decode_inventory,
    decode_nonce,
    encode_inventory,
    encode_nonce,
)
from chain.records.profile import Profile
from chain.relay import TRANSACTION_KINDS, Relay, decode_submitted
from chain.sync import Sync
from chain.tree import BlockTree, TipChanged

HANDSHAKE_MS_MAX = 60_000
PING_EVERY_MS = 2 * 60_000
PONG_MS_MAX = 20 * 60_000
STALL_MS_MAX = 60_000  # a block that was asked for must have come
STALE_CYCLES = 3  # without a block: one more peer may know why
_ALONE = Neighbourhood()


class Gossip:
    """The deciding half of a chain node."""

    def __init__(
        self,
        *,
        chain_id: bytes,
        federation_key: bytes,
        params: Params,
        tree: BlockTree,
        nonce: int,
        user_agent: bytes,
        coins: Coins,
        stored: Callable[[bytes], Block | None],
        evidence: tuple[Evidence, ...] = (),
        services: int = SERVICES,
        neighbourhood: Neighbourhood = _ALONE,
        book: AddressBook | None = None,
        shuns: Callable[[str, int], bool] = lambda host, now_s: False,
        profile: Profile | None = None,
    ) -> None:
        """
        Args:
            tree, coins, stored, evidence, profile: as Intake.
            nonce: random, u64.
            neighbourhood, book, shuns: as Neighbours; without a book an empty one.
        """
        self.intake = Intake(
            chain_id=chain_id,
            federation_key=federation_key,
            params=params,
            tree=tree,
            evidence=evidence,
            coins=coins,
            stored=stored,
            verified=lambda transaction: self.relay.pool.is_verified(transaction),
            profile=profile,
        )
        self.relay = Relay(self.intake.coins_after_tip)
        self.peers: dict[int, Peer] = {}
        self.sync = Sync(self.intake, self.peers, self._spread, self._drop)
        self.core_door = CoreDoor(self.intake.profile, self.sync.ready)
        self._handshake = Handshake(
            nonce=nonce,
            user_agent=user_agent,
            services=services,
            height=lambda: self.intake.tree.tip.height,
        )
        seed = nonce.to_bytes(8, "little")
        self.neighbours = Neighbours(
            neighbourhood,
            self.peers,
            services=services,
            book=AddressBook(sha256(seed)) if book is None else book,
            shuns=shuns,
        )
        self._pings, self._seed = 0, seed
        self._stale_ms = STALE_CYCLES * cycle_s(params) * 1000
        self._handlers: dict[str, Callable[[Peer, bytes, int], Effects]] = {
            "ping": self._on_ping,
            "pong": self._on_pong,
            "inv": self._on_inv,
            "getdata": self._on_getdata,
            "notfound": self._on_notfound,
            "block": self._on_block,
            "tx": self._on_tx,
            "getcerthdrs": self._on_getcertheaders,
            "getheaders": self.core_door.on_getheaders,
            "getblocks": self.core_door.on_getblocks,
            "certheaders": self.sync.on_certheaders,
            "finality": self._on_finality,
            "evidence": self._on_evidence,
            "getaddr": self.neighbours.exchange.on_getaddr,
            "addrv2": self.neighbours.exchange.on_addrv2,
        }

    def step(self, event: Event, now_ms: int) -> Effects:
        """What to do about `event`; `now_ms` is Unix time in milliseconds.

        Raises:
            DecodeError, BadSignature, Refused: what was submitted is not valid; nothing changed.
                Peers' messages never raise.
        """
        self.intake.saved()
        match event:
            case PeerConnected():
                return self._on_connected(event, now_ms)
            case PeerLost():
                return self._on_lost(event.peer, now_ms)
            case DialFailed():
                self.neighbours.outbound.failed(event.endpoint, now_ms)
                return ()
            case PeerNamed():
                return self.neighbours.named(event.endpoint, always=event.always)
            case PeerUnnamed():
                self.neighbours.outbound.named.pop(event.endpoint, None)
                return ()
            case PeerUnwanted():
                peer = self.peers.get(event.peer)
                return () if peer is None else self._let_go(peer, "not wanted", now_ms)
            case MessageCame():
                return self._on_message(event, now_ms)
            case BlockSubmitted():
                return self.sync.take_block(event.data, None, now_ms)
            case FinalitySubmitted():
                return self.sync.take_finality(event.finality, None, now_ms)
            case TransactionSubmitted():
                transaction = decode_submitted(event.data)
                self.relay.submit(transaction)
                return self._announce_transaction(transaction.txid, None)
            case ScriptsChecked():
                return self.sync.scripts_checked(event, now_ms)
            case Tick():
                return self._on_tick(now_ms)

    # Connections

    def _on_connected(self, event: PeerConnected, now_ms: int) -> Effects:
        peer = Peer(
            number=event.peer,
            kind=event.kind or (Connection.MANUAL if event.outbound else Connection.INBOUND),
            since_ms=now_ms,
            endpoint=event.endpoint,
            address=event.address,
        )
        peer.pinged_ms = now_ms
        self.peers[event.peer] = peer
        leaving = self.neighbours.connected(peer)
        if leaving is not None:
            return self._let_go(leaving, "its place is another's", now_ms)
        return (self._handshake.greet(peer, now_ms),) if peer.outbound else ()

    def _on_lost(self, number: int, now_ms: int) -> Effects:
        lost = self.peers.pop(number, None)
        if lost is None:
            return ()
        self.neighbours.lost(lost, now_ms)
        return self.sync.lost(lost, now_ms)

    def _let_go(self, peer: Peer, reason: str, now_ms: int) -> Effects:
        return self._drop(peer, reason, now_ms, discourage=False)

    def _drop(self, peer: Peer, reason: str, now_ms: int, *, discourage: bool) -> Effects:
        drop = Drop(peer=peer.number, reason=reason, discourage=discourage)
        return (drop, *self._on_lost(peer.number, now_ms))

    def _spread(self, taken: tuple[Taken, ...], source: Peer | None) -> Effects:
        """The same, with announcements addressed to all peers but `source`."""
        effects: Effects = ()
        for item in taken:
            if isinstance(item, TipChanged):
                self.relay.tip_changed(item, self.intake.find)
            if isinstance(item, Announce):
                effects += tuple(
                    Send(peer=peer.number, command=item.command, payload=item.payload)
                    for peer in self.sync.ready()
                    if peer is not source and concerns(item, peer)
                )
            else:
                effects += (item,)
        return effects + self.core_door.tell(taken)

    def _on_tick(self, now_ms: int) -> Effects:
        effects: Effects = ()
        for _, peer in sorted(self.peers.items()):
            if not peer.ready:
                if now_ms - peer.since_ms > HANDSHAKE_MS_MAX:
                    effects += self._let_go(peer, "no handshake in time", now_ms)
            elif peer.waits_since(now_ms - STALL_MS_MAX):
                effects += self._let_go(peer, "a block did not come in time", now_ms)
            elif peer.ping is not None:
                if now_ms - peer.ping[1] > PONG_MS_MAX:
                    effects += self._let_go(peer, "no pong in time", now_ms)
            elif now_ms - peer.pinged_ms >= PING_EVERY_MS:
                effects += self._ping(peer, now_ms)
        superfluous = self.neighbours.outbound.superfluous(self.peers.values(), now_ms)
        if superfluous is not None:
            effects += self._let_go(superfluous, "one peer more than needed", now_ms)
        waits = any(peer.requested for peer in self.peers.values())
        stale = not waits and now_ms - self.intake.tree.tip.time * 1000 > self._stale_ms
        return effects + self.sync.tick(now_ms) + self.neighbours.tick(now_ms, stale=stale)

    def _ping(self, peer: Peer, now_ms: int) -> Effects:
        self._pings += 1
        seed = self._seed + self._pings.to_bytes(8, "little")
        nonce = int.from_bytes(sha256(seed)[:8], "little")
        peer.ping, peer.pinged_ms = (nonce, now_ms), now_ms
        return (Send(peer=peer.number, command="ping", payload=encode_nonce(nonce)),)

    # Messages

    def _on_message(self, event: MessageCame, now_ms: int) -> Effects:
        peer = self.peers.get(event.peer)
        if peer is None:
            return ()  # dropped a moment ago
        command, payload = event.command, event.payload
        block = block_hash(payload[:HEADER_BYTES]) if command == "block" else b""
        if (
            block not in peer.requested
            and block not in peer.slow
            and not peer.spend(command, now_ms)
        ):
            return self._drop(peer, f"too many {command!r} messages", now_ms, discourage=False)
        try:
            if command in HANDSHAKE_COMMANDS:
                effects = self._handshake.take(peer, command, payload, now_ms)
                return effects + (self._on_ready(peer, now_ms) if peer.ready else ())
            if not peer.ready and command in BEFORE_VERACK:
                return ()
            if not peer.ready:
                raise Refused("no-handshake", f"{command!r} came before the handshake was done")
            handler = self._handlers.get(command)
            return () if handler is None else handler(peer, payload, now_ms)
        except Unfit as error:
            if isinstance(error, Ourselves):
                self.neighbours.is_ourselves(peer)
            return self._let_go(peer, str(error), now_ms)
        except (DecodeError, Refused) as error:
            return self._drop(peer, f"{command}: {error}", now_ms, discourage=True)

    def _on_ready(self, peer: Peer, now_ms: int) -> Effects:
        effects = self.neighbours.ready(peer, now_ms)
        if peer.kind is Connection.FEELER:
            return effects + self._let_go(peer, "it answers, that is all", now_ms)
        effects += (self.sync.ask_headers(peer, now_ms),)
        if self.intake.tree.finality is not None:
            payload = self.intake.tree.finality.encode()
            effects += (Send(peer=peer.number, command="finality", payload=payload),)
        return effects

    def _on_ping(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        nonce = decode_nonce(payload)
        return (Send(peer=peer.number, command="pong", payload=encode_nonce(nonce)),)

    def _on_pong(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        if peer.ping is not None and decode_nonce(payload) == peer.ping[0]:
            peer.ping_ms = now_ms - peer.ping[1]
            peer.ping_ms_min = min(peer.ping_ms_min, peer.ping_ms)
            peer.ping = None
        return ()

    def _on_inv(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        for block in decode_inventory(payload):
            self.sync.want(peer, block)
        effects = self.sync.assign(now_ms)
        told = decode_inventory(payload, TRANSACTION_KINDS)
        if told and peer.kind is Connection.BLOCK_ONLY:
            return effects + self._let_go(peer, "it tells of transactions", now_ms)
        txids = self.relay.wanted(peer, told)
        if txids:
            asked = encode_inventory(txids, MSG_WITNESS_TX)
            effects += (Send(peer=peer.number, command="getdata", payload=asked),)
        return effects

    def _on_getdata(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        hashes = decode_inventory(payload)
        effects: Effects = (ServeBlocks(peer=peer.number, hashes=hashes),) if hashes else ()
        found, missing = self.relay.served(
            peer, decode_inventory(payload, TRANSACTION_KINDS), now_ms
        )
        effects += tuple(Send(peer=peer.number, command="tx", payload=data) for data in found)
        if missing:
            absent = encode_inventory(missing, MSG_WITNESS_TX)
            effects += (Send(peer=peer.number, command="notfound", payload=absent),)
        return effects

    def _on_notfound(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        for block in decode_inventory(payload):
            if peer.came(block):
                self.sync.download.lacks(peer, block)
        for txid in decode_inventory(payload, TRANSACTION_KINDS):
            peer.transactions.pop(txid, None)
        return self.sync.assign(now_ms)

    def _on_tx(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        txid = self.relay.take(peer, payload, now_ms)
        if txid is None:
            return ()
        peer.transaction_ms = now_ms
        return self._announce_transaction(txid, peer)

    def _on_block(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        effects = self.sync.on_block(peer, payload, now_ms)
        if any(isinstance(effect, SaveBlock) for effect in effects):
            peer.block_ms = now_ms
        return effects

    def _announce_transaction(self, txid: bytes, source: Peer | None) -> Effects:
        announce = Announce(
            command="inv", payload=encode_inventory((txid,), MSG_TX), transactions=True
        )
        return self._spread((announce,), source)

    def _on_getcertheaders(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        height, block = decode_getcertheaders(payload)
        return (ServeHeaders(peer=peer.number, height=height, block=block),)

    def _on_finality(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        return self.sync.take_finality(decode_finality(payload), peer, now_ms)

    def _on_evidence(self, peer: Peer, payload: bytes, now_ms: int) -> Effects:
        return self._spread(self.intake.evidence(payload), peer)
