"""A node's settings: a typo is an error, and the federation key is pinned or nothing starts."""

from pathlib import Path

import msgspec
import pytest

from bft.codec.canonical import encode
from bft.errors import ConfigError
from chain.node.config import (
    load_config,
    load_genesis,
    pinned_key,
    save_config,
    split_endpoint,
)
from chain.records.federation import FederationKey
from chain.settings import SETTINGS_BYTES_MAX
from tests.chain.federation_fixture import CHAIN_ID, FEDERATION_KEY, GENESIS, make_genesis
from tests.chain.node.homes import make_config

RECORD = FederationKey(
    chain_id=CHAIN_ID,
    epoch=0,
    members=GENESIS.members,
    commitments=(FEDERATION_KEY,),
    qualified=(0,),
    activation=bytes(48),
)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_saved_settings_load_again(tmp_path: Path) -> None:
    config = make_config(tmp_path, peers=("127.0.0.1:1", "[::1]:2"), replicas=("http://a:1",))
    assert load_config(save_config(config)) == config


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "node.yaml", "genesis: g.bin\nhome: data\nfederation_key_file: k\n")
    config = load_config(path)
    assert config.genesis == str(tmp_path / "g.bin")
    assert config.home == str(tmp_path / "data")
    assert config.federation_key_file == str(tmp_path / "k")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("peer: [a:1]\n", "peer"),
        ("p2p: nowhere\n", "p2p"),
        ("inbound_max: -1\n", "inbound_max"),
        ("inbound_max: many\n", "inbound_max"),
        ("replicas: [ftp://x]\n", "replicas"),
        ("kind: Miner\n", "kind"),
        ("- a\n", "array"),
        ("a: [\n", "line 2"),
        ("!!python/object/apply:os.getcwd []\n", "python"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(write(tmp_path / "node.yaml", text))


def test_a_file_that_is_missing_or_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "node.yaml")
    with pytest.raises(ConfigError, match="more than"):
        load_config(write(tmp_path / "node.yaml", "#" * (SETTINGS_BYTES_MAX + 1)))


def test_a_genesis_record_must_be_one(tmp_path: Path) -> None:
    assert load_genesis(Path(make_config(tmp_path).genesis)) == GENESIS
    with pytest.raises(ConfigError, match="Genesis"):
        load_genesis(write(tmp_path / "g", "no"))


def test_a_genesis_record_that_no_chain_can_follow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(encode(msgspec.structs.replace(GENESIS, version=2)))
    with pytest.raises(ConfigError, match="g: genesis version 2"):
        load_genesis(tmp_path / "g")


def test_without_a_pinned_key_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="never trusted"):
        pinned_key(make_config(tmp_path, federation_key=""), CHAIN_ID)


def test_two_pinned_keys_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exactly one"):
        pinned_key(make_config(tmp_path, federation_key_file="key"), CHAIN_ID)


@pytest.mark.parametrize("content", [FEDERATION_KEY.hex().encode() + b"\n", encode(RECORD)])
def test_a_key_file_holds_hex_digits_or_the_key_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    config = make_config(tmp_path, federation_key="", federation_key_file=str(tmp_path / "key"))
    assert pinned_key(config, CHAIN_ID) == FEDERATION_KEY


def test_a_key_record_of_another_chain_is_refused(tmp_path: Path) -> None:
    other = msgspec.structs.replace(RECORD, chain_id=make_genesis(b"another").chain_id)
    (tmp_path / "key").write_bytes(encode(other))
    config = make_config(tmp_path, federation_key="", federation_key_file=str(tmp_path / "key"))
    with pytest.raises(ConfigError, match="key of chain"):
        pinned_key(config, CHAIN_ID)


@pytest.mark.parametrize("key", ["00" * 96, "zz" * 96, "ab", "c0" + "00" * 95])
def test_what_is_no_point_of_the_curve_is_no_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="federation"):
        pinned_key(make_config(tmp_path, federation_key=key), CHAIN_ID)


def test_an_endpoint_has_a_port_that_exists() -> None:
    assert split_endpoint("[::1]:65535") == ("::1", 65535)
    with pytest.raises(ConfigError, match="65535"):
        split_endpoint("host:65536")
