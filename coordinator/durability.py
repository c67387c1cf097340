"""What has to be durable at once, and what may become so with the next thing that has to.

A decided batch needs no disk of its own: a strong quorum has its promise to it (the prepared proof)
on disk, so a replica that loses the batch with the power is told it again, at the same place.  Its
execution is deterministic.  So nothing that is sent or answered waits for it.
Source: docs/CONSENSUS.md, "Journal".  Pure.
"""

from collections.abc import Iterable

from bft.pbft.events import Persist, Send
from coordinator.effects import Announce, Answered, Append, Effect

_MAY_LAG = (Persist, Append, Send, Answered, Announce)
"""Every other effect makes its step wait for the disk."""


def may_lag(effects: Iterable[Effect], durable_lsn: int) -> bool:
    """Whether a step's effects may be handed out before its records are durable.

    So it is when no message of it rests on a record above `durable_lsn`, and nothing in it is of a
    kind that could.  The records must still be written first, in order.
    """
    return all(
        isinstance(effect, _MAY_LAG)
        and not (isinstance(effect, Send) and effect.after_lsn > durable_lsn)
        for effect in effects
    )
