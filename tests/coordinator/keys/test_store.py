"""Secrets at rest: what is on the disk opens with the passphrase and in its own place only."""

import json
from pathlib import Path

import pytest

from bft.errors import ConfigError
from coordinator.keys.files import FILE_BYTES_MAX, read_private
from coordinator.keys.store import (
    KEYSTORE_FILE,
    SECRET_BYTES_MAX,
    Cost,
    Keystore,
    create_keystore,
    encrypt_home,
    is_encrypted,
    open_keystore,
)

CHEAP = Cost(n_log2=4)
SECRET = b"\x00\xff not for others" * 2


@pytest.fixture
def sealed(tmp_path: Path) -> Keystore:
    keystore = create_keystore(tmp_path, b"right", CHEAP)
    keystore.write("identity", SECRET)
    return keystore


def test_a_secret_comes_back_as_it_was_written(sealed: Keystore) -> None:
    assert open_keystore(sealed.home, b"right").read("identity") == SECRET


def test_what_is_on_the_disk_does_not_show_it(sealed: Keystore) -> None:
    for path in sealed.home.iterdir():
        assert SECRET[:8] not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_secret_never_looks_the_same(sealed: Keystore) -> None:
    before = sealed.path("identity").read_bytes()
    sealed.write("identity", SECRET)
    assert sealed.path("identity").read_bytes() != before


@pytest.mark.parametrize("passphrase", [b"wrong", b"Right", b"right ", b""])
def test_another_passphrase_opens_nothing(sealed: Keystore, passphrase: bytes) -> None:
    with pytest.raises(ConfigError, match="the passphrase does not open"):
        open_keystore(sealed.home, passphrase)


def test_an_encrypted_home_does_not_open_without_a_passphrase(sealed: Keystore) -> None:
    with pytest.raises(ConfigError, match="a passphrase is needed"):
        open_keystore(sealed.home, None)


def test_a_changed_byte_is_noticed(sealed: Keystore) -> None:
    """In each of the two files, wherever it stands."""
    for name in (KEYSTORE_FILE, "identity.key"):
        path = sealed.home / name
        whole = path.read_bytes()
        for spot in range(0, len(whole), 7):
            path.write_bytes(whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :])
            if json_equal(path.read_bytes(), whole):
                continue  # white space, or base64's unused bits
            with pytest.raises(ConfigError):
                open_keystore(sealed.home, b"right").read("identity")
        path.write_bytes(whole)
    assert open_keystore(sealed.home, b"right").read("identity") == SECRET


def json_equal(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_one_secret_does_not_pass_for_another(sealed: Keystore) -> None:
    sealed.write("seed", b"other")
    sealed.path("seed").replace(sealed.path("identity"))
    with pytest.raises(ConfigError, match="holds the secret 'seed'; 'identity' expected"):
        sealed.read("identity")
    renamed = sealed.path("identity").read_bytes().replace(b'"seed"', b'"identity"')
    sealed.path("identity").write_bytes(renamed)
    with pytest.raises(ConfigError, match="is damaged"):
        sealed.read("identity")


def test_a_secret_of_another_home_does_not_open(sealed: Keystore, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = create_keystore(tmp_path / "other", b"right", CHEAP)
    other.write("identity", SECRET)
    sealed.path("identity").write_bytes(other.path("identity").read_bytes())
    with pytest.raises(ConfigError, match="was encrypted in another home"):
        sealed.read("identity")


def test_a_new_passphrase_replaces_the_old_one(sealed: Keystore) -> None:
    before = sealed.path("identity").read_bytes()
    sealed.change_passphrase(b"new", CHEAP)
    assert open_keystore(sealed.home, b"new").read("identity") == SECRET
    assert sealed.path("identity").read_bytes() == before
    with pytest.raises(ConfigError, match="does not open"):
        open_keystore(sealed.home, b"right")


def test_a_plain_home_becomes_an_encrypted_one(tmp_path: Path) -> None:
    plain = create_keystore(tmp_path, None)
    for name in ("identity", "seed"):
        plain.write(name, b"07" * 32)
    assert plain.path("seed").read_bytes() == b"07" * 32
    assert encrypt_home(tmp_path, b"right", CHEAP) == ("identity", "seed")
    assert open_keystore(tmp_path, b"right").read("seed") == b"07" * 32
    assert all(b"0707" not in path.read_bytes() for path in tmp_path.iterdir())


def test_encrypting_goes_on_where_a_crash_ended_it(tmp_path: Path) -> None:
    create_keystore(tmp_path, None).write("seed", b"07" * 32)
    encrypt_home(tmp_path, b"right", CHEAP)
    (tmp_path / "late.key").write_bytes(b"08" * 32)  # as if the crash had come before it
    (tmp_path / "late.key").chmod(0o600)
    with pytest.raises(ConfigError, match="is not encrypted"):
        open_keystore(tmp_path, b"right").read("late")
    with pytest.raises(ConfigError, match="does not open"):
        encrypt_home(tmp_path, b"another", CHEAP)
    assert encrypt_home(tmp_path, b"right", CHEAP) == ("late",)
    assert open_keystore(tmp_path, b"right").read("late") == b"08" * 32


def test_encrypted_files_without_their_keystore_are_named_as_such(sealed: Keystore) -> None:
    (sealed.home / KEYSTORE_FILE).unlink()
    with pytest.raises(ConfigError, match="put it back from the backup"):
        open_keystore(sealed.home, None).read("identity")


def test_a_home_with_secrets_is_not_made_anew(sealed: Keystore) -> None:
    with pytest.raises(ConfigError, match="never overwritten"):
        create_keystore(sealed.home, b"right", CHEAP)


def test_a_plain_home_has_no_passphrase_to_change(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are plain"):
        create_keystore(tmp_path, None).change_passphrase(b"new", CHEAP)
    assert not is_encrypted(tmp_path)


def test_an_empty_passphrase_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        create_keystore(tmp_path, b"", CHEAP)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o601])
def test_what_others_can_read_is_refused(sealed: Keystore, mode: int) -> None:
    sealed.path("identity").chmod(mode)
    with pytest.raises(ConfigError, match="it must be 0600"):
        sealed.read("identity")


def test_files_have_a_bound(sealed: Keystore) -> None:
    with pytest.raises(ValueError, match="at most"):
        sealed.write("big", bytes(SECRET_BYTES_MAX + 1))
    sealed.write("big", bytes(SECRET_BYTES_MAX))
    assert sealed.read("big") == bytes(SECRET_BYTES_MAX)
    sealed.path("big").write_bytes(bytes(FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="is longer than"):
        read_private(sealed.path("big"))


def test_deleting_removes_and_may_be_repeated(sealed: Keystore) -> None:
    sealed.write("epoch-3", b"share")
    assert sealed.names() == ("epoch-3", "identity")
    sealed.delete("epoch-3")
    sealed.delete("epoch-3")
    assert sealed.names() == ("identity",)
    with pytest.raises(ConfigError, match=r"epoch-3\.key is missing"):
        sealed.read("epoch-3")


def test_a_cost_that_takes_all_memory_is_refused(sealed: Keystore) -> None:
    path = sealed.home / KEYSTORE_FILE
    record = json.loads(path.read_bytes())
    record["cost"]["n_log2"] = 20
    path.write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"cost\.n_log2"):
        open_keystore(sealed.home, b"right")


def test_neither_a_keystore_nor_its_text_shows_a_secret(sealed: Keystore) -> None:
    assert repr(sealed) == f"Keystore({sealed.home}, encrypted)"
