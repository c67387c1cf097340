"""From nothing to four hosts by docs/OPERATING.md alone: `python -m tests.four_hosts` (as root).

    python -m tests.four_hosts [--budget SECONDS] [--keep DIR]

Every line of the page's chapters is typed by the person whose name stands before it, on a host of
his own: a network namespace, a process namespace, and a directory beside which he sees no other.
Changed are addresses only: 127.0.0.1 becomes the host's own.  Between hosts go the public records
that the page names (tests/four_hosts/carrying.py).  Status 1: a line did not do what the page says.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.docs.extract import Step, steps_of
from tests.four_hosts.carrying import carry, leaks
from tests.four_hosts.host import Host, Result
from tests.netns import namespace
from tests.netns.network import Network

PAGE = "docs/OPERATING.md"
CHAPTERS = ("Found a federation",)
BUDGET_S = 900
LOCAL = "127.0.0.1"
TOLD_LINES = 25


def typed() -> tuple[Step, ...]:
    """The page's lines that are typed here.  Raises ValueError: nobody's."""
    found = tuple(step for step in steps_of(PAGE) if step.heading in CHAPTERS)
    for step in found:
        if not step.where:
            raise ValueError(f"{step.spot}: the page does not say who types {step.command}")
    return found


def addresses(steps: Iterable[Step], people: list[str]) -> dict[str, str]:
    """Rehearsal's address -> the address on the operator's own host."""
    found = {}
    for step in steps:
        if step.command.startswith("gristmill operator init"):
            host = namespace.address(people.index(step.where))
            for word in step.command.split():
                if word.startswith(f"{LOCAL}:"):
                    found[word] = word.replace(LOCAL, host)
    return found


def people_of(steps: Iterable[Step]) -> list[str]:
    """In the order in which they come."""
    return list(dict.fromkeys(step.where for step in steps))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.four_hosts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--budget", type=float, default=BUDGET_S, metavar="SECONDS")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="everybody's files stay there")
    given = parser.parse_args()
    lacks = namespace.missing() or (None if shutil.which("unshare") else "there is no unshare")
    if lacks is not None:
        print(f"SKIPPED: {lacks}")
        return 0
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and end all hosts
    begun = time.monotonic()
    with ExitStack() as stack:
        if given.keep is not None:
            given.keep.mkdir(parents=True)
            root = given.keep.resolve()
        else:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="four-hosts-")))
        good = all(line_by_line(root, begun + given.budget, stack))
    print(f"{'all of it' if good else 'FAILED'} in {time.monotonic() - begun:.0f} s")
    return 0 if good else 1


def line_by_line(root: Path, deadline: float, stack: ExitStack) -> Iterator[bool]:
    """Whether each line did what the page says; then whether nothing secret has moved."""
    steps = typed()
    people = people_of(steps)
    own = addresses(steps, people)
    network = Network(len(people))
    stack.callback(network.close)
    hosts: dict[str, Host] = {}
    for who, path in zip(people, network.namespaces, strict=True):
        hosts[who] = Host(root, who, path)
        stack.callback(hosts[who].close)
    files = {who: host.files for who, host in hosts.items()}
    for step in steps:
        command = step.command
        for address, here in own.items():
            command = command.replace(address, here)
        for told in carry(command, files[step.where], files):
            print(f"# {told}")
        print(f"{step.where}$ {command}")
        try:
            result = hosts[step.where].run(command, deadline)
        except (TimeoutError, RuntimeError) as error:
            result = Result(-1, f"{error}\n")
        print(result.output, end="")
        if result.status != 0:
            print(f"FAILED: {step.spot}: status {result.status}")
            tell_logs(files)
        yield result.status == 0
    found = leaks(files)
    print(*found or ["nothing secret has left its host"], sep="\n")
    yield not found


def tell_logs(files: dict[str, Path]) -> None:
    """The ends of everybody's logs."""
    for who, where in files.items():
        for path in sorted(where.rglob("*.log")):
            lines = path.read_text(errors="replace").splitlines()
            print(f"--- {who}: {path.relative_to(where)}", *lines[-TOLD_LINES:], sep="\n")


if __name__ == "__main__":
    sys.exit(main())
