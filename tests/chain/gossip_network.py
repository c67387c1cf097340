"""Chain nodes joined by queues instead of sockets: the real Gossip, a real chain, no clock."""

from collections import deque
from collections.abc import Sequence

from bft.errors import FederationError
from chain.gossip import Gossip
from chain.gossip_events import (
    BlockSubmitted,
    Drop,
    Effect,
    Event,
    FinalitySubmitted,
    MessageCame,
    PeerConnected,
    PeerLost,
    SaveBlock,
    SaveEvidence,
    SaveFinal,
    SaveFinality,
    Send,
    ServeBlocks,
    ServeHeaders,
)
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.evidence import Finality
from chain.records.peer_message import (
    CERTIFIED_HEADERS_MAX,
    encode_certheaders,
    encode_inventory,
)
from chain.tree import BlockTree
from tests.chain.coins_fixture import memory_coins
from tests.chain.federation_fixture import CHAIN_ID, FEDERATION_KEY, START, view_of

NOW_MS = (START.time + 1_000_000) * 1000


class Node:
    """Gossip with its blocks in memory."""

    def __init__(self, nonce: int, chain: Sequence[Block] = ()) -> None:
        """`chain`: blocks 1 .. n, which it holds for final."""
        self.blocks: dict[bytes, Block] = {block.hash: block for block in chain}
        self.coins = memory_coins()
        for block in chain:
            self.coins.apply(block)
        tree = BlockTree(START)
        if chain:
            tree = BlockTree(view_of(chain[-1]), chain[-1].certified_header)
        self.gossip = Gossip(
            chain_id=CHAIN_ID,
            federation_key=FEDERATION_KEY,
            params=MINIMAL,
            tree=tree,
            nonce=nonce,
            user_agent=b"/test/",
            coins=self.coins,
            stored=self.blocks.get,
        )
        self.final = {0: START.hash}
        self.final |= {block.certificate.height: block.hash for block in chain}
        self.saved: list[Effect] = []

    @property
    def tree(self) -> BlockTree:
        return self.gossip.intake.tree

    def step(self, event: Event, now_ms: int = NOW_MS) -> list[Send | Drop]:
        """What this step puts on the wire, with the store's answers in it."""
        wire: list[Send | Drop] = []
        for effect in self.gossip.step(event, now_ms):
            match effect:
                case Send() | Drop():
                    wire.append(effect)
                case ServeBlocks(peer=peer, hashes=hashes):
                    wire += [self._block(peer, wanted) for wanted in hashes]
                case ServeHeaders(peer=peer, height=height, block=block):
                    wire.append(self._headers(peer, height, block))
                case _:
                    self._save(effect)
        return wire

    def _save(self, effect: Effect) -> None:
        self.saved.append(effect)
        match effect:
            case SaveBlock(block=block):
                self.blocks[block.hash] = block
            case SaveFinal(view=view):
                self.final[view.height] = view.hash
                self.coins.apply(self.blocks[view.hash])

    def _block(self, peer: int, wanted: bytes) -> Send:
        found = self.blocks.get(wanted)
        if found is None:
            return Send(peer=peer, command="notfound", payload=encode_inventory([wanted]))
        return Send(peer=peer, command="block", payload=found.data)

    def _headers(self, peer: int, height: int, block: bytes) -> Send:
        headers: list[bytes] = []
        while self.final.get(height) == block and height + 1 in self.final:
            height, block = height + 1, self.final[height + 1]
            headers.append(self.blocks[block].certified_header.encode())
        if self.tree.best is not None and self.final.get(height) == block:
            headers.append(self.tree.best.encode())
        payload = encode_certheaders(headers[:CERTIFIED_HEADERS_MAX])
        return Send(peer=peer, command="certheaders", payload=payload)

    def kinds_saved(self) -> list[type]:
        kinds = (SaveBlock, SaveFinal, SaveFinality, SaveEvidence)
        return [type(effect) for effect in self.saved if isinstance(effect, kinds)]


class Network:
    """Links between nodes; messages arrive in the order in which they were sent."""

    def __init__(self, count: int, chain: Sequence[Block] = ()) -> None:
        self.nodes = [Node(nonce, chain) for nonce in range(count)]
        self.drops: list[tuple[int, int, Drop]] = []
        self.messages: list[tuple[int, int, str]] = []
        self._queue: deque[tuple[int, int, Send]] = deque()

    def connect(self, dialler: int, listener: int) -> None:
        """A peer's number is the other node's index."""
        self.nodes[listener].step(PeerConnected(peer=dialler, outbound=False))
        self.act(dialler, PeerConnected(peer=listener, outbound=True))

    def act(self, index: int, event: Event) -> None:
        """One event at one node, and all that follows from it."""
        self._take(index, self.nodes[index].step(event))
        while self._queue:
            source, target, send = self._queue.popleft()
            self.messages.append((source, target, send.command))
            came = MessageCame(peer=source, command=send.command, payload=send.payload)
            self._take(target, self.nodes[target].step(came))

    def _take(self, index: int, wire: list[Send | Drop]) -> None:
        for item in wire:
            if isinstance(item, Send):
                self._queue.append((index, item.peer, item))
            else:
                self.drops.append((index, item.peer, item))
                self._queue = deque(
                    entry for entry in self._queue if {entry[0], entry[1]} != {index, item.peer}
                )
                self._take(item.peer, self.nodes[item.peer].step(PeerLost(peer=index)))

    def submit(self, index: int, block: Block) -> None:
        self.act(index, BlockSubmitted(data=block.data))

    def finalise(self, index: int, finality: Finality) -> None:
        self.act(index, FinalitySubmitted(finality=finality))


def error_of(node: Node, event: Event) -> FederationError:
    """What the step raises."""
    try:
        node.step(event)
    except FederationError as error:
        return error
    raise AssertionError("the step was expected to be refused")
