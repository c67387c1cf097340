"""The runner of pages sees what does not do what a page says."""

import time
from pathlib import Path

import pytest

from tests.docs import run, table
from tests.docs.extract import PAGES, steps, steps_of
from tests.patience import PATIENCE_S

PAGE = """\
```console
$ echo one
one
$ NAME=two; cd .
$ echo $NAME-$GRISTMILL_OF_OTHERS
two-
$ skip this
$ sleep 3600 & echo $! > sleeper.pid
$ while true; do echo beside; sleep 0.1; done
$ exit 3
$ echo never
```
"""


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[run.Done]:
    monkeypatch.setenv("GRISTMILL_OF_OTHERS", "not to be seen")
    monkeypatch.setattr(run, "steps_of", lambda page: tuple(steps(page, PAGE)))
    monkeypatch.setitem(table.SKIPPED, "P", {"skip": "because"})
    monkeypatch.setitem(table.WAYS, "P", {"while": table.Way(until="grep -q beside ../p.out/5")})
    return run.run_page("P", tmp_path / "p", None, 60.0)


def test_commands_share_one_shell_and_the_first_that_fails_ends_the_page(
    done: list[run.Done],
) -> None:
    assert [one.status for one in done] == [0, 0, 0, None, 0, 0, None, None]
    assert [one.good for one in done] == [True, True, True, True, True, True, False, False]
    assert done[2].output == "two-\n" and done[3].reason == "because"


def test_no_process_is_left(done: list[run.Done], tmp_path: Path) -> None:
    pid = int((tmp_path / "p" / "sleeper.pid").read_text())
    deadline = time.monotonic() + PATIENCE_S
    while _runs(pid):  # a signal that was sent takes its time on a busy machine
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("shown", "told", "same"),
    [
        ("height 3 of 0123456789abcdef\n", "height 12 of fedcba9876543210\n", True),
        ("cycle 1 TRAINING\n", "cycle 2 REGISTRATION\n", True),
        ("3 replicas\n", "3 replica\n", False),
        ("", "anything\n", False),
    ],
)
def test_outputs_may_differ_in_figures_only(shown: str, told: str, same: bool) -> None:
    assert run.alike(shown, told) is same


def test_every_reason_and_way_is_of_a_command_that_is_there() -> None:

    for page in PAGES:
        commands = [step.command for step in steps_of(page)]
        for beginning in (*table.SKIPPED.get(page, {}), *table.WAYS.get(page, {})):
            assert any(one.startswith(beginning) for one in commands), f"{page}: {beginning}"
    assert {*table.SKIPPED, *table.WAYS, *table.SCENES} <= set(PAGES)
