"""docs/OPERATING.md does what it says: its commands, run in their order, give what it shows."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.extract import Step, steps
from tests.docs.table import skipped
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

NAME = "docs/OPERATING.md"
PAGE = Path(__file__).resolve().parent.parent / NAME

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def with_own_ports(page: str) -> str:
    """The page for a machine where its own ports may be taken."""
    named = sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", page)))
    for port, free in zip(named, claim_ports(len(named)), strict=True):
        page = page.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
    return page


def script(listed: list[Step], out: Path) -> str:
    """All of it in one shell, each command's output in a file; no process is left behind."""
    lines = ["trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT"]
    for number, step in enumerate(listed):
        lines.append(f"{{ {step.command}\n}} >{out / str(number)} || exit 1")
    return "\n".join([*lines, "wait"])


def alike(shown: str, told: str) -> bool:
    """Whether two outputs differ in keys, digests, counts and phases only."""

    def plain(text: str) -> str:
        text = re.sub(r"\b[0-9a-f]{16,}\b", "<digest>", text)
        text = re.sub(r"\b(REGISTRATION|TRAINING)\b", "<phase>", text)
        return re.sub(r"-?\d+", "<number>", text)

    return doctest.OutputChecker().check_output(plain(shown), plain(told), 0)


def test_the_operators_page_does_what_it_says(tmp_path: Path) -> None:
    page = steps(NAME, with_own_ports(PAGE.read_text(encoding="utf-8")))
    listed = [step for step in page if skipped(NAME, step.command) is None]
    assert len(listed) > 20
    out, home = tmp_path / "out", tmp_path / "home"
    out.mkdir()
    home.mkdir()
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script(listed, out)],
        cwd=home,
        env={**os.environ, "PATH": tools, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    told = [(out / str(number)).read_text() for number in range(len(list(out.iterdir())))]
    assert done.returncode == 0, f"{listed[len(told) - 1].command}\n{told[-1]}{done.stderr}"
    for step, output in zip(listed, told, strict=True):
        assert alike(step.shown, output), f"{step.command}\n{output}"
