"""The long run: mutated samples at random, from a seed; a failing input is made small.

A run is bounded in time and in memory: an input that takes longer than INPUT_S, or makes the
process grow beyond MEMORY_BYTES_MAX, is a failure like any other.
"""

import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import FrameType

from tests.fuzz.mutation import edited, random_edits
from tests.fuzz.target import Broken, Target, try_input

INPUT_S = 5
MEMORY_BYTES_MAX = 1 << 30
RAW_BYTES_MAX = 512
SHRINKS_MAX = 4_000


@dataclass(frozen=True)
class Failure:
    """What broke a target."""

    target: str
    data: bytes
    reason: str


class Slow(BaseException):
    """No reader may catch it."""


@contextmanager
def bounded() -> Iterator[None]:
    """Memory is limited inside; on main threads of POSIX systems only."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 8 * MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (grown, before[1]))
    old = signal.signal(signal.SIGALRM, _too_slow)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _too_slow(number: int, at: FrameType | None) -> None:
    raise Slow


def why_broken(target: Target, data: bytes) -> str | None:
    """The reason, or None: the target keeps its promise for this input."""
    signal.alarm(INPUT_S)
    try:
        try_input(target, data)
    except Broken as error:
        return str(error)
    except Slow:
        return f"{target.name}: more than {INPUT_S} s for {len(data)} bytes"
    finally:
        signal.alarm(0)
    return None


def make_input(target: Target, random: Random) -> bytes:
    """A hostile input."""
    if random.randrange(20) == 0:
        return random.randbytes(random.randrange(RAW_BYTES_MAX))
    edits = random_edits(random)
    if target.wrap is not None and random.randrange(2):
        choose: Sequence[bytes] = target.inner
        return target.wrap(edited(random.choice(choose), edits, random.choice(choose)))
    choose = target.samples
    return edited(random.choice(choose), edits, random.choice(choose))


def shrink(data: bytes, broken: Callable[[bytes], bool]) -> bytes:
    """A shorter and simpler input that is still broken: parts cut out, bytes set to zero."""
    tries = 0
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data) and tries < SHRINKS_MAX:
            tries += 1
            shorter = data[:at] + data[at + size :]
            if broken(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    for at in range(min(len(data), SHRINKS_MAX)):
        zeroed = data[:at] + b"\x00" + data[at + 1 :]
        if data[at] and tries < 2 * SHRINKS_MAX and broken(zeroed):
            data = zeroed
        tries += 1
    return data


def run(target: Target, seed: int, budget_s: float) -> tuple[int, Failure | None]:
    """(inputs tried, the first failure made small)."""
    random = Random(f"{target.name} {seed}")
    end, tried = time.monotonic() + budget_s, 0
    with bounded():
        while time.monotonic() < end:
            tried += 1
            data = make_input(target, random)
            if why_broken(target, data) is not None:
                small = shrink(data, lambda shorter: why_broken(target, shorter) is not None)
                return tried, Failure(target.name, small, why_broken(target, small) or "flaky")
    return tried, None
