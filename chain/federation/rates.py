"""Token buckets: how much one source may do, sustained and in a burst."""

from collections import OrderedDict
from collections.abc import Hashable

BUCKETS_MAX = 10_000  # sources remembered; the one idle for longest is forgotten first


class Bucket:
    """Holds at most `burst` tokens and gains `per_s` a second."""

    __slots__ = ("_at", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._tokens, self._at = burst, now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Take `amount`; how long to wait before acting on it (0: at once).

        An amount above the burst is let in when the bucket is full, and paid off afterwards.
        """
        self._refill(now_s)
        self._tokens -= amount
        missing = min(amount, self._burst) - amount - self._tokens
        return max(0.0, missing / self._per_s)

    def try_take(self, now_s: float, amount: int = 1) -> float:
        """Take `amount` tokens if they are there; else how long until they are.

        An amount above the burst is let in when the bucket is full, and paid off afterwards.
        """
        self._refill(now_s)
        needed = min(amount, self._burst)
        if self._tokens < needed:
            return (needed - self._tokens) / self._per_s
        self._tokens -= amount
        return 0.0

    def _refill(self, now_s: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now_s - self._at) * self._per_s)
        self._at = now_s


class Buckets:
    """One bucket for each source."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._of: OrderedDict[Hashable, Bucket] = OrderedDict()

    def try_take(self, source: Hashable, now_s: float, amount: int = 1) -> float:
        """As `Bucket.try_take`, of this source's bucket."""
        bucket = self._of.pop(source, None) or Bucket(self._per_s, self._burst, now_s)
        self._of[source] = bucket
        if len(self._of) > BUCKETS_MAX:
            self._of.popitem(last=False)
        return bucket.try_take(now_s, amount)
