"""An update counts up to a norm: exact, never longer, and in the same direction."""

from math import isqrt

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.rules.changes import DELTA_MAX, Change
from chain.rules.norms import NORM_MAX, limited, norm

values = st.lists(st.integers(-DELTA_MAX, DELTA_MAX), min_size=1, max_size=40)
caps = st.integers(1, NORM_MAX)


def change(told: list[int]) -> Change:
    return Change(len(told), None, np.array(told, np.int64))


@settings(deadline=None)
@given(values)
def test_the_norm_is_the_root_of_the_squares_in_units_of_four(told: list[int]) -> None:
    assert norm(change(told)) == isqrt(sum(value * value for value in told)) // 4


@settings(deadline=None)
@given(values, caps)
def test_what_is_too_long_is_scaled_towards_zero_and_the_rest_stays(
    told: list[int], cap: int
) -> None:
    before = change(told)
    size, after = norm(before), limited(before, cap)
    if size <= cap:
        assert after is before
    else:
        scaled = [abs(value) * cap // size * (1 if value > 0 else -1) for value in told]
        assert after.values.tolist() == scaled
        assert norm(after) <= norm(before)


def test_without_a_cap_nothing_is_scaled() -> None:
    before = change([DELTA_MAX] * 3)
    assert limited(before, 0) is before


def test_ten_times_the_update_counts_as_the_update() -> None:
    """Scaling pays nothing: both end at the cap, but for the rounding."""
    told = [5_000, -3_000, 70, 0]
    cap = norm(change(told))
    louder = limited(change([10 * value for value in told]), cap)
    assert np.abs(louder.values - np.array(told)).max() <= 5
