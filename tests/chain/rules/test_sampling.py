"""Uniform integers without favourites: what would be too much is rejected, never wrapped."""

import pytest

from bft.crypto.hashing import tagged_hash
from chain.rules.sampling import Stream, permutation, sample

TAG, SEED = "gristmill/test", bytes(32)


def words() -> list[int]:
    """The stream's 256-bit words, made a second time."""
    return [
        int.from_bytes(tagged_hash(TAG, SEED + place.to_bytes(8, "big")), "big")
        for place in range(200)
    ]


def test_a_word_from_the_last_partial_range_is_rejected() -> None:
    """With a bound above one half of all words, the rest would come out twice as often."""
    bound = (1 << 255) + 1
    kept = [word for word in words() if word < bound]
    assert 50 < len(kept) < 150
    stream = Stream(TAG, SEED)
    assert [stream.below(bound) for _ in kept] == kept


def test_a_word_below_the_limit_is_taken_modulo_the_bound() -> None:
    stream = Stream(TAG, SEED)
    assert [stream.below(7) for _ in range(100)] == [word % 7 for word in words()[:100]]
    with pytest.raises(ValueError, match="at least 1"):
        stream.below(0)


def test_a_permutation_has_everybody_once_and_a_sample_nobody_twice() -> None:
    order = permutation(TAG, SEED, 50)
    assert sorted(order) == list(range(50))
    assert order != permutation(TAG, bytes([1]) * 32, 50)
    chosen = sample(TAG, SEED, range(100, 150), 20)
    assert len(set(chosen)) == 20
    assert set(chosen) <= set(range(100, 150))
    assert len(sample(TAG, SEED, range(2), 3)) == 2
