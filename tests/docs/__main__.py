"""`python -m tests.docs`: every command of every page, run for real.

    python -m tests.docs                        # all pages, about five minutes
    python -m tests.docs --only docs/WALLET.md  # one, or several
    python -m tests.docs --keep DIR             # homes and outputs stay there

Pages use the ports that they name.  Root gets a network of its own for that (`unshare --net`);
without root the machine's own loopback serves, and the ports have to be free.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.docs.extract import PAGES
from tests.docs.run import OPERATING, Done, Federation, federation, run_page
from tests.docs.table import SCENES, Scene

INSIDE = "GRISTMILL_DOCS_INSIDE"
SHOWN_LINES = 40


def main() -> int:
    """Returns 1 if a command did not do what its page says."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs")
    parser.add_argument("--only", action="append", choices=PAGES, default=[], metavar="PAGE")
    parser.add_argument(
        "--budget", type=float, default=900.0, metavar="SECONDS", help="of one page"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    if os.geteuid() == 0 and INSIDE not in os.environ and shutil.which("unshare"):
        command = " ".join(['ip link set lo up && exec "$0" -m tests.docs "$@"'])
        os.environ[INSIDE] = "1"
        os.execvp(
            "unshare", ["unshare", "--net", "bash", "-c", command, sys.executable, *sys.argv[1:]]
        )
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    pages = arguments.only or list(PAGES)
    with ExitStack() as stack:
        if arguments.keep is not None:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            root = arguments.keep.resolve()
        else:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gristmill-docs-")))
        return _run(pages, root, arguments.budget)


def _run(pages: list[str], root: Path, budget_s: float) -> int:
    done: list[Done] = []
    alone = [page for page in pages if not SCENES.get(page, Scene()).federation]
    beside = [page for page in pages if page not in alone]
    for page in alone:  # OPERATING among them: it founds a federation of its own, on the same ports
        done += _told(page, root, None, budget_s)
    if beside:
        begun = time.monotonic()
        with federation(root / "federation") as joined:
            print(f"a federation by the commands of {OPERATING}: {time.monotonic() - begun:.0f} s")
            for page in beside:
                done += _told(page, root, joined, budget_s)
    bad = [one for one in done if not one.good]
    skipped = [one for one in done if one.reason is not None]
    run = len(done) - len(skipped) - len(bad)
    print(f"{len(pages)} pages: {run} commands did what they say, {len(bad)} did not;", end=" ")
    print(f"{len(skipped)} are not run here, each for a reason")
    return 1 if bad else 0


def _told(page: str, root: Path, joined: Federation | None, budget_s: float) -> list[Done]:
    begun = time.monotonic()
    done = run_page(page, root / page.replace("/", "-").lower(), joined, budget_s)
    print(f"{page}: {time.monotonic() - begun:.0f} s")
    for one in done:
        if one.reason is not None:
            print(f"  -    {one.step.spot}: {one.step.command[:60]}: {one.reason}")
        elif not one.good:
            how = "was not reached" if one.status is None else f"ended with status {one.status}"
            how = "says something else than the page" if one.differs else how
            print(f"  BAD  {one.step.spot}: {one.step.command}\n       {how}")
            for line in one.output.splitlines()[-SHOWN_LINES:]:
                print(f"       | {line}")
            break
        else:
            print(f"  ok   {one.step.spot}: {one.step.command[:90]}")
    return done


if __name__ == "__main__":
    sys.exit(main())
