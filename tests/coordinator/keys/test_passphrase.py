"""Where the passphrase comes from, and that what does not fit is refused by name."""

import sys
from pathlib import Path

import pytest

from bft.errors import ConfigError
from chain.settings import parse_settings
from coordinator.keys.passphrase import (
    CREDENTIALS_DIRECTORY,
    PASSPHRASE_BYTES_MAX,
    UNSAID,
    PassphraseSource,
    find_passphrase,
    new_passphrase,
)
from coordinator.keys.store import Cost, create_keystore


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An encrypted home, and no credential unless a test gives one."""
    monkeypatch.delenv(CREDENTIALS_DIRECTORY, raising=False)
    create_keystore(tmp_path, b"right", Cost(n_log2=4))
    return tmp_path


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_plain_home_has_none(tmp_path: Path) -> None:
    assert find_passphrase(tmp_path, PassphraseSource(file="nowhere")) is None


@pytest.mark.parametrize("content", [b"right", b"right\n", b"right\r\n", b"right\n\n"])
def test_from_a_file_beside_the_settings(home: Path, content: bytes) -> None:
    private(home / "pass", content)
    assert find_passphrase(home, PassphraseSource(file="pass")) == b"right"


def test_the_command_lines_file_comes_first(home: Path) -> None:
    private(home / "pass", b"settings")
    file = private(home / "other", b"flag")
    assert find_passphrase(home, PassphraseSource(file="pass"), file=file) == b"flag"


def test_from_a_systemd_credential(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = home / "credentials"
    directory.mkdir()
    monkeypatch.setenv(CREDENTIALS_DIRECTORY, str(directory))
    private(directory / "gristmill-passphrase", b"by default", 0o440)
    private(directory / "mine", b"named", 0o440)
    assert find_passphrase(home) == b"by default"
    assert find_passphrase(home, PassphraseSource(credential="mine")) == b"named"
    with pytest.raises(ConfigError, match="'other' is not there"):
        find_passphrase(home, PassphraseSource(credential="other"))


def test_from_a_command(home: Path) -> None:
    command = [sys.executable, "-c", "print('from a vault')"]
    assert find_passphrase(home, PassphraseSource(command=command)) == b"from a vault"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/nowhere/vault"], "No such file"),
        ([sys.executable, "-c", "raise SystemExit(4)"], "ended with status 4"),
        ([sys.executable, "-c", "pass"], "a passphrase of 0 bytes"),
        ([sys.executable, "-c", "print('a'); print('b')"], "more than one line"),
    ],
)
def test_a_command_that_fails_is_named(home: Path, command: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        find_passphrase(home, PassphraseSource(command=command))


def test_a_person_is_asked_last(home: Path) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    assert find_passphrase(home, ask=ask) == b"typed"
    assert asked == [f"Passphrase of {home}: "]


def test_without_any_source_the_error_names_them(home: Path) -> None:
    with pytest.raises(ConfigError, match="--passphrase-file"):
        find_passphrase(home, UNSAID)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"x" * (PASSPHRASE_BYTES_MAX + 1)])
def test_what_is_no_passphrase_is_refused(home: Path, content: bytes) -> None:
    private(home / "pass", content)
    with pytest.raises(ConfigError):
        find_passphrase(home, PassphraseSource(file="pass"))


def test_a_file_that_others_can_read_is_refused(home: Path) -> None:
    private(home / "pass", b"right", 0o644)
    with pytest.raises(ConfigError, match="it must be 0600"):
        find_passphrase(home, PassphraseSource(file="pass"))


def test_a_new_one_is_typed_twice() -> None:
    answers = iter(["one", "one", "one", "two"])
    assert new_passphrase(None, lambda _: next(answers)) == b"one"
    with pytest.raises(ConfigError, match="differ"):
        new_passphrase(None, lambda _: next(answers))


def test_settings_name_at_most_one_source() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        parse_settings(PassphraseSource, b"{file: a, credential: b}", "settings")
