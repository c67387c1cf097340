"""A miner's home: made once, read strictly."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.errors import ConfigError
from miner.config import (
    CONFIG_FILE,
    GENESIS_FILE,
    KEY_FILE,
    MinerConfig,
    create_home,
    load_genesis,
    load_home,
)
from tests.chain.federation_fixture import GENESIS


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_home(tmp_path / "home", GENESIS, MinerConfig(federation=("http://a:1", "http://b:1")))
    return tmp_path / "home"


def test_a_home_is_read_as_it_was_made(tmp_path: Path) -> None:
    key = create_home(tmp_path, GENESIS, MinerConfig(nodes=("https://node.example",)))
    loaded = load_home(tmp_path)
    assert loaded.key.public_key == key
    assert loaded.genesis == GENESIS
    assert loaded.config == MinerConfig(nodes=("https://node.example",))


def test_the_key_is_readable_by_its_owner_only(home: Path) -> None:
    key_file = home / KEY_FILE
    assert key_file.stat().st_mode & 0o777 == 0o600
    key_file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_home(home)


def test_a_key_is_never_overwritten(home: Path) -> None:
    before = (home / KEY_FILE).read_bytes()
    with pytest.raises(ConfigError, match="one home is one miner"):
        create_home(home, GENESIS)
    assert (home / KEY_FILE).read_bytes() == before


@pytest.mark.parametrize("text", ["", "00" * 32, "ff" * 32, "00" * 31, "xyz", "a" * 1000])
def test_a_file_that_holds_no_key_is_refused(home: Path, text: str) -> None:
    (home / KEY_FILE).write_text(text)
    with pytest.raises(ConfigError):
        load_home(home)


@pytest.mark.parametrize(
    ("yaml", "names"),
    [
        ("devcie: cpu", "devcie"),
        ("device: cuda:0", "device"),
        ("device: 7", "device"),
        ("watts_per_core: 0", "watts_per_core"),
        ("niceness: 20", "niceness"),
        ("federation: [ftp://a]", "ftp"),
        ("federation: http://a:1", "federation"),
        ("nodes: [{}]", "nodes"),
        ("[1, 2", "miner.yaml"),
        ("- 1", "miner.yaml"),
        ("x" * 70_000, "bytes"),
        ("!!python/object/apply:os.system [exit]", "miner.yaml"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(home: Path, yaml: str, names: str) -> None:
    (home / CONFIG_FILE).write_text(yaml)
    with pytest.raises(ConfigError, match=names):
        load_home(home)


def test_an_empty_settings_file_means_the_defaults(home: Path) -> None:
    (home / CONFIG_FILE).write_text("")
    assert load_home(home).config == MinerConfig()


@pytest.mark.parametrize("name", [KEY_FILE, GENESIS_FILE, CONFIG_FILE])
def test_a_missing_file_is_named_with_what_to_do(home: Path, name: str) -> None:
    (home / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing; `gristmill miner init`"):
        load_home(home)


def test_a_genesis_record_that_is_missing_is_told_with_who_has_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is missing; .* that the federation's founder hands"):
        load_genesis(tmp_path / "genesis.bin")


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_genesis_record_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "genesis.bin").write_bytes(encode(GENESIS)[: -cut or None] + (b"" if cut else b"x"))
    with pytest.raises(ConfigError, match=r"genesis\.bin"):
        load_genesis(tmp_path / "genesis.bin")


def test_a_genesis_record_that_no_chain_can_follow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "genesis.bin").write_bytes(encode(replace(GENESIS, version=2)))
    with pytest.raises(ConfigError, match=r"genesis\.bin: genesis version 2"):
        load_genesis(tmp_path / "genesis.bin")
