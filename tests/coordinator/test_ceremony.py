"""How a federation is founded: each operator's secrets stay in its own home."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.errors import ConfigError
from chain.params import MINIMAL
from coordinator.ceremony import (
    create_identity,
    free_ports,
    local_federation,
    make_genesis,
    write_genesis,
)
from coordinator.config import Home, load_setup
from tests.sample import JOB, SNAPSHOT


def test_no_home_holds_anothers_secrets(tmp_path: Path) -> None:
    _, homes = local_federation(tmp_path, 4, MINIMAL, JOB, SNAPSHOT)
    for home in homes:
        others = [other for other in homes if other != home]
        foreign = {path.read_bytes() for other in others for path in Home(other).secrets}
        assert foreign.isdisjoint(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    create_identity(tmp_path / "home", "Ada", "127.0.0.1:1", "127.0.0.1:2")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    for path in Home(tmp_path / "home").secrets:
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_member_record_holds_no_secret(tmp_path: Path) -> None:
    member = create_identity(tmp_path, "Ada", "127.0.0.1:1", "127.0.0.1:2")
    published = encode(member)
    assert bytes.fromhex(Home(tmp_path).identity_key.read_text()) not in published


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    create_identity(tmp_path, "Ada", "127.0.0.1:1", "127.0.0.1:2")
    before = Home(tmp_path).identity_key.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        create_identity(tmp_path, "Ada", "127.0.0.1:1", "127.0.0.1:2")
    assert Home(tmp_path).identity_key.read_bytes() == before


def test_the_genesis_is_the_same_in_every_home_and_names_the_first_model(tmp_path: Path) -> None:
    genesis, homes = local_federation(tmp_path, 4, MINIMAL, JOB, SNAPSHOT)
    assert {Home(home).genesis.read_bytes() for home in homes} == {encode(genesis)}
    assert [load_setup(home).index for home in homes] == [0, 1, 2, 3]


def test_a_member_cannot_be_in_it_twice(tmp_path: Path) -> None:
    member = create_identity(tmp_path, "Ada", "127.0.0.1:1", "127.0.0.1:2")
    with pytest.raises(ConfigError, match="identity key"):
        make_genesis("twice", [member, member], MINIMAL, JOB, SNAPSHOT)


def test_a_federation_of_nobody_is_none() -> None:
    with pytest.raises(ConfigError, match="at least one member"):
        make_genesis("nobody", [], MINIMAL, JOB, SNAPSHOT)


def test_another_first_model_is_refused(tmp_path: Path) -> None:
    genesis, homes = local_federation(tmp_path, 1, MINIMAL, JOB, SNAPSHOT)
    with pytest.raises(ConfigError, match="first model"):
        write_genesis(homes[0], genesis, SNAPSHOT + b"!")


def test_a_genesis_is_never_replaced_by_another(tmp_path: Path) -> None:
    genesis, homes = local_federation(tmp_path, 1, MINIMAL, JOB, SNAPSHOT)
    write_genesis(homes[0], genesis, SNAPSHOT)  # the same one may come again
    with pytest.raises(ConfigError, match="another chain"):
        write_genesis(homes[0], replace(genesis, name=b"other"), SNAPSHOT)


def test_a_home_without_keys_takes_no_genesis(tmp_path: Path) -> None:
    genesis, _ = local_federation(tmp_path / "theirs", 1, MINIMAL, JOB, SNAPSHOT)
    with pytest.raises(ConfigError, match="operator init"):
        write_genesis(tmp_path / "ours", genesis, SNAPSHOT)


def test_who_is_no_member_takes_a_genesis_to_observe(tmp_path: Path) -> None:
    genesis, _ = local_federation(tmp_path / "theirs", 1, MINIMAL, JOB, SNAPSHOT)
    member = create_identity(tmp_path / "ours", "Ada", "127.0.0.1:1", "127.0.0.1:2")
    write_genesis(tmp_path / "ours", genesis, SNAPSHOT)
    setup = load_setup(tmp_path / "ours")
    assert (setup.index, setup.member) == (None, member)


def test_two_ports_a_replica_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two each"):
        local_federation(tmp_path, 2, MINIMAL, JOB, SNAPSHOT, ports=[1, 2, 3])


def test_free_ports_are_different_ones() -> None:
    assert len(set(free_ports(50))) == 50


@pytest.mark.parametrize(
    ("name", "link"), [("", "h:1"), ("x" * 65, "h:1"), ("Ada", "nowhere"), ("Ada", "h:70000")]
)
def test_what_no_member_record_can_hold_makes_no_keys(tmp_path: Path, name: str, link: str) -> None:
    with pytest.raises(ConfigError):
        create_identity(tmp_path, name, link, "127.0.0.1:2")
    assert not any(path.exists() for path in Home(tmp_path).secrets)
