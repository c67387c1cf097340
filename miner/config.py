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
from typing import Annotated, NamedTuple

import msgspec
import yaml
from msgspec import Meta

from bft.codec.canonical import encode
from bft.crypto.identity import PrivateKey
from bft.errors import ConfigError
from chain.federation.transport import base_url
from chain.records.federation import GENESIS_BYTES_MAX, Genesis
from chain.rules.founding import open_genesis
from chain.settings import SETTINGS_BYTES_MAX, parse_settings
from miner.files import write_durably

KEY_FILE = "identity.key"
GENESIS_FILE = "genesis.bin"
CONFIG_FILE = "miner.yaml"
DEVICES = ("cpu", "cuda", "mps", "auto")


class MinerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this machine mines; nothing here changes what an update is worth."""

    federation: tuple[str, ...] = ()  # replicas' addresses; empty: those of the genesis record
    nodes: tuple[str, ...] = ()  # our own: they offer transactions, and get our blocks
    device: str = "cpu"  # one of DEVICES; auto is the fastest that there is
    watts_per_core: Annotated[int, Meta(ge=1, le=1000)] = 15  # where no energy counter is readable
    niceness: Annotated[int, Meta(ge=0, le=19)] = 5  # of training; 19 yields to everything else
    sandbox: bool = False  # train without network, writing nothing but the update (sandbox.py)


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
    settings = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False)
    write_durably(path / CONFIG_FILE, settings.encode())
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
        config=_load_config(path / CONFIG_FILE),
    )


def load_genesis(path: Path) -> Genesis:
    """Raises ConfigError: missing, no genesis record, or one that no chain can follow."""
    return open_genesis(_read(path, GENESIS_BYTES_MAX), str(path))


def _load_config(path: Path) -> MinerConfig:
    config = parse_settings(MinerConfig, _read(path, SETTINGS_BYTES_MAX), str(path))
    _check(config, str(path))
    return config


def _check(config: MinerConfig, spot: str) -> None:
    if config.device not in DEVICES:
        raise ConfigError(f"{spot}: device is {config.device!r}; one of {DEVICES} expected")
    for url in (*config.federation, *config.nodes):
        base_url(url)


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
