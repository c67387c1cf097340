"""What can be asked of a node: Bitcoin Core's names, parameters and shapes.

What Core has beyond these names is not there; `help` lists what is.  Fields about work say what
this chain has: none.
"""

from collections.abc import Callable

from chain.gossip_events import Event
from chain.node.core import NodeCore
from chain.node.rpc import Method
from chain.node.rpc_arguments import text
from chain.node.rpc_blocks import BlockMethods
from chain.node.rpc_network import NetworkMethods
from chain.node.rpc_peers import PeerMethods
from chain.node.rpc_transactions import TransactionMethods


class Methods:
    """All of them; `table` goes to chain/node/rpc.py."""

    def __init__(self, core: NodeCore, step: Callable[[Event], None]) -> None:
        groups = (BlockMethods, TransactionMethods, NetworkMethods, PeerMethods)
        self.table: dict[str, Method] = {"help": self._help}
        for group in groups:
            methods = group(core, step)
            names = (name for name in vars(group) if not name.startswith("_"))
            self.table |= {name: getattr(methods, name) for name in names}
        self.table = dict(sorted(self.table.items()))

    def _help(self, command: str = "") -> str:
        """What there is, or one of them."""
        if not text(command, "command"):
            return "\n".join(self.table)
        method = self.table.get(command)
        if method is None:
            return f"help: unknown command: {command:.40}"
        return f"{command}\n\n{method.__doc__}"
