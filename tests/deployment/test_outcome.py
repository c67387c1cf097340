"""The command that runs validators can tell good, bad and absent apart."""

import sys

import pytest

from tests.deployment import __main__ as command
from tests.deployment.outcome import Missing, Validator, Verdict, Wrong, program, told

SPEAK = "import sys; print('said', file=sys.stderr)"


def objects() -> str:
    raise Wrong("line 7")


def absent() -> str:
    return program("no-such-validator", "nowhere")


GOOD, BAD, ABSENT = (
    Validator("good", lambda: "3 files"),
    Validator("bad", objects),
    Validator("absent", absent),
)


def test_verdicts() -> None:
    assert GOOD.run().verdict is Verdict.PASS
    assert (BAD.run().verdict, BAD.run().text) == (Verdict.FAIL, "line 7")
    assert ABSENT.run().verdict is Verdict.SKIPPED
    assert "nowhere" in ABSENT.run().text


@pytest.mark.parametrize(
    ("validators", "options", "status"),
    [
        ([GOOD, ABSENT], [], 0),
        ([GOOD, ABSENT], ["--require"], 1),
        ([GOOD, BAD], [], 1),
        ([GOOD, BAD], ["--only", "good"], 0),
        ([GOOD], ["--only", "nothing of this name"], 1),
    ],
)
def test_status(
    monkeypatch: pytest.MonkeyPatch, validators: list[Validator], options: list[str], status: int
) -> None:
    monkeypatch.setattr(command, "VALIDATORS", validators)
    monkeypatch.setattr(sys, "argv", ["deployment", *options])
    assert command.main() == status


def test_a_warning_is_an_objection_where_silence_is_asked_for() -> None:
    assert told([sys.executable, "-c", SPEAK]) == ""
    with pytest.raises(Wrong, match="said"):
        told([sys.executable, "-c", SPEAK], silent=True)
    with pytest.raises(Wrong, match="status 4"):
        told([sys.executable, "-c", "raise SystemExit(4)"])


def test_what_is_not_here_is_missing() -> None:
    with pytest.raises(Missing, match="no-such-validator"):
        absent()
