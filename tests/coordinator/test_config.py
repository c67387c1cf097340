"""An operator's mistakes are told with the file and the field, before anything starts."""

from pathlib import Path

import pytest

from bft.errors import ConfigError
from chain.params import MINIMAL
from chain.settings import SETTINGS_BYTES_MAX
from chain.settings_text import example
from coordinator.ceremony import local_federation
from coordinator.config import (
    Home,
    load_config,
    load_setup,
    split_address,
)
from coordinator.settings import ReplicaConfig
from tests.sample import JOB, SNAPSHOT

HEAD = "api_version: gristmill/v1\nkind: Replica\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One of two replicas."""
    _, homes = local_federation(tmp_path, 2, MINIMAL, JOB, SNAPSHOT)
    return Home(homes[1])


def test_a_fresh_home_is_complete(home: Home) -> None:
    setup = load_setup(home.path)
    assert setup.index == 1
    assert setup.config == load_config(home.config)
    assert setup.member.key == setup.identity.public_key


def test_the_example_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(example(ReplicaConfig))
    (tmp_path / "b.yaml").write_text(HEAD)
    assert load_config(tmp_path / "a.yaml") == load_config(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limits: {uplaods: 3}\n", r"yaml: \$.limits: .*unknown field `uplaods`"),
        ("limits: {uploads: 0}\n", r"yaml: \$.limits.uploads: Expected `int` >= 1"),
        ("limits: {uploads: many}\n", r"\$.limits.uploads: Expected `int`, got `str`"),
        ("listen: {api: nowhere}\n", r"\$.listen.api: "),
        ("log_level: loud\n", r"\$.log_level: Invalid enum value 'loud'"),
        ("limits: {\n", "while parsing"),
        ("replicas: 4\n", r"yaml: \$: .*unknown field `replicas`"),
        ("listen: {api: 127.0.0.1:65536}\n", r"\$.listen.api: .*65536.*host:port expected"),
        ("limits: {uploads: 1}\nlimits: {uploads: 2}\n", "the key 'limits' stands here twice"),
    ],
)
def test_a_typo_is_an_error_with_its_path(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "replica.yaml"
    path.write_text(HEAD + text)
    with pytest.raises(ConfigError, match=told) as refused:
        load_config(path)
    assert str(path) in str(refused.value)


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / "replica.yaml"
    path.write_text(HEAD + "log_level: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        load_config(path)


def test_a_configuration_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "replica.yaml"
    path.write_text((HEAD + "#" * SETTINGS_BYTES_MAX)[:SETTINGS_BYTES_MAX])
    load_config(path)
    path.write_text(path.read_text() + "#")
    with pytest.raises(ConfigError, match="longer than"):
        load_config(path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("genesis.bin", "join"),
        ("replica.yaml", "init"),
        ("identity.key", "init"),
        ("tls.crt", "init"),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(
    home: Home, name: str, remedy: str
) -> None:
    (home.path / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing; `gristmill operator {remedy}`"):
        load_setup(home.path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_that_others_may_read_is_refused(home: Home, mode: int) -> None:
    home.identity_key.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_setup(home.path)


@pytest.mark.parametrize("name", ["replica.yaml", "genesis.bin"])
def test_settings_and_anchor_that_everybody_may_write_are_refused(home: Home, name: str) -> None:
    """Settings name a command that is run; the record says who is believed."""
    (home.path / name).chmod(0o664)
    load_setup(home.path)
    (home.path / name).chmod(0o646)
    with pytest.raises(ConfigError, match=f"{name} can be written by everybody; chmod o-w it"):
        load_setup(home.path)


@pytest.mark.parametrize("content", ["", "zz", "ab" * 31, "ab" * 33])
def test_a_damaged_secret_is_refused_and_not_shown(home: Home, content: str) -> None:
    home.identity_key.write_text(content)
    with pytest.raises(ConfigError) as refused:
        load_setup(home.path)
    assert not content or content not in str(refused.value)


def test_a_damaged_genesis_is_refused(home: Home) -> None:
    home.genesis.write_bytes(home.genesis.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="not a Genesis"):
        load_setup(home.path)


def test_a_key_of_no_member_is_refused(home: Home) -> None:
    home.identity_key.write_text("01" * 32)
    with pytest.raises(ConfigError, match="belongs to no member"):
        load_setup(home.path)


def test_secrets_are_not_shown(home: Home) -> None:
    setup = load_setup(home.path)
    assert setup.identity.secret.hex() not in repr(setup)


@pytest.mark.parametrize("address", ["", "host", ":7400", "host:", "host:0", "host:65536", "h:x"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ConfigError):
        split_address(address)
    assert split_address("host:65535") == ("host", 65535)


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert split_address("[::1]:7400") == ("::1", 7400)
    with pytest.raises(ConfigError, match="brackets"):
        split_address("::1:7400")
