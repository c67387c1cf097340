"""`python -m tests.chain.node.following_node HOME`: follows a peer for ever, tells what is saved.

The peer is in this process: it answers with certified headers and with bodies in the worst order.
"""

import sys
from pathlib import Path

from chain.gossip_events import Effect, MessageCame, PeerConnected, Send
from chain.headers import WINDOW
from chain.node.core import NodeCore, unix_ms
from chain.records.block import Block
from chain.records.peer_message import PROTOCOL_VERSION, Version, encode_certheaders
from chain.validation import ParentView
from tests.chain.federation_fixture import block_on, view_of
from tests.chain.node.homes import make_config

PEER = 1


def more(parent: ParentView) -> list[Block]:
    """The next window of the peer's chain."""
    blocks: list[Block] = []
    for _ in range(WINDOW):
        blocks.append(block_on(parent))
        parent = view_of(blocks[-1])
    return blocks


def main() -> None:
    """Until it is killed."""
    core = NodeCore(make_config(Path(sys.argv[1])), unix_ms)
    sent: list[Send] = []

    def carry_out(effect: Effect) -> None:
        if isinstance(effect, Send):
            sent.append(effect)

    def say(command: str, payload: bytes) -> None:
        core.step(MessageCame(peer=PEER, command=command, payload=payload), carry_out)

    core.step(PeerConnected(peer=PEER, outbound=True), carry_out)
    version = Version(
        protocol=PROTOCOL_VERSION, time=0, nonce=1, user_agent=b"/peer/", height=2**31
    )
    say("version", version.encode())
    say("verack", b"")
    while True:
        blocks = more(core.tree.tip)
        say("certheaders", encode_certheaders([b.certified_header.encode() for b in blocks]))
        for first in range(0, WINDOW, 16):
            for block in reversed(blocks[first : first + 16]):
                say("block", block.data)
            final = core.tree.final
            print(final.height, final.hash.hex(), flush=True)
        assert core.tree.tip == view_of(blocks[-1])


if __name__ == "__main__":
    main()
