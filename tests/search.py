"""Many seeds in several processes until a count or a budget is used up; failures made small.

A failing seed is printed at once with the faults that it needs (each is dropped in turn, and stays
dropped while the run still fails), with a readable history, and with its line for tests/seeds.txt.
"""

import argparse
import gc
import itertools
import multiprocessing
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SEEDS = Path(__file__).with_name("seeds.txt")
SHRINKING_RUNS_MAX = 200
STORY_LINES_MAX = 80
FRESH = 2**32
NO_END = 2**63
GC_THRESHOLDS = 50_000, 20, 100
"""Histories make much garbage, little of it in cycles."""


class Run(Protocol):
    """One seed's history.  `run` raises where a check fails."""

    @property
    def faults(self) -> list[str]:
        """What was done to it, by names that are the same in every run of the seed."""

    @property
    def story(self) -> list[str]:
        """What happened, for people."""

    def run(self) -> None: ...


@dataclass(frozen=True)
class Search:
    """A kind of run."""

    name: str  # in tests/seeds.txt
    make: Callable[[int, frozenset[str]], Run]  # of a seed, without some of its faults
    prepare: Callable[[], None] = lambda: None  # once in each process
    skip: Callable[[int], bool] = lambda seed: False  # what another seed shows just as well


def failing(search: Search, seed: int, without: frozenset[str]) -> tuple[Run, str] | None:
    """The run and its error if it fails."""
    run = search.make(seed, without)
    try:
        run.run()
    except Exception:
        return run, traceback.format_exc(limit=-4)
    return None


def shrink(search: Search, seed: int, run: Run, text: str) -> tuple[Run, str]:
    """The failing run with the fewest faults that dropping them one by one leads to."""
    without: frozenset[str] = frozenset()
    for name in run.faults[:SHRINKING_RUNS_MAX]:
        if name in without or name not in run.faults:
            continue
        smaller = failing(search, seed, without | {name})
        if smaller is not None:
            without |= {name}
            run, text = smaller
    return run, text


def describe(search: Search, seed: int, run: Run, text: str) -> str:
    """What a person needs."""
    return "\n".join(
        (
            f"FAILED {search.name} {seed}   <- this line belongs into tests/seeds.txt",
            "  needs: " + ("; ".join(run.faults) or "no fault at all"),
            *(f"  | {line}" for line in run.story[-STORY_LINES_MAX:]),
            text,
        )
    )


def work(search: Search, seeds: Iterable[int], count: int, end_s: float) -> tuple[int, list[int]]:
    """(how many ran, which failed); at most `count`, none begun after `end_s`."""
    ran, failed = 0, list[int]()
    for seed in seeds:
        if ran == count or time.monotonic() >= end_s:
            break
        if search.skip(seed):
            continue
        ran += 1
        found = failing(search, seed, frozenset())
        if found is not None:
            failed.append(seed)
            print(describe(search, seed, *shrink(search, seed, *found)), flush=True)
    return ran, failed


_task: tuple[Search, int, int, int, float] | None = None


def _worker(number: int) -> tuple[int, list[int]]:
    assert _task is not None
    search, first, count, jobs, end_s = _task
    search.prepare()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    mine = count // jobs + (number < count % jobs)
    return work(search, itertools.count(first + number, jobs), mine, end_s)


def hunt(
    search: Search, first: int, count: int | None, budget_s: int | None, jobs: int
) -> tuple[int, list[int]]:
    """Run `count` seeds from `first` on, or as many as the budget allows, in `jobs` processes."""
    global _task
    end_s = time.monotonic() + (budget_s if budget_s is not None else float("inf"))
    _task = (search, first, count if count is not None else NO_END, jobs, end_s)
    if jobs == 1:
        return _worker(0)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        done = pool.map(_worker, range(jobs), chunksize=1)
    return sum(ran for ran, _ in done), [seed for _, failed in done for seed in failed]


def until_first(search: Search, first: int, count: int) -> int:
    """1 as soon as a seed fails, without making it small; 0 if none does."""
    search.prepare()
    for ran, seed in enumerate(range(first, first + count), 1):
        found = None if search.skip(seed) else failing(search, seed, frozenset())
        if found is not None:
            print(f"{search.name}: seed {seed}, number {ran}, fails: {found[1].splitlines()[-1]}")
            return 1
    return 0


def known(name: str) -> list[int]:
    """Seeds of this kind that ever failed."""
    lines = (line.split("#")[0].split() for line in SEEDS.read_text().splitlines())
    return [int(line[1]) for line in lines if line and line[0] == name]


def arguments(program: str, description: str | None) -> argparse.ArgumentParser:
    """The options that all searches share."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--seed", type=int, help="the first; a fresh one if not given")
    parser.add_argument("--count", type=int, help="how many seeds")
    parser.add_argument("--budget", type=int, help="seconds")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--first", action="store_true", help="end with the first that fails")
    parser.add_argument("--known", action="store_true", help="only those of tests/seeds.txt")
    return parser


def command(search: Search, options: argparse.Namespace) -> int:
    """0: nothing failed; 1: something did, and was printed."""
    began = time.monotonic()
    if options.known:
        search.prepare()
        ran, failed = work(search, known(search.name), NO_END, float("inf"))
        print(f"{search.name}: {ran} known seeds, {len(failed)} failed")
        return 1 if failed else 0
    if options.first:
        return until_first(search, options.seed or 0, options.count or NO_END)
    first = random.SystemRandom().randrange(FRESH) if options.seed is None else options.seed
    count = 1 if options.count is None and options.budget is None else options.count
    print(f"{search.name}: seeds from {first} on", file=sys.stderr, flush=True)
    ran, failed = hunt(search, first, count, options.budget, options.jobs)
    took = time.monotonic() - began
    print(f"{search.name}: {ran} seeds from {first}, {len(failed)} failed, {took:.0f} s")
    return 1 if failed else 0
