"""Merging updates: each rule against its definition, in fractions; order never matters."""

import random
import tracemalloc
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.rules.changes import DELTA_MAX, SUM_MAX, Change, Ints, squared_norm
from chain.rules.merging import (
    AGREEMENT_BITS,
    KRUM_UPDATES_MAX,
    Source,
    agreeing,
    mean,
    merge,
    multi_krum,
    near,
    trimmed_mean,
)

ELEMENTS = 40
RULES = (b"mean", b"median", b"trimmed-mean", b"multi-krum")
RANDOMNESS = bytes(range(32))
ALMOST_RIGHT_ANGLE = 62_259  # 0.95


def dense(*values: int) -> Change:
    return Change(len(values), None, np.array(values, np.int64))


def source(unit: int, change: Change, quality: int = 1) -> Source:
    return Source(unit=unit, quality=quality, read=lambda: change)


def crowd(seed: int, count: int, *, sparse: bool = False, spread: int = 1500) -> list[Source]:
    """Updates around a common direction, some of them sparse."""
    generator = np.random.default_rng(seed)
    common = generator.normal(0, 1000, ELEMENTS)
    found = []
    for unit in range(count):
        values = (common + generator.normal(0, spread, ELEMENTS)).astype(np.int64)
        change = Change(ELEMENTS, None, values)
        if sparse and unit % 2:
            places = np.sort(generator.choice(ELEMENTS, 9, replace=False))
            change = Change(ELEMENTS, places, values[places])
        found.append(source(unit, change, int(generator.integers(1, 1 << 16))))
    return found


def rows(sources: list[Source]) -> list[list[int]]:
    return [one.read().part(0, one.read().elements).tolist() for one in sources]


def half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from(RULES), st.booleans())
def test_the_order_in_which_updates_came_does_not_matter(
    seed: int, count: int, rule: bytes, filtered: bool
) -> None:
    sources = crowd(seed, count, sparse=True)
    agreement = ALMOST_RIGHT_ANGLE if filtered else 0
    merged = []
    for _ in range(3):
        random.Random(seed).shuffle(sources)
        seed += 1
        result = merge(rule, sources, ELEMENTS, agreement=agreement, trim=2, randomness=RANDOMNESS)
        merged.append(None if result is None else result.tolist())
    assert merged[0] == merged[1] == merged[2]


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_the_mean_is_weighted_by_quality(seed: int, count: int) -> None:
    sources = crowd(seed, count, sparse=True)
    weights = [one.quality for one in sources]
    for place, column in enumerate(zip(*rows(sources), strict=True)):
        total = sum(w * v for w, v in zip(weights, column, strict=True))
        assert mean(sources, ELEMENTS)[place] == half_up(Fraction(total, sum(weights)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(0, 5))
def test_a_trimmed_mean_leaves_out_both_ends(seed: int, count: int, trim: int) -> None:
    sources = crowd(seed, count, sparse=True)
    trim = min(trim, (count - 1) // 2)
    expected = [
        half_up(Fraction(sum(sorted(column)[trim : count - trim]), count - 2 * trim))
        for column in zip(*rows(sources), strict=True)
    ]
    assert trimmed_mean(sources, ELEMENTS, trim).tolist() == expected


def test_the_median_is_the_middle_or_between_the_two_in_the_middle() -> None:
    three = [source(n, dense(value)) for n, value in enumerate((5, -100, 7))]
    arguments = {"agreement": 0, "trim": 0, "randomness": RANDOMNESS}
    assert merge(b"median", three, 1, **arguments) == [5]  # type: ignore[arg-type]
    four = [*three, source(3, dense(8))]
    assert merge(b"median", four, 1, **arguments) == [6]  # type: ignore[arg-type]


def naive_krum(sources: list[Source], faulty: int) -> set[int]:
    vectors = rows(sources)
    scores = []
    for here, one in enumerate(vectors):
        distances = sorted(
            sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
            for there, other in enumerate(vectors)
            if there != here
        )
        scores.append((sum(distances[: len(sources) - faulty - 2]), sources[here].unit))
    return {unit for _, unit in sorted(scores)[: len(sources) - faulty]}


@given(st.integers(0, 2**32 - 1), st.integers(0, 2), st.integers(0, 5))
def test_multi_krum_agrees_with_its_definition(seed: int, faulty: int, more: int) -> None:
    sources = crowd(seed, 2 * faulty + 3 + more, sparse=True)
    assert {one.unit for one in multi_krum(sources, ELEMENTS, faulty)} == naive_krum(
        sources, faulty
    )


def test_multi_krum_leaves_the_far_ones_out() -> None:
    sources = crowd(1, 9)
    far = [source(100 + n, dense(*([60_000 * (-1) ** n] * ELEMENTS))) for n in range(2)]
    chosen = multi_krum([*far, *sources], ELEMENTS, 2)
    assert {one.unit for one in chosen} == set(range(9))


def test_too_few_updates_for_krum_give_their_median() -> None:
    sources = crowd(3, 6)
    arguments = {"agreement": 0, "trim": 2, "randomness": RANDOMNESS}
    krum = merge(b"multi-krum", sources, ELEMENTS, **arguments)  # type: ignore[arg-type]
    median = merge(b"median", sources, ELEMENTS, **arguments)  # type: ignore[arg-type]
    assert krum is not None
    assert median is not None
    assert krum.tolist() == median.tolist()


def test_of_more_updates_than_krum_compares_the_first_in_the_agreed_order_take_part() -> None:
    asked: set[int] = set()

    def spied(one: Source) -> Source:
        def read() -> Change:
            asked.add(one.unit)
            return one.read()

        return Source(one.unit, one.quality, read)

    sources = [spied(one) for one in crowd(3, KRUM_UPDATES_MAX + 30)]
    merge(b"multi-krum", sources, ELEMENTS, agreement=0, trim=3, randomness=RANDOMNESS)
    assert len(asked) == KRUM_UPDATES_MAX
    assert max(asked) > KRUM_UPDATES_MAX  # not those with the lowest numbers


def naive_near(inner: int, first: int, second: int, agreement: int) -> bool:
    """By square roots of 200 more bits, for numbers where that is enough."""
    root = isqrt(first * second << 400)
    return root != 0 and inner << 200 >= Fraction(65536 - agreement, 65536) * root


@given(
    st.integers(-(10**6), 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 2 << AGREEMENT_BITS),
)
def test_near_is_cosine_distance(inner: int, first: int, second: int, agreement: int) -> None:
    square = first * second
    if isqrt(square) ** 2 == square and square:  # on the border the root must be exact
        expected = inner >= Fraction(65536 - agreement, 65536) * isqrt(square)
    else:
        expected = naive_near(inner, first, second, agreement)
    assert near(inner, first, second, agreement) == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_filter_keeps_those_that_agree_and_drops_the_others(seed: int) -> None:
    honest = crowd(seed, 9, spread=700)
    generator = np.random.default_rng(seed)
    noise = source(50, dense(*generator.normal(0, 2000, ELEMENTS).astype(int).tolist()))
    flipped = [
        source(51 + n, Change(ELEMENTS, None, -one.read().values))
        for n, one in enumerate(honest[:4])
    ]
    zero = source(60, dense(*[0] * ELEMENTS))
    crowded = [*flipped, zero, noise, *honest]
    kept = {one.unit for one in agreeing(crowded, ELEMENTS, 62_000)}
    assert kept >= {one.unit for one in honest}
    assert not kept & {51, 52, 53, 54, 60}


def test_a_walk_that_an_outsider_began_is_thrown_away() -> None:
    """In the released code the first update decides what agrees."""
    honest = crowd(2, 5)
    flipped = Change(ELEMENTS, None, -honest[0].read().values)
    begun_badly = [source(9, flipped), *honest]
    assert {one.unit for one in agreeing(begun_badly, ELEMENTS, 52_000)} == set(range(5))


def test_where_nothing_agrees_nothing_moves() -> None:
    axes = [source(n, dense(*(1000 if n == place else 0 for place in range(4)))) for n in range(4)]
    result = merge(b"mean", axes, 4, agreement=32_768, trim=0, randomness=RANDOMNESS)
    assert result is None


def test_without_a_filter_the_beacon_decides_nothing() -> None:
    """Without a filter no order decides anything."""
    sources = crowd(4, 5)
    for seed in range(4):
        merged = merge(
            b"mean", sources, ELEMENTS, agreement=0, trim=0, randomness=bytes([seed] * 32)
        )
        assert merged is not None
        assert merged.tolist() == mean(sources, ELEMENTS).tolist()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_inner_products_are_exact_at_the_bounds(seed: int, sparse: bool) -> None:
    generator = np.random.default_rng(seed)
    size = (1 << 18) + 77
    values = generator.choice([-DELTA_MAX, DELTA_MAX, DELTA_MAX - 1], size)
    vector = generator.choice([-SUM_MAX, SUM_MAX, SUM_MAX - 3, -5], size)
    places: Ints | None = None
    if sparse:
        places = np.flatnonzero(generator.random(size) < 0.3)
        values = values[places]
    told = vector if places is None else vector[places]
    expected = sum(a * b for a, b in zip(values.tolist(), told.tolist(), strict=True))
    assert Change(size, places, values).dot(vector) == expected
    assert squared_norm(values) == sum(value * value for value in values.tolist())


@pytest.mark.parametrize("rule", RULES)
def test_memory_does_not_grow_with_the_number_of_updates(rule: bytes) -> None:
    elements, vector_bytes = 1 << 18, 8 << 18

    def fresh(unit: int) -> Source:
        def read() -> Change:
            values = np.full(elements, unit, np.int64)
            values[unit] = 5
            return Change(elements, None, values)

        return Source(unit, 1, read)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            sources = [fresh(unit) for unit in range(1, count + 1)]
            merge(rule, sources, elements, agreement=0, trim=1, randomness=RANDOMNESS)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    block = 3 * 8 * (1 << 22)  # values of a block, sorted and added up
    assert peak(24) <= 8 * vector_bytes + block
