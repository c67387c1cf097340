"""A wallet's files: sealed, whole, and refused when they are damaged."""

from pathlib import Path

import msgspec
import pytest

from bft.errors import ConfigError, Refused
from chain.wallet import home as files
from chain.wallet.account import descriptor_of
from chain.wallet.book import RECEIVE
from chain.wallet.home import Settings, account_of, load_book, save_book
from chain.wallet.sealed import Cost, Secrets, open_secrets, seal_secrets
from tests.chain.wallet.test_book import ACCOUNT, book, extend, paying, script

CHEAP = Cost(n_log2=4)
PLAIN = Secrets(words="abandon", keys=[bytes(32)])
SETTINGS = Settings(descriptor=descriptor_of(bytes(16)).encode(), keys=list(ACCOUNT.keys))


def test_secrets_open_with_their_passphrase_only() -> None:
    sealed = seal_secrets(PLAIN, "right", CHEAP)
    assert open_secrets(sealed, "right") == PLAIN
    assert sealed.box != seal_secrets(PLAIN, "right", CHEAP).box
    for wrong in ("wrong", "right "):
        with pytest.raises(ConfigError, match="passphrase is another one"):
            open_secrets(sealed, wrong)
    with pytest.raises(ConfigError, match="empty"):
        seal_secrets(PLAIN, "", CHEAP)
    for at in (0, len(sealed.box) // 2, len(sealed.box) - 1):
        box = sealed.box[:at] + bytes([sealed.box[at] ^ 1]) + sealed.box[at + 1 :]
        with pytest.raises(ConfigError):
            open_secrets(msgspec.structs.replace(sealed, box=box), "right")
    assert "abandon" not in repr(PLAIN)


def test_a_book_is_kept_as_it_is(tmp_path: Path) -> None:
    found = book()
    first = paying((script(RECEIVE, 3), 1_000), (script(RECEIVE, 4), 2_000))
    extend(found, first)
    found.give(RECEIVE)
    found.send(paying((b"\x51", 900), spends=(first.txid, 0)))
    save_book(tmp_path, found)
    again = load_book(tmp_path, account_of(SETTINGS), 0)
    assert again.__dict__ == {**found.__dict__, "script_at": again.script_at}
    assert (tmp_path / files.BOOK).stat().st_mode & 0o777 == 0o600


def test_damaged_files_are_said(tmp_path: Path) -> None:
    files.create_home(tmp_path, SETTINGS, seal_secrets(PLAIN, "x", CHEAP))
    with pytest.raises(ConfigError, match="holds a wallet already"):
        files.create_home(tmp_path, SETTINGS, None)
    for name, load in (
        (files.WALLET, lambda: files.load_settings(tmp_path)),
        (files.SECRETS, lambda: files.load_sealed(tmp_path)),
        (files.BOOK, lambda: load_book(tmp_path, ACCOUNT, 0)),
    ):
        for data in (b"", b"{", b"{}", b"[1]", b"\xff", b'{"format": "other"}'):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(ConfigError, match=name):
                load()
    with pytest.raises(ConfigError, match="gristmill wallet init"):
        files.load_settings(tmp_path / "nowhere")


def test_a_backup_holds_what_blocks_do_not_tell(tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "backup.json"
    files.create_home(home, SETTINGS, seal_secrets(PLAIN, "x", CHEAP))
    files.write_backup(home, path)
    found = files.read_backup(path)
    assert found.settings == SETTINGS
    assert found.secrets is not None
    assert open_secrets(found.secrets, "x") == PLAIN
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="overwrites nothing"):
        files.write_backup(home, path)


def test_too_many_transactions_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.wallet.book.PENDING_MAX", 1)
    found = book()
    found.send(paying((b"\x51", 1), spends=(b"a" * 32, 0)))
    with pytest.raises(Refused, match="wait for a block"):
        found.send(paying((b"\x51", 1), spends=(b"b" * 32, 0)))
