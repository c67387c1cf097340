"""Seeds and key shares are on the disk before anything is said that depends on them."""

import os
from pathlib import Path

import pytest

from bft.dkg.secrets import SEED_BYTES, Secrets
from bft.errors import ConfigError
from coordinator.effects import DrawSeed, KeepSecrets
from coordinator.keys.store import create_keystore, open_keystore
from coordinator.service import vault as module
from coordinator.service.vault import CEREMONY, Vault

SESSION = bytes(range(32))


async def test_a_seed_is_drawn_once_and_found_again(tmp_path: Path) -> None:
    keystore = create_keystore(tmp_path, None)
    vault = Vault(keystore)
    assert vault.secrets == Secrets()
    kept = (await vault.obey(DrawSeed(SESSION))).secrets
    seed = kept.seed_for(SESSION)
    assert seed is not None and len(seed) == SEED_BYTES and seed != bytes(SEED_BYTES)
    assert Vault(open_keystore(tmp_path, None)).secrets == vault.secrets == kept
    assert keystore.path(CEREMONY).stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").mkdir()
    other = Vault(create_keystore(tmp_path / "other", None))
    drawn = (await other.obey(DrawSeed(SESSION))).secrets
    assert drawn.seed_for(SESSION) != seed


async def test_what_is_not_kept_any_more_is_gone_from_the_file(tmp_path: Path) -> None:
    keystore = create_keystore(tmp_path, None)
    vault = Vault(keystore)
    seed = (await vault.obey(DrawSeed(SESSION))).secrets.seed_for(SESSION)
    assert seed is not None and seed in keystore.path(CEREMONY).read_bytes()
    await vault.obey(KeepSecrets(Secrets()))
    assert seed not in keystore.path(CEREMONY).read_bytes()
    assert Vault(keystore).secrets == Secrets()


async def test_a_disk_that_refuses_is_asked_until_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears of secrets that are not durable."""
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    keystore = create_keystore(tmp_path, None)
    failures = [OSError(28, os.strerror(28))] * 3
    write = type(keystore).write

    def refusing(self: object, name: str, secret: bytes) -> None:
        if failures:
            raise failures.pop()
        write(keystore, name, secret)

    monkeypatch.setattr(type(keystore), "write", refusing)
    kept = await Vault(keystore).obey(DrawSeed(SESSION))
    assert failures == [] and Vault(keystore).secrets == kept.secrets


def test_a_damaged_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    keystore = create_keystore(tmp_path, None)
    keystore.write(CEREMONY, b"\x92\x91secret")
    with pytest.raises(ConfigError, match="holds no seeds") as refused:
        Vault(keystore)
    assert "secret" not in str(refused.value).replace("ceremony.key", "")
