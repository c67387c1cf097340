"""`./run` on a machine where something is missing says so, and leaves nothing half made."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `./run` reads, in a directory that has never been set up."""
    for name in ("run", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(checkout: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "run", *args],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=checkout.parent,
    )


@pytest.mark.parametrize(("args", "status"), [(["--help"], 0), (["help"], 0), ([], 2)])
def test_help_needs_no_set_up(checkout: Path, args: list[str], status: int) -> None:
    done = run(checkout, *args)
    assert done.returncode == status
    assert "./run demo" in done.stdout
    assert not (checkout / ".venv").exists()


def test_a_python_that_does_not_serve_is_named(checkout: Path) -> None:
    done = run(checkout, "demo", GRISTMILL_PYTHON="/bin/false")
    assert done.returncode == 69
    assert "GRISTMILL_PYTHON=/bin/false is no Python 3.11" in done.stderr
    assert not (checkout / ".venv").exists()


def test_without_any_python_it_says_how_to_get_one(checkout: Path) -> None:
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "cat", "head"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = run(checkout, "test", PATH=str(tools), GRISTMILL_PYTHON="")
    assert done.returncode == 69
    assert "Python 3.11 or newer with venv is needed" in done.stderr
    assert "apt install python3" in done.stderr
    assert not (checkout / ".venv").exists()
