"""Pages run for real: one shell for a page, its commands in their order, in a directory of its own.

A shell and everything that it started are ended with the page, however it ends: they are one
session, whose number is the shell's.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.extract import ROOT, Step, steps_of
from tests.docs.table import SCENES, Scene, skipped, way_of

OPERATING = "docs/OPERATING.md"
COMPARED = frozenset({OPERATING, "docs/CONFIGURATION.md"})
"""Pages that show whole outputs, where they show any; the others show what matters of them."""

UNTIL_S = 240
"""Seconds after which what a page waits for is given up."""


class Done(NamedTuple):
    """What became of one command."""

    step: Step
    status: int | None  # None: it was not reached
    reason: str | None  # why it is not run here
    output: str  # and what it said on stderr
    wanted: int = 0
    differs: bool = False  # from what the page shows

    @property
    def good(self) -> bool:
        """As the page promises, or listed with a reason."""
        return self.reason is not None or (self.status == self.wanted and not self.differs)


class Federation(NamedTuple):
    """What $FED, $REPLICA and $REPLICA_1 are."""

    home: Path
    replicas: tuple[str, str] = ("http://127.0.0.1:7610", "http://127.0.0.1:7620")


def founding() -> tuple[Step, ...]:
    """OPERATING's commands from nothing to a federation that shows itself."""
    found = []
    for step in steps_of(OPERATING):
        found.append(step)
        if step.command.startswith("gristmill federation show"):
            return tuple(found)
    raise AssertionError(f"{OPERATING} does not found a federation any more")


@contextlib.contextmanager
def federation(home: Path) -> Iterator[Federation]:
    """A federation founded by OPERATING's own commands, with one miner, until the end."""
    home.mkdir()
    lines = [step.command for step in founding() if skipped(OPERATING, step.command) is None]
    lines += [
        "gristmill miner init --home miner --genesis founded/genesis.bin >/dev/null",
        "gristmill miner run --home miner --plain 2>miner.log & echo $! > miner.pid",
        "touch founded/ready; wait",
    ]
    with _session("\n".join(["set -e", *lines]), home, {}, home / "log") as shell:
        deadline = time.monotonic() + UNTIL_S
        while not (home / "founded" / "ready").exists():
            if shell.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no federation was founded:\n{(home / 'log').read_text()}")
            time.sleep(0.5)
        yield Federation(home)


def run_page(page: str, home: Path, joined: Federation | None, budget_s: float) -> list[Done]:
    """Every command of a page, in `home`; a failed one ends the page."""
    home.mkdir()
    out = home.parent / f"{home.name}.out"
    out.mkdir()
    scene = SCENES.get(page, Scene())
    listed = steps_of(page)
    environment = {"XDG_DATA_HOME": str(home / "xdg"), "OUT": str(out)}
    if joined is not None:
        first, second = joined.replicas
        environment |= {"FED": str(joined.home), "REPLICA": first, "REPLICA_1": second}
    with (
        _session(_script(listed, scene, out), home, environment, out / "log") as shell,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):
        shell.wait(timeout=budget_s)
    return [_done(step, number, out) for number, step in enumerate(listed)]


def _script(listed: tuple[Step, ...], scene: Scene, out: Path) -> str:
    lines = ["set -o pipefail", *_must(scene.before)]
    for number, step in enumerate(listed):
        if skipped(step.page, step.command) is not None:
            continue
        way, command = way_of(step.page, step.command), step.command
        for text, here in scene.changed:
            command = command.replace(text, here)
        lines += _must(way.before)
        into = f">{out / str(number)} 2>{out / f'{number}.err'}"
        if way.until:
            lines += [
                f"{{ {command}\n}} {into} & RUNNING=$!",
                f"SECONDS=0; until {way.until} 2>/dev/null; do",
                f"  kill -0 $RUNNING 2>/dev/null && [ $SECONDS -lt {UNTIL_S} ] || exit 1",
                "  sleep 0.5",
                "done",
                "true" if way.stays else "kill -INT $RUNNING; kill $RUNNING; wait $RUNNING; true",
                f"echo 0 >{out / f'{number}.status'}",
            ]
        else:
            lines += [
                f"{{ {command}\n}} {into}",
                f"STATUS=$?; echo $STATUS >{out / f'{number}.status'}; cp {out / str(number)} last",
                f"[ $STATUS = {way.status} ] || exit 1",
            ]
    return "\n".join(lines)


def _must(lines: tuple[str, ...]) -> list[str]:
    """Scenery; where it fails the page ends, and says so in its log."""
    return [
        f"{{ {line}\n}} || {{ echo 'the scene fails: {index}' >&2; exit 1; }}"
        for index, line in enumerate(lines)
    ]


def _done(step: Step, number: int, out: Path) -> Done:
    reason = skipped(step.page, step.command)
    status = out / f"{number}.status"
    told = [
        path.read_text(errors="replace")
        for path in (out / str(number), out / f"{number}.err")
        if path.exists()
    ]
    if not status.exists() and (out / "log").exists():
        told.append((out / "log").read_text(errors="replace")[-2_000:])
    found = int(status.read_text()) if status.exists() else None
    wanted = way_of(step.page, step.command).status
    shows = step.page in COMPARED and step.shown != "" and found == wanted
    differs = shows and not alike(step.shown, told[0])
    return Done(step, found, reason, "".join(told), wanted, differs)


def alike(shown: str, told: str) -> bool:
    """Whether two outputs differ in keys, digests, counts and phases only."""

    def plain(text: str) -> str:
        text = re.sub(r"\b[0-9a-f]{16,}\b", "<digest>", text)
        text = re.sub(r"\b(REGISTRATION|TRAINING)\b", "<phase>", text)
        return re.sub(r"-?\d+", "<number>", text)

    return plain(shown) == plain(told)


@contextlib.contextmanager
def _session(
    script: str, home: Path, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {name: text for name, text in os.environ.items() if not name.startswith("GRISTMILL_")}
    with log.open("wb") as told:
        shell = subprocess.Popen(
            [shutil.which("bash") or "bash", "-c", script],
            cwd=home,
            env={
                **known,
                "PATH": tools,
                "NO_COLOR": "1",
                "PYTHON": sys.executable,
                "PYTHONPATH": str(ROOT),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield shell
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
