"""Which steps wait for the disk: all, but those that say nothing that rests on it."""

import pytest

from bft.pbft.events import Accuse, Halt, Persist, Prune, Send
from chain.records.score_log import CycleClosed, Ordered
from coordinator.durability import may_lag
from coordinator.effects import Announce, Answered, Append, Effect, SaveState

ORDERED = Ordered(sequence=3, agreed_ms=1, batch=b"")
DECIDED: list[Effect] = [
    Persist(lsn=9, record=b"delivered"),
    Append(sequence=3, batch=b"", proof=b"", first_index=2, records=(ORDERED,)),
    Answered(()),
    Announce(1, CycleClosed(cycle=1, reason=1)),
]


def test_a_decided_batch_waits_for_nothing() -> None:
    assert may_lag(DECIDED, durable_lsn=8)
    assert may_lag([*DECIDED, Send(to=None, message=b"status", after_lsn=0)], durable_lsn=8)
    assert may_lag([*DECIDED, Send(to=None, message=b"again", after_lsn=8)], durable_lsn=8)
    assert may_lag([], durable_lsn=0)


@pytest.mark.parametrize(
    "effect",
    [
        Send(to=None, message=b"commit", after_lsn=9),
        SaveState(3, b"state"),
        Prune(1),
        Halt("stop"),
        Accuse(culprit=1, text="twice", evidence=()),
    ],
)
def test_one_effect_that_rests_on_the_disk_makes_all_wait(effect: Effect) -> None:
    assert not may_lag([*DECIDED, effect], durable_lsn=8)
    assert not may_lag([effect, *DECIDED], durable_lsn=8)
