"""When a primary proposes: at once while nothing is under way, then in ever larger batches."""

import pytest

from bft.ordering.batch import decode_batch
from bft.pbft import journal
from bft.pbft.config import Config
from bft.pbft.events import Persist, Submitted, Tick
from bft.pbft.replica import Replica
from tests.bft.pbft.cluster import WALL_0, members, request, signer


class Primary:
    """Replica 0 of four, with nobody to answer it."""

    def __init__(self, **config: int) -> None:
        self.replica = Replica(Config(membership=members(4), index=0, sign=signer(0), **config))
        self.now = 0
        self.made = 0

    def batches(self, ms: int, requests: int = 0) -> list[int]:
        """Sizes of the batches that it proposes when `requests` come, and a tick `ms` later."""
        events: list[Submitted | Tick] = []
        for _ in range(requests):
            self.made += 1
            events.append(Submitted(request(self.made % 8, self.made)))
        self.now += ms
        found = []
        for event in (*events, Tick()):
            for effect in self.replica.step(event, self.now, WALL_0 + self.now):
                if isinstance(effect, Persist):
                    record = journal.decode_entry(effect.record)
                    if isinstance(record, journal.Accepted):
                        found.append(len(decode_batch(record.batch).requests))
        return found


def test_the_first_request_does_not_wait() -> None:
    assert Primary().batches(0, requests=1) == [1]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_the_more_batches_are_under_way_the_longer_the_next_one_waits(in_flight: int) -> None:
    """Each costs the same votes; four times as long for twice as many."""
    primary = Primary(batch_ms=10)
    for _ in range(in_flight):
        assert primary.batches(0, requests=1) + primary.batches(100) == [1]
    wait_ms = 10 * in_flight * in_flight
    assert primary.batches(0, requests=2) == []
    assert primary.batches(wait_ms - 1, requests=1) == []
    assert primary.batches(1) == [3]


def test_a_full_batch_waits_for_nothing() -> None:
    primary = Primary(batch_ms=1_000_000, batch_requests=4)
    assert primary.batches(0, requests=9) == [1, 4, 4]


def test_beyond_the_pipeline_even_full_batches_wait() -> None:
    primary = Primary(batch_ms=0, batch_requests=1, pipeline=3)
    assert primary.batches(0, requests=9) == [1, 1, 1]
    assert primary.batches(1_000) == []
