"""What an operator must know at once: a fault of the federation, and silence of all peers.

Whoever is cut off from honest peers sees an old chain that is valid in every respect.  What gives
it away is time: the federation makes a certificate in every cycle.
"""

from chain.light.follow import STALE_CYCLES, cycle_s
from chain.node.core import NodeCore


def warnings(core: NodeCore) -> list[str]:
    """In words, for people; empty when all is well."""
    found = []
    if core.gossip.intake.fault is not None:
        found.append("the federation contradicted itself")
    origin = core.store.origin
    if origin is not None and not origin.validated:
        found.append(
            f"the coins after block {origin.height} came from a snapshot and are not checked yet"
        )
    certified, limit_s = certified_s(core), STALE_CYCLES * cycle_s(core.genesis.params)
    age_s = core.now_ms() // 1000 - certified
    if age_s > limit_s:
        found.append(
            f"the newest certificate is {age_s} s old, more than {STALE_CYCLES} cycles ({limit_s} "
            "s): the federation stands still, or this node is cut off from it"
        )
    return found


def certified_s(core: NodeCore) -> int:
    """When the newest certificate here was made, Unix seconds; block 0's time before the first."""
    tree = core.tree
    newest = tree.best or tree.final_certified
    return tree.final.time if newest is None else newest.certificate.not_before
