"""What a validator of deployment files found, and how its program is found and run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PATIENCE_S = 120


class Verdict(StrEnum):
    """Of one validator."""

    PASS = "PASS"
    SKIPPED = "SKIPPED"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to print."""

    verdict: Verdict
    text: str


class Missing(Exception):
    """A validator's program is not on this machine; the text says where it comes from."""


class Wrong(Exception):
    """A validator objects; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Validator:
    """A program that others wrote, and what it looks at."""

    name: str
    check: Callable[[], str]
    """What it looked at, in words.  Raises Missing, Wrong."""

    def run(self) -> Outcome:
        """PASS, SKIPPED or FAIL, and why."""
        try:
            return Outcome(Verdict.PASS, self.check())
        except Missing as error:
            return Outcome(Verdict.SKIPPED, str(error))
        except Wrong as error:
            return Outcome(Verdict.FAIL, str(error))


def program(name: str, origin: str) -> str:
    """The program's path: beside this Python, else on PATH.  Raises Missing."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which(name, path=places)
    if found is None:
        raise Missing(f"there is no {name}; it comes with {origin}")
    return found


def told(command: list[str], cwd: Path = ROOT, *, silent: bool = False) -> str:
    """A program's standard output.

    Args:
        silent: whatever it says on standard error is an objection, too.

    Raises:
        Wrong: another exit status than 0.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "SYSTEMD_COLORS": "0"},
    )
    if done.returncode != 0 or (silent and done.stderr.strip()):
        raise Wrong(f"status {done.returncode}\n{done.stdout}{done.stderr}".strip())
    return done.stdout
