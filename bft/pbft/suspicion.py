"""When a replica would rather have another primary, and what it does about that alone: say so.

A wish is told in every STATUS and binds nobody.  Whoever wishes goes on to vote in its view, and
leaves it (`bft.pbft.views`) when weak many want to be further; so a replica that alone loses sight
of the primary takes no vote from the others, and has its wish back when the reason is gone.
A primary that works is replaced as well, when its reign is over: whatever a slow one does to stay
just inside every timeout, it leads for its share of the time only.
Source: docs/CONSENSUS.md, "View change"; wishes after Zyzzyva (SOSP 2007) section 3.3, reigns after
Aardvark (NSDI 2009) section 4.2.  Pure.
"""

from bft.pbft import epoch
from bft.pbft.core import Core
from bft.pbft.log import Slot

BUSY_MS = 1_000  # so long after a decision the view still counts as used
STEP_MS_MAX = 1_000  # of a reign in one tick, however long this process was stopped
PACE_SAMPLES_MIN = 32  # decisions before our own measurement replaces the configured timeout
PACE_PERCENT = 99
PACES = 8  # a view change in them: six message delays, fetched batches, and fsyncs


def tick(core: Core) -> None:
    """Let the reign grow older if the view is used, and look whether anything waits too long."""
    passed = min(core.now - core.ticked_ms, STEP_MS_MAX)
    core.ticked_ms = core.now
    if core.active and busy(core):
        core.reign_ms += passed
    core.overdue = reason(core)


def busy(core: Core) -> bool:
    """Whether anybody asks for anything, as far as all replicas can see.

    A slow primary's requests keep all of them waiting: those that it leaves alone for longer than
    forward_ms go to everyone, and what it does propose is decided everywhere.
    """
    lately = core.decided_ms is not None and core.now - core.decided_ms < BUSY_MS
    return lately or len(core.pool) > 0


def reason(core: Core) -> str | None:
    """Why this replica would rather have another primary now; None when it would not."""
    if not core.active or epoch.decided(core) or core.behind():
        core.stalled_since = None
        return None
    if core.members.f and core.reign_ms >= core.config.reign_ms:
        return "its reign is over"
    return None if core.primary == core.index else failing(core)


def failing(core: Core) -> str | None:
    """What the primary lets wait for too long."""
    oldest = core.pool.oldest()
    if oldest is not None and core.now >= oldest.deadline_ms:
        return "a request waits too long"
    head = core.log.find(core.last_decided + 1)
    missing = head is None or head.decided is None
    begun = epoch.ending(core) or any(
        slot.decided is not None or slot.proposal(core.view) is not None
        for slot in core.log.above(core.last_decided)
    )
    stalled = missing and begun
    late = core.view_deadline is not None and core.now >= core.view_deadline
    if late and (stalled or oldest is not None):
        return "the new view decided nothing in time"
    if not stalled:
        core.stalled_since = None
    elif core.stalled_since is None:
        core.stalled_since = core.now
    elif core.now - core.stalled_since >= core.scaled(core.config.progress_ms):
        return "an assigned batch waits too long"
    return None


def reigned(core: Core) -> bool:
    """Whether the view that is left has worked for most of a reign: then it did not fail."""
    return core.active and 2 * core.reign_ms >= core.config.reign_ms


# How long a view may take to start.


def decided(core: Core, slot: Slot) -> None:
    """A batch was decided: how long did the votes take, from our own on?"""
    core.decided_ms = core.now
    if slot.accepted and slot.proposal(core.view) is not None:
        core.paces.append(core.now - slot.since_ms)


def view_change_ms(core: Core) -> int:
    """The timeout of a view that nobody has failed yet, from what our own decisions took.

    Nobody's word goes into it.  A primary that shows us its proposals early can make us measure
    too much; then the timeout is what it would be without measurement.
    """
    config = core.config
    if len(core.paces) < PACE_SAMPLES_MIN:
        return config.view_change_ms
    paces = sorted(core.paces)
    pace = paces[(len(paces) - 1) * PACE_PERCENT // 100]
    return max(min(PACES * pace, config.view_change_ms), config.view_change_ms_min)
