"""Does the suite see bugs?  Plants one fault after another and runs the tests that should see it.

`python -m tests.mutants [--only NAME] [--budget SECONDS] [--search SEEDS]`.  Works in a copy of the
tree.  Exit status 0: all were killed; 6: some survived; 2: a mutant's text stands in the product no
more, or the tests fail without any mutant (not asked under --budget and --search).
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.auditors import AUDITORS
from tests.mutants.consensus import FURTHER, LISTED
from tests.mutants.epochs import EPOCHS
from tests.mutants.membership import CHANGES
from tests.mutants.mill import MILL
from tests.mutants.mutant import Mutant, NoSuchText, mutated
from tests.mutants.node import NODE
from tests.mutants.peers import PEERS
from tests.mutants.sharing import SHARING

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "docs",
    "bft",
    "chain",
    "miner",
    "coordinator",
    "deploy",
    "gristmill",
    "tests",
    "benchmarks",
)
MUTANTS = (*LISTED, *FURTHER, *EPOCHS, *SHARING, *CHANGES, *MILL, *NODE, *PEERS, *AUDITORS)
SURVIVED = 6
STALE = 2
TESTS_FAILED = 1  # pytest's statuses
TESTS_PASSED = 0
PATIENCE_S = 300
SEARCHES = ("tests.twins", "tests.bft.pbft.chaos", "tests.bft.pbft.moving")
SEARCHES_OF = {"bft/dkg/": ("tests.bft.dkg.search",)}
"""For mutants of one room alone."""

UNMUTATED_S = 1_800


def copy_tree(to: Path) -> None:
    """Sources, tests, and the pages that tests read."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", to)


class Tree:
    """A copy in which one mutant lives at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = 1_000_000_000  # each writing has its own time, or Python takes old bytecode

    def write(self, file: str, text: str) -> None:
        self.clock += 10
        (self.root / file).write_text(text)
        os.utime(self.root / file, (self.clock, self.clock))

    def judge(self, mutant: Mutant, seeds: int | None) -> str:
        """Plant, test (or search), take out: "killed", "survived", or what went wrong."""
        files = sorted({file for file, _, _ in mutant.edits})
        before = {file: (ROOT / file).read_text() for file in files}
        for file in files:
            self.write(file, mutated(before[file], mutant, file))
        try:
            return self.test(mutant.tests) if seeds is None else self.search(files, seeds)
        finally:
            for file in files:
                self.write(file, before[file])

    def test(self, tests: Sequence[str], patience_s: int = PATIENCE_S) -> str:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        try:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=environment,
                timeout=patience_s,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired:
            return "killed (the tests stand still)"
        if done.returncode == TESTS_PASSED:
            return "survived"
        if done.returncode == TESTS_FAILED:
            lines = done.stdout.splitlines()  # a fixture that checks afterwards is an ERROR
            failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
            return "killed by " + failed[0].split(" - ")[0].partition(" ")[2]
        return f"error {done.returncode}: {done.stdout[-500:]}"

    def search(self, files: Sequence[str], seeds: int) -> str:
        """Twins, then random histories: the first of them that fails kills."""
        for name in searches_of(files):
            command = [sys.executable, "-m", name, "--first", "--seed", "1", "--count", str(seeds)]
            done = subprocess.run(command, cwd=self.root, capture_output=True, text=True)
            if done.returncode:
                last = (done.stdout.splitlines() or done.stderr.splitlines())[-1]
                return "killed by " + last
        return "survived"


def searches_of(files: Sequence[str]) -> Sequence[str]:
    """Those that exercise what a mutant of these files has changed."""
    for room, searches in SEARCHES_OF.items():
        if all(file.startswith(room) for file in files):
            return searches
    return SEARCHES


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="a name; may be repeated")
    parser.add_argument("--budget", type=int, help="seconds; a random selection")
    parser.add_argument(
        "--search", type=int, metavar="SEEDS", help="let the searches judge, by so many seeds each"
    )
    parser.add_argument("--list", action="store_true", help="names and laws")
    options = parser.parse_args(argv)
    chosen = [m for m in MUTANTS if not options.only or m.name in options.only]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name}: {mutant.law}")
        return 0
    if options.budget is not None:
        random.SystemRandom().shuffle(chosen)
    end_s = time.monotonic() + (options.budget if options.budget is not None else float("inf"))
    verdicts: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        tree = Tree(Path(place))
        copy_tree(tree.root)
        if options.budget is None and options.search is None:
            judges = sorted({test for mutant in chosen for test in mutant.tests})
            sound = tree.test(judges, UNMUTATED_S)
            if sound != "survived":
                print(f"without any mutant the tests are {sound}", file=sys.stderr)
                return STALE
        for mutant in chosen:
            if time.monotonic() >= end_s:
                break
            try:
                verdicts[mutant.name] = tree.judge(mutant, options.search)
            except NoSuchText as error:
                verdicts[mutant.name] = f"stale: {error}"
            print(f"{mutant.name:36} {verdicts[mutant.name]}", flush=True)
    killed = sum(verdict.startswith("killed") for verdict in verdicts.values())
    print(f"{killed} of {len(verdicts)} mutants killed; {len(MUTANTS)} are listed")
    if any(verdict.startswith("stale") for verdict in verdicts.values()):
        return STALE
    return 0 if killed == len(verdicts) else SURVIVED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
