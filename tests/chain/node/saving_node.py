"""`python -m tests.chain.node.saving_node HOME`: takes blocks for ever, tells what is saved."""

import sys
from pathlib import Path

from chain.gossip_events import BlockSubmitted
from chain.node.core import NodeCore, unix_ms
from chain.validation import ParentView
from tests.chain.federation_fixture import START, block_on, view_of
from tests.chain.node.homes import make_config


def main() -> None:
    """Until it is killed."""
    core = NodeCore(make_config(Path(sys.argv[1])), unix_ms)
    parent: ParentView = core.tree.tip if core.tree.tip.height else START
    while True:
        block = block_on(parent)
        core.step(BlockSubmitted(data=block.data), lambda effect: None)
        parent = view_of(block)
        print(parent.height, parent.hash.hex(), flush=True)


if __name__ == "__main__":
    main()
