"""`gristmill operator init` and `operator keys`, as an operator types them."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from bft.errors import ConfigError
from coordinator.config import Home, load_config
from coordinator.keys.backup import read_backup
from coordinator.keys.passphrase import CREDENTIALS_DIRECTORY, find_passphrase
from coordinator.keys.store import KEYSTORE_FILE, open_keystore
from gristmill import exits
from gristmill.cli import main

INIT = ("operator", "init", "--name", "ada", "--link", "h:1", "--api", "h:2")


@pytest.fixture(autouse=True)
def nobody_sits_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CREDENTIALS_DIRECTORY, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, Any]:
    """(exit status, data or error) of one command with --json."""
    status = main([*map(str, args), "--json"])
    told = json.loads(capsys.readouterr().out)
    return status, told["data"] if told["ok"] else told["error"]["detail"]


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "ada.pass"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def home(tmp_path: Path, passphrase: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Encrypted, with its passphrase noted in the settings."""
    home = tmp_path / "ada"
    arguments = ("--home", home, "--passphrase-file", passphrase)
    assert run(capsys, *INIT, *arguments)[0] == exits.OK
    return home


def opened(home: Path) -> bytes:
    """The identity of a home, as a replica reads it."""
    found = find_passphrase(home, load_config(Home(home).config).passphrase)
    return open_keystore(home, found).read("identity")


def test_a_home_is_made_encrypted_and_knows_where_its_passphrase_is(home: Path) -> None:
    assert len(bytes.fromhex(opened(home).decode())) == 32
    assert opened(home).strip() not in Home(home).identity_key.read_bytes()


def test_a_home_is_plain_only_by_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = run(capsys, *INIT, "--home", tmp_path / "x")
    assert status == exits.CONFIG and "--plain-keys" in told
    assert not (tmp_path / "x").exists()
    assert main([*INIT, "--home", str(tmp_path / "x"), "--plain-keys"]) == exits.OK
    assert "not encrypted" in capsys.readouterr().err
    status, seen = run(capsys, "operator", "keys", "status", "--home", tmp_path / "x")
    assert not seen["encrypted"] and "identity" in seen["secrets"]


def test_both_choices_at_once_are_none(
    tmp_path: Path, passphrase: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--home", tmp_path / "x", "--plain-keys", "--passphrase-file", passphrase)
    assert main([*map(str, (*INIT, *arguments))]) == exits.USAGE


def test_a_plain_home_is_encrypted_later(
    tmp_path: Path, passphrase: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "x"
    assert run(capsys, *INIT, "--home", home, "--plain-keys")[0] == exits.OK
    before = Home(home).identity_key.read_bytes()
    arguments = ("--home", home, "--new-passphrase-file", passphrase)
    status, told = run(capsys, "operator", "keys", "encrypt", *arguments)
    assert status == exits.OK and {"identity", "tls"} <= set(told["encrypted"])
    assert open_keystore(home, b"correct horse").read("identity") == before


def test_a_new_passphrase_opens_and_the_old_one_does_not(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = opened(home)
    new = tmp_path / "new.pass"
    new.write_text("battery staple")
    new.chmod(0o600)
    arguments = ("--home", home, "--new-passphrase-file", new)
    assert run(capsys, "operator", "keys", "change-passphrase", *arguments)[0] == exits.OK
    assert open_keystore(home, b"battery staple").read("identity") == before
    with pytest.raises(ConfigError, match="does not open"):
        opened(home)


def test_a_backup_brings_the_keys_back_and_nothing_that_changes(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Issue 4: a restored old copy cannot sign twice, because it has no memory to sign from."""
    archive, again = tmp_path / "ada.tar", tmp_path / "again"
    status, _ = run(capsys, "operator", "keys", "backup", "--home", home, "--output", archive)
    assert status == exits.OK and archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as made:
        names = made.getnames()
    assert KEYSTORE_FILE in names and not {"guard.db", "journal.db"} & set(names)
    assert run(capsys, "operator", "keys", "restore", archive, "--home", again)[0] == exits.OK
    assert opened(again) == opened(home)
    assert not Home(again).guard.exists()
    status, told = run(capsys, "operator", "guard", "status", "--home", again)
    assert status == exits.CONFIG and "nobody knows what this key has signed" in told


def test_a_backup_of_plain_keys_has_to_be_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, archive = tmp_path / "x", tmp_path / "x.tar"
    assert run(capsys, *INIT, "--home", home, "--plain-keys")[0] == exits.OK
    arguments = ("operator", "keys", "backup", "--home", home, "--output", archive)
    assert run(capsys, *arguments)[0] == exits.CONFIG and not archive.exists()
    assert run(capsys, *arguments, "--plain")[0] == exits.OK
    assert run(capsys, *arguments, "--plain")[0] == exits.CONFIG  # it is there


def test_a_restore_overwrites_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "ada.tar"
    run(capsys, "operator", "keys", "backup", "--home", home, "--output", archive)
    before = opened(home)
    status, told = run(capsys, "operator", "keys", "restore", archive, "--home", home)
    assert status == exits.CONFIG and "never overwritten" in told
    assert opened(home) == before


@pytest.mark.parametrize("name", ["../identity.key", "/tmp/x.key", "guard.db", "a/b.key", ".key"])
def test_a_hostile_archive_writes_nothing(tmp_path: Path, name: str) -> None:
    archive, home = tmp_path / "x.tar", tmp_path / "home"
    with tarfile.open(archive, "w") as made:
        for entry in ("identity.key", name):
            info = tarfile.TarInfo(entry)
            info.size = 3
            made.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(ConfigError, match="belongs to no backup"):
        read_backup(archive, home)
    assert list(home.iterdir()) == []


def test_links_and_floods_in_an_archive_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    link = tarfile.TarInfo("identity.key")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(archive, "w") as made:
        made.addfile(link)
    with pytest.raises(ConfigError, match="belongs to no backup"):
        read_backup(archive, tmp_path / "home")
    big = tarfile.TarInfo("identity.key")
    big.size = 1 << 20
    with tarfile.open(archive, "w") as made:
        made.addfile(big, io.BytesIO(bytes(1 << 20)))
    with pytest.raises(ConfigError, match="at most"):
        read_backup(archive, tmp_path / "home")
    archive.write_bytes(b"no archive" * 1_000)
    with pytest.raises(ConfigError, match="is no backup"):
        read_backup(archive, tmp_path / "home")
