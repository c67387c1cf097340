"""The own-data test: did the update help its own chunk's records more than strangers'?

A rank statistic, so one record counts one vote whatever its loss: neither the length of the step
nor a few records learnt by heart raise it.
Source: Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger
than the Other" (1947); as a measure of effect, Cliff's delta.
"""

import numpy as np
from numpy.typing import NDArray

ONE = 1 << 16

Losses = NDArray[np.float64]


def advantage(own: Losses, control: Losses) -> int:
    """2**16 (P(own > control) - P(own < control)), rounded down, over all pairs.

    Args:
        own: (N,) loss removed from each of the unit's own records, nats.
        control: (M,) the same from records that are not the unit's.
    """
    ascending = np.sort(control)
    below = np.searchsorted(ascending, own, side="left")
    above = control.size - np.searchsorted(ascending, own, side="right")
    pairs = own.size * control.size
    return int((below - above).sum()) * ONE // pairs if pairs else 0
