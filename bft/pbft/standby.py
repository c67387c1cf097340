"""Taking over a key: silent below what its last holder may have signed, a full voice above.

A hot standby has its operator's key but not the journal of the process that voted before it.  It
knows an upper bound (coordinator/guard): no vote of its predecessor lies above `Inherited`.  Until
it has executed through that sequence it signs neither votes nor checkpoints nor VIEW-CHANGEs; it
follows like a replica that is between views.  That is enough:

  - below the bound it contradicts nobody, because it says nothing there;
  - what its predecessor had prepared there, and what a VIEW-CHANGE would have to carry over, is
    decided: quorums hold it, and its own VIEW-CHANGE starts above it;
  - a predecessor that is still alive, below the bound, votes only where all is decided.

It costs a fault while it lasts: with f others down the federation waits, as for any absent replica.
Source: ours, docs/adr/0011-signing-guard.md; PBFT (OSDI 1999) section 4.4 for what must survive.
Pure.
"""

from bft.pbft import normal, stable, views
from bft.pbft.core import Core


def speak(core: Core) -> None:
    """If the silence is over, take part: in this view, or in one that the key has not left."""
    if not core.muted or core.silent or core.probation:
        return
    core.muted = False
    if core.inherited.view > max(core.view, core.pending_view):
        views.leave(core, core.inherited.view + 1)
        return
    stable.carry(core)
    for slot in core.log.above(core.last_decided):
        normal.consider(core, slot)
