"""How large an update is, and how large it may be: what is too large is scaled down, exactly.

The norm of a unit's honest work is nearly the same for everybody (2 % apart), so the segment's
trailing median is the limit for all.  Who did less cannot borrow a gain from the length of the
step, and who scales up gets what the limit leaves.
Pure.
"""

from math import isqrt

import numpy as np

from chain.rules.changes import DELTA_MAX, Change

UNIT_SHIFT = 2
"""A norm's unit is 2**UNIT_SHIFT units of the values, so that every norm fits 32 bits."""
NORM_MAX = 2**32 - 1

assert DELTA_MAX * NORM_MAX < 1 << 63


def norm(change: Change) -> int:
    """The Euclidean norm in units of 2**(UNIT_SHIFT - fraction_bits), rounded down."""
    return min(NORM_MAX, isqrt(change.squared_norm) >> UNIT_SHIFT)


def limited(change: Change, cap: int) -> Change:
    """The change, its values times cap / norm, rounded towards 0, if its norm is above `cap`.

    Args:
        cap: the largest norm that counts; 0 is no limit.
    """
    size = norm(change)
    if not cap or size <= cap:
        return change
    values = np.sign(change.values) * (np.abs(change.values) * cap // size)
    return Change(change.elements, change.places, values)
