"""The demonstration for real: processes, sockets, training, blocks; and nothing left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
LOOK_EVERY_S = 0.05
SMALL = ("--miners", "2", "--nodes", "1", "--cycles", "1")

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@contextlib.contextmanager
def demonstration(*args: str) -> Iterator[subprocess.Popen[str]]:
    """`gristmill demo` in a session of its own, ended at the latest with the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gristmill", "demo", *args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def left_in_session(session: int) -> list[int]:
    """Processes of a session that still run."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [number for number in numbers if _is_in_session(number, session)]


def _is_in_session(process: int, session: int) -> bool:
    try:
        return os.getsid(process) == session
    except ProcessLookupError:
        return False


def ignores_ctrl_c(process: int) -> bool:
    """Whether SIGINT would do nothing to it; true when it is over."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    ignored = re.search(r"^SigIgn:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert ignored is not None
    return bool(int(ignored[1], 16) >> (signal.SIGINT - 1) & 1)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(LOOK_EVERY_S)


def test_one_cycle_is_certified_agreed_and_audited(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with demonstration(*SMALL, "--json", "--home", str(home)) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    answer = json.loads(out)
    assert answer["ok"] is True
    summary = answer["data"]
    (cycle,) = summary["cycles"]
    assert cycle["certified"] is True and cycle["closed"] == "BLOCK" and cycle["height"] == 1
    assert len({(r["log_root"], r["model"], r["tip"]) for r in summary["replicas"]}) == 1
    assert [node["tip"] for node in summary["nodes"]] == [summary["tip"]]
    assert summary["audit"]["passed"] is True and summary["audit"]["findings"] == []
    assert (home / "score-log.grist").stat().st_size > 0
    assert left_in_session(process.pid) == []


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    """A terminal's Ctrl-C goes to the whole process group; the demonstration alone acts on it."""
    with demonstration(*SMALL, "--plain", "--home", str(tmp_path / "home")) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if "federation key" in line:
                break
        assert "federation key" in seen
        others = [number for number in left_in_session(process.pid) if number != process.pid]
        wait_until(lambda: all(ignores_ctrl_c(number) for number in others))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert left_in_session(process.pid) == []
