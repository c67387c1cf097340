"""The door of the command: lazy, and every error is one line and one exit status."""

import json
import subprocess
import sys
import types

import click
import pytest

from bft.errors import (
    BadSignature,
    Busy,
    ConfigError,
    DecodeError,
    ProtocolViolation,
    Refused,
    Unavailable,
)
from gristmill import exits
from gristmill.cli import COMMANDS, Target, main
from gristmill.version import VERSION

HEAVY = ("torch", "aiohttp", "numpy", "cryptography", "google.protobuf", "rich", "msgspec")


@pytest.mark.parametrize("args", [["--help"], ["version"], ["no-such-command"]])
def test_the_door_itself_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from gristmill.cli import main; main(sys.argv[2:]);"
        "sys.exit(sorted(set(sys.argv[1].split(',')) & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(HEAVY), *args], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_help_names_every_command_and_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == exits.OK
    text = capsys.readouterr().out
    for name, target in COMMANDS.items():
        assert any(line.split()[:1] == [name] and target.help in line for line in text.splitlines())
    for status in (0, 1, 2, 3, 4, 5, 6, 7, 69, 75, 130):
        assert f" {status} " in text


def test_completion_offers_names_without_importing_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gristmill"],
        env={
            "_GRISTMILL_COMPLETE": "bash_complete",
            "COMP_WORDS": "gristmill no",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.stdout == "plain,node\n"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("n is 3; it must be 3f + 1"), 3, "n is 3; it must be 3f + 1"),
        (FileNotFoundError(2, "No such file or directory", "log.db"), 4, "log.db: No such file"),
        (Refused("late", "cycle 7 closed"), 5, "cycle 7 closed"),
        (DecodeError("not a Batch"), 6, "not a Batch"),
        (BadSignature("not by 02ab"), 6, "not by 02ab"),
        (ProtocolViolation("two commits", culprit=2, evidence=()), 6, "two commits"),
        (Unavailable("3 replicas tried"), 7, "3 replicas tried"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 69, "gristmill[miner]"),
        (ModuleNotFoundError("x", name="sklearn.datasets"), 69, "gristmill[miner]"),
        (ModuleNotFoundError("x", name="obstore"), 69, "gristmill[coordinator]"),
        (ModuleNotFoundError("x", name="yaml"), 69, "'gristmill'"),
        (ModuleNotFoundError("No module named 'bft.x'", name="bft.x"), 1, "a bug of ours"),
        (Busy("4096 requests wait"), 75, "4096 requests wait"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "key"), 1, "key: Permission denied"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
        (Unavailable("two\nlines"), 7, "two lines"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_one_status(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_command(monkeypatch, error)
    assert main(["trial"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert err.lstrip("\n").startswith("gristmill: ")  # after ^C click ends the terminal's line
    assert len(err.strip().splitlines()) == 1


def test_with_json_an_error_is_one_object_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_command(monkeypatch, Unavailable("nobody answered"))
    assert main(["trial", "--json"]) == exits.UNAVAILABLE
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "ok": False,
        "error": {
            "type": "about:blank",
            "title": "Unavailable",
            "detail": "nobody answered",
            "exit_status": 7,
        },
    }


@pytest.mark.parametrize(
    "args",
    [
        ["operator", "status", "--hmoe", "x", "--json"],
        ["federation", "certificate", "--json"],
        ["config", "validate", "no-such-file.yaml", "--json"],
    ],
)
def test_with_json_wrong_usage_is_an_object_too(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == exits.USAGE
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False and told["error"]["exit_status"] == exits.USAGE


def test_a_traceback_comes_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_command(monkeypatch, ConfigError("wrong"))
    assert main(["trial", "-v"]) == exits.CONFIG
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("GRISTMILL_DEBUG", "1")
    assert main(["trial"]) == exits.CONFIG
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("result", [exits.OK, exits.VERIFICATION_FAILED])
def test_a_command_may_return_its_status(result: int, monkeypatch: pytest.MonkeyPatch) -> None:
    add_command(monkeypatch, result)
    assert main(["trial"]) == result


def test_wrong_usage_is_status_2_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--no-such-option"]) == exits.USAGE
    assert "--no-such-option" in capsys.readouterr().err
    assert main(["no-such-command"]) == exits.USAGE
    assert "no-such-command" in capsys.readouterr().err


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    shell = f"{sys.executable} -m gristmill version | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.stderr == ""
    assert int(done.stdout) in (exits.OK, exits.UNEXPECTED)


def test_version_says_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == exits.OK
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["data"]["gristmill"] == VERSION
    assert told["data"]["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert main(["version"]) == exits.OK
    assert f"gristmill {VERSION}\n" in capsys.readouterr().out


def add_command(monkeypatch: pytest.MonkeyPatch, result: BaseException | int) -> None:
    """For this test `gristmill trial` exists; it raises or returns `result`."""

    @click.command()
    @click.option("--json", is_flag=True)
    @click.option("-v", "verbose", is_flag=True)
    def trial(json: bool, verbose: bool) -> int:
        if isinstance(result, int):
            return result
        raise result

    module = types.ModuleType("trial_command")
    module.trial = trial  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "trial", Target(module.__name__, "trial", "A trial."))
