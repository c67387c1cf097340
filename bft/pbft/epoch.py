"""How an epoch ends: a member list is in force for whole checkpoint intervals.

The batch at s ends it.  Up to s + window may have been proposed before anybody had executed s, so
the epoch's last sequence is the first checkpoint from there on.  Nobody proposes or votes beyond
it; null batches fill the rest when nobody asks for anything; the proof of its last state is what
the next epoch begins from.  Every signature names its epoch, so no vote counts in another one.
Source: docs/CONSENSUS.md, "Epochs".  Pure.
"""

from bft.ordering.batch import NULL_DIGEST
from bft.pbft import journal
from bft.pbft.core import Core
from bft.pbft.log import Slot


def boundary(sequence: int, *, interval: int, window: int) -> int:
    """The last sequence of an epoch that the batch at `sequence` ends."""
    return -(-(sequence + window) // interval) * interval


def learn(core: Core, last: int) -> bool:
    """The epoch's last sequence, from the application or a stable proof.  Whether it is news."""
    if core.log.last == last:
        return False
    if core.log.last is not None or last % core.config.checkpoint_interval:
        core.halt(f"this epoch ends with {core.log.last} and with {last}")
        return False
    core.log.last = last
    return True


def ending(core: Core) -> bool:
    """Whether batches are due although nobody asks for any: the epoch's last ones."""
    return core.log.last is not None and core.last_decided < core.log.last


def decided(core: Core) -> bool:
    """Whether there is nothing left to agree on in this epoch but its last state."""
    return core.last_decided == core.log.last


def over(core: Core) -> bool:
    """Whether the proof of the epoch's last state is here."""
    return core.log.low == core.log.last


def fills(core: Core, slot: Slot, digest: bytes) -> bool | None:
    """Whether the null batch may be proposed here.  None: who has executed more will know."""
    if digest != NULL_DIGEST:
        return False
    if core.log.last is not None:
        return True
    return False if core.last_executed >= slot.sequence - 1 else None


def begin(core: Core, memory: journal.Memory) -> None:
    """Write down, durable before anything else is, that this journal goes on in this epoch."""
    if core.members.epoch == 0:
        return
    core.began = memory.began
    if memory.began is None:
        proof = () if memory.ended is None else (memory.ended,)
        lsn = core.lsn + 1
        began = journal.Began(
            epoch=core.members.epoch, first=core.config.first, opened=lsn, proof=proof
        )
        core.began = (began, core.persist(began))


def write_again(core: Core) -> None:
    """So that older records can go."""
    if core.began is not None:
        core.began = (core.began[0], core.persist(core.began[0]))
