"""A miner's home directory: its key, the chain that it works for, and its settings.

identity.key   32 bytes in hex, mode 0600; whoever has it owns the rewards.  Not replaceable.
genesis.bin    the genesis record: which federation, which rules, which job
miner.yaml     settings, see `MinerConfig`
units/         updates and salts of commitments that are not settled; a lost one costs its unit
certificates/  contribution certificates, each verified when it was written
cache/         model snapshots by digest; can be deleted at any time
events.jsonl   what the miner did, one JSON object a line; rotated at 16 MiB
"""

import os
import secrets
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from bft.codec.canonical import encode
from bft.crypto.identity import PrivateKey
from bft.errors import ConfigError
from chain.federation.transport import base_url
from chain.records.federation import GENESIS_BYTES_MAX, Genesis
from chain.rules.founding import open_genesis
from chain.settings import SETTINGS_BYTES_MAX, parse_settings, says, variables
from chain.settings_text import example
from miner.files import write_durably

KEY_FILE = "identity.key"
GENESIS_FILE = "genesis.bin"
CONFIG_FILE = "miner.yaml"

Device = Literal["cpu", "cuda", "mps", "auto"]
DEVICES: tuple[str, ...] = get_args(Device)
Url = Annotated[str, Meta(min_length=1, max_length=512, title="URL")]


class MinerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this machine mines; nothing here changes what an update is worth."""

    federation: Annotated[
        tuple[Url, ...], says("Replicas' addresses; empty: those of the genesis record.")
    ] = ()
    nodes: Annotated[
        tuple[Url, ...],
        says("Chain nodes of your own: they offer transactions, and get your blocks."),
    ] = ()
    device: Annotated[Device, says("Where to train; auto is the fastest that there is.")] = "cpu"
    watts_per_core: Annotated[
        int, Meta(ge=1, le=1000), says("Assumed where no energy counter can be read.")
    ] = 15
    niceness: Annotated[
        int, Meta(ge=0, le=19), says("Of training; 19 yields to everything else.")
    ] = 5
    sandbox: Annotated[bool, says("Train without network, writing nothing but the update.")] = False
    api_version: Annotated[Literal["gristmill/v1"], says("Of this file's shape.")] = "gristmill/v1"
    kind: Annotated[Literal["Miner"], says("Whose settings these are.")] = "Miner"


class MinerHome(NamedTuple):
    """What stands in a home directory, read once."""

    path: Path
    key: PrivateKey
    genesis: Genesis
    config: MinerConfig


def create_home(path: Path, genesis: Genesis, config: MinerConfig | None = None) -> bytes:
    """Make a key and a home directory for one chain; the new public key, 33 bytes.

    Raises:
        ConfigError: there is a key already, or the settings are wrong.
    """
    config = config or MinerConfig()
    _check(config, "the settings")
    if (path / KEY_FILE).exists():
        raise ConfigError(f"{path / KEY_FILE} exists; one home is one miner")
    for directory in (path, path / "units", path / "certificates", path / "cache"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = _new_key()
    write_durably(path / GENESIS_FILE, encode(genesis))
    said = {
        name: value
        for name, value in msgspec.to_builtins(config).items()
        if value != getattr(MinerConfig(), name)
    }
    write_durably(path / CONFIG_FILE, example(MinerConfig, said).encode())
    write_durably(path / KEY_FILE, key.secret.hex().encode() + b"\n", mode=0o600)
    return key.public_key


def load_home(path: Path) -> MinerHome:
    """Raises ConfigError: a file is missing, malformed, or the key is readable by others."""
    key_file = path / KEY_FILE
    text = _read(key_file, 256).decode("ascii", "replace").strip()
    if key_file.stat().st_mode & 0o077:
        raise ConfigError(f"{key_file} can be read by others; chmod 600 it")
    try:
        key = PrivateKey(bytes.fromhex(text))
    except ValueError:
        raise ConfigError(f"{key_file} holds no key of 64 hexadecimal digits") from None
    return MinerHome(
        path=path,
        key=key,
        genesis=load_genesis(path / GENESIS_FILE),
        config=load_config(path / CONFIG_FILE),
    )


def load_genesis(path: Path) -> Genesis:
    """Raises ConfigError: missing, no genesis record, or one that no chain can follow."""
    if not path.exists():
        raise ConfigError(
            f"{path} is missing; `gristmill miner init` takes the genesis record that the "
            "federation's founder hands out"
        )
    return open_genesis(_read(path, GENESIS_BYTES_MAX), str(path))


def load_config(path: Path) -> MinerConfig:
    """With what the environment (GRISTMILL_MINER__*) says instead."""
    environment = variables("miner", os.environ)
    config = parse_settings(MinerConfig, _read(path, SETTINGS_BYTES_MAX), str(path), environment)
    _check(config, str(path))
    return config


def _check(config: MinerConfig, spot: str) -> None:
    for name, urls in (("federation", config.federation), ("nodes", config.nodes)):
        for url in urls:
            try:
                base_url(url)
            except ConfigError as error:
                raise ConfigError(f"{spot}: $.{name}: {error}") from None


def _new_key() -> PrivateKey:
    """A scalar out of range has a chance of about 2**-128; then another one is drawn."""
    while True:
        try:
            return PrivateKey(secrets.token_bytes(32))
        except ConfigError:
            continue


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; `gristmill miner init` makes a home") from None
    except OSError as error:
        raise ConfigError(f"{path}: {os.strerror(error.errno or 0)}") from None
    if len(data) > bytes_max:
        raise ConfigError(f"{path} has more than {bytes_max} bytes")
    return data
