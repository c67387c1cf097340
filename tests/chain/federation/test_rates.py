"""How much a source may do: the bound, and one past it."""

import pytest

from chain.federation.rates import BUCKETS_MAX, Bucket, Buckets


def test_the_burst_is_let_through_and_the_next_is_told_when_to_come() -> None:
    bucket = Bucket(per_s=2, burst=3, now_s=0)
    assert [bucket.try_take(0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.try_take(0.5) == 0


def test_tokens_do_not_pile_up_beyond_the_burst() -> None:
    bucket = Bucket(per_s=1, burst=2, now_s=0)
    assert [bucket.try_take(1000) > 0 for _ in range(3)] == [False, False, True]


def test_a_source_that_runs_ahead_waits_as_long_as_it_is_ahead() -> None:
    bucket = Bucket(per_s=10, burst=10, now_s=0)
    assert bucket.wait_s(10, 0) == 0
    assert bucket.wait_s(5, 0) == 0.5


def test_one_amount_above_the_burst_passes_a_full_bucket_and_is_paid_off() -> None:
    bucket = Bucket(per_s=10, burst=10, now_s=0)
    assert bucket.wait_s(30, 0) == 0
    assert bucket.wait_s(10, 0) == 3


def test_each_source_has_its_own_budget() -> None:
    buckets = Buckets(per_s=1, burst=1)
    assert buckets.try_take("one", 0) == 0
    assert buckets.try_take("one", 0) == 1
    assert buckets.try_take("other", 0) == 0


def test_the_source_idle_for_longest_is_forgotten_first() -> None:
    buckets = Buckets(per_s=1, burst=1)
    for source in range(BUCKETS_MAX):
        buckets.try_take(source, 0)
    assert buckets.try_take(0, 0) == 1  # still known, and now the youngest
    buckets.try_take("one more", 0)
    assert buckets.try_take(0, 0) == 1
    assert buckets.try_take(1, 0) == 0  # was forgotten


def test_many_at_once_cost_many_and_a_full_bucket_lets_any_amount_through() -> None:
    bucket = Bucket(per_s=10, burst=20, now_s=0)
    assert bucket.try_take(0, 15) == 0
    assert bucket.try_take(0, 6) == pytest.approx(0.1)
    assert bucket.try_take(0.1, 6) == 0
    assert bucket.try_take(2.1, 64) == 0, "full again: more than the burst passes, once"
    assert bucket.try_take(2.1) == pytest.approx(4.5)
