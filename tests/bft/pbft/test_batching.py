"""When a primary proposes: at once while nothing is under way, then in ever larger batches."""

import pytest

from bft.ordering.batch import batch_digest, decode_batch
from bft.pbft import journal
from bft.pbft.config import Config
from bft.pbft.events import Persist, Received, Submitted, Tick
from bft.pbft.replica import Replica
from tests.bft.pbft.cluster import WALL_0
from tests.bft.pbft.identities import members, request, signer
from tests.bft.pbft.makers import commit, signed


class Primary:
    """Replica 0 of four, with nobody to answer it."""

    def __init__(self, **config: int) -> None:
        self.replica = Replica(Config(membership=members(4), index=0, sign=signer(0), **config))
        self.now = 0
        self.made = 0
        self.digest = b""  # of the newest proposal

    def decide(self, ms: int) -> None:
        """All others commit to the first proposal, `ms` later."""
        self.now += ms
        for other in (1, 2, 3):
            vote = signed(commit(0, 1, self.digest, other))
            self.replica.step(Received(vote), self.now, WALL_0 + self.now)
        assert self.replica.last_decided == 1

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
                        self.digest = batch_digest(record.batch)
                        found.append(len(decode_batch(record.batch).requests))
        return found


def test_the_first_request_does_not_wait() -> None:
    assert Primary().batches(0, requests=1) == [1]


def test_while_a_batch_is_under_way_the_next_one_waits_for_more() -> None:
    primary = Primary(batch_ms=10)
    assert primary.batches(0, requests=1) == [1]
    assert primary.batches(0, requests=2) == []
    assert primary.batches(9, requests=1) == []
    assert primary.batches(1) == [3]


@pytest.mark.parametrize(
    ("decision_ms", "wait_ms"), [(19, 10), (80, 40), (200, 100), (202, 100), (1_500, 100)]
)
def test_the_slower_decisions_come_the_longer_a_batch_waits(decision_ms: int, wait_ms: int) -> None:
    """Half of a decision's time, at least batch_ms, at most batch_ms_max."""
    primary = Primary(batch_ms=10, batch_ms_max=100)
    assert primary.batches(0, requests=1) == [1]
    primary.decide(decision_ms)
    assert primary.batches(0, requests=1) == [1]
    assert primary.batches(0, requests=2) == []
    assert primary.batches(wait_ms - 1) == []
    assert primary.batches(1) == [2]


def test_a_full_batch_waits_for_nothing() -> None:
    primary = Primary(batch_ms=1_000_000, batch_requests=4)
    assert primary.batches(0, requests=9) == [1, 4, 4]


def test_beyond_the_pipeline_even_full_batches_wait() -> None:
    primary = Primary(batch_ms=0, batch_requests=1, pipeline=3)
    assert primary.batches(0, requests=9) == [1, 1, 1]
    assert primary.batches(1_000) == []
