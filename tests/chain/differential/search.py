"""Runs subjects for a time or a count; every input follows from subject, seed and number."""

from collections.abc import Callable
from random import Random

from tests.chain.differential.oracle import Difference
from tests.chain.differential.subjects import SUBJECTS


def run_one(name: str, seed: int, number: int) -> None:
    """Input `number` of a subject.  Raises Difference."""
    try:
        SUBJECTS[name](Random(f"{name} {seed} {number}"))
    except Difference as error:
        raise Difference(f"{name}, seed {seed}, number {number}: {error}") from None


def run(names: list[str], seed: int, go_on: Callable[[int], bool]) -> dict[str, int]:
    """Each subject in turn while `go_on(number)`; how many inputs of each.  Raises Difference."""
    counts = dict.fromkeys(names, 0)
    number = 0
    while go_on(number):
        for name in names:
            run_one(name, seed, number)
            counts[name] += 1
        number += 1
    return counts
