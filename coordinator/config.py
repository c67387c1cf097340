"""An operator's settings and files: where one replica lives and how it listens.

The home directory of one replica:

    genesis.bin    public   the trust anchor, equal everywhere; its digest is the chain id
    member.bin     public   this replica's entry for the genesis record
    replica.yaml   public   settings, see ReplicaConfig
    tls.crt        public   PEM, stands in the genesis record
    keystore.json  secret   the key of the *.key files, sealed under a passphrase; without it they
                            are plain (coordinator/keys/store.py)
    identity.key   secret   hex, signs everything this replica says; its loss costs the membership
    ceremony.key   secret   share of the federation key, and seeds of ceremonies that are under way
    tls.key        secret   PEM
    guard.db       state    how far the keys may have signed; as journal.db, but kept apart from it
    journal.db     state    promises and the score log; never restore an old copy, never delete it
    blobs/         state    model snapshots and updates by digest; peers hold the same
    uploads/       state    updates that are coming in chunks; miners send them again
    replica.log    state    what happened, for people
    lock           state    held while the replica runs
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bft.codec.canonical import decode
from bft.crypto.identity import PrivateKey
from bft.errors import ConfigError, DecodeError
from chain.records.federation import GENESIS_BYTES_MAX, Genesis, MemberRecord
from chain.rules.founding import check_genesis
from chain.settings import SETTINGS_BYTES_MAX, parse_settings, variables
from coordinator.keys.passphrase import find_passphrase
from coordinator.keys.store import Keystore, open_keystore
from coordinator.settings import ReplicaConfig

SECRET_BYTES = 32
PORT_DIGITS = 5

IDENTITY, TLS = "identity", "tls"
"""Names in the keystore of the secrets that every home has."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one replica."""

    path: Path

    @property
    def genesis(self) -> Path:
        """The trust anchor."""
        return self.path / "genesis.bin"

    @property
    def member(self) -> Path:
        """This replica's public record."""
        return self.path / "member.bin"

    @property
    def config(self) -> Path:
        """Settings."""
        return self.path / "replica.yaml"

    @property
    def identity_key(self) -> Path:
        """Secret."""
        return self.path / "identity.key"

    @property
    def ceremony_key(self) -> Path:
        """Secret; comes with the first key ceremony."""
        return self.path / "ceremony.key"

    @property
    def tls_key(self) -> Path:
        """Secret."""
        return self.path / "tls.key"

    @property
    def tls_certificate(self) -> Path:
        """PEM."""
        return self.path / "tls.crt"

    @property
    def guard(self) -> Path:
        """SQLite, with a lock beside it; settings may put it elsewhere."""
        return self.path / "guard.db"

    @property
    def journal(self) -> Path:
        """SQLite."""
        return self.path / "journal.db"

    @property
    def blobs(self) -> Path:
        """Directory."""
        return self.path / "blobs"

    @property
    def uploads(self) -> Path:
        """Directory: chunks of artifacts that are not whole yet."""
        return self.path / "uploads"

    @property
    def tlog(self) -> Path:
        """Directory: the score log as it is published."""
        return self.path / "tlog"

    @property
    def log(self) -> Path:
        """Text."""
        return self.path / "replica.log"

    @property
    def lock(self) -> Path:
        """Held while the replica runs."""
        return self.path / "lock"

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Files that only their owner may read."""
        return (self.identity_key, self.tls_key)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a replica's process reads before it starts."""

    home: Home
    config: ReplicaConfig
    genesis: Genesis
    member: MemberRecord  # this replica's: the genesis record's, or else the home's
    keystore: Keystore
    identity: PrivateKey

    def __repr__(self) -> str:
        return f"Setup(home={self.home.path}, key={self.identity.public_key.hex()[:16]})"

    @property
    def index(self) -> int | None:
        """This replica's index in the first epoch; None if it was no member then."""
        return self.genesis.membership.index_by_key.get(self.identity.public_key)

    @property
    def guard(self) -> Path:
        """Where the memory of what the keys have signed is kept."""
        return self.home.path / self.config.guard.path


def load_config(path: Path) -> ReplicaConfig:
    """The settings in a YAML file, and over them those of the environment (GRISTMILL_REPLICA__*).

    Raises:
        ConfigError: too long, no YAML, or against ReplicaConfig; the text names file and path.
    """
    with path.open("rb") as file:
        data = file.read(SETTINGS_BYTES_MAX + 1)
    config = parse_settings(ReplicaConfig, data, str(path), variables("replica", os.environ))
    _check_addresses(config, str(path))
    return config


def _check_addresses(config: ReplicaConfig, spot: str) -> None:
    """Ports that there are not pass the pattern.  Raises ConfigError."""
    listen, standby = config.listen, config.standby
    named = {"listen.link": listen.link, "listen.api": listen.api, "listen.metrics": listen.metrics}
    if standby is not None:
        named |= {f"standby.etcd[{i}]": address for i, address in enumerate(standby.etcd)}
    for name, address in named.items():
        try:
            if address is not None:
                split_address(address)
        except ConfigError as error:
            raise ConfigError(f"{spot}: $.{name}: {error}") from None


def load_setup(path: Path, *, passphrase_file: Path | None = None) -> Setup:
    """The replica that lives at `path`.

    Args:
        passphrase_file: instead of what the settings say; see `find_passphrase`.

    Raises:
        ConfigError: a file is missing, damaged, readable by others (a secret) or writable by
            everybody (settings, genesis record), or does not fit the others; or the passphrase of
            the keys is wrong or nowhere.
    """
    home = Home(path)
    for file in (home.config, home.tls_certificate, *home.secrets):
        if not file.is_file():
            raise ConfigError(f"{file} is missing; `gristmill operator init` makes a home")
    if not home.genesis.is_file():
        raise ConfigError(f"{home.genesis} is missing; `gristmill operator join` puts it there")
    for file in (home.config, home.genesis):
        if file.stat().st_mode & stat.S_IWOTH:
            raise ConfigError(f"{file} can be written by everybody; chmod o-w it")
    genesis = read_record(home.genesis, Genesis)
    config = load_config(home.config)
    keystore = open_keystore(path, find_passphrase(path, config.passphrase, file=passphrase_file))
    keystore.read(TLS)
    identity = PrivateKey(_secret(keystore, IDENTITY))
    return Setup(
        home=home,
        config=config,
        genesis=genesis,
        member=_member(home, genesis, identity.public_key),
        keystore=keystore,
        identity=identity,
    )


def _member(home: Home, genesis: Genesis, key: bytes) -> MemberRecord:
    """The record of the replica with this identity key.  Raises ConfigError."""
    index = genesis.membership.index_by_key.get(key)
    if index is not None:
        return genesis.members[index]
    member = read_record(home.member, MemberRecord) if home.member.is_file() else None
    if member is None or member.key != key:
        raise ConfigError(
            f"{home.identity_key} belongs to no member of {home.genesis}, and {home.member}, with "
            "which it could become one, is missing or of another key"
        )
    return member


R = TypeVar("R", Genesis, MemberRecord)


def read_record(path: Path, kind: type[R]) -> R:
    """A public record's file.

    Raises:
        ConfigError: no `kind`, too long, or a genesis record that no chain can follow.
    """
    if path.stat().st_size > GENESIS_BYTES_MAX:
        raise ConfigError(f"{path}: longer than {GENESIS_BYTES_MAX} bytes")
    try:
        record = decode(kind, path.read_bytes(), bytes_max=GENESIS_BYTES_MAX)
        if isinstance(record, Genesis):
            check_genesis(record)
    except (DecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return record


def read_secret(path: Path) -> bytes:
    """The 32 bytes in a plain file of 64 hex digits.  Raises ConfigError; never shows them."""
    return _unhex(path.read_bytes(), path)


def _secret(keystore: Keystore, name: str) -> bytes:
    return _unhex(keystore.read(name), keystore.path(name))


def _unhex(content: bytes, path: Path) -> bytes:
    try:
        secret = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        raise ConfigError(f"{path} is not {SECRET_BYTES} bytes in hex") from None
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"{path} has {len(secret)} bytes; {SECRET_BYTES} expected")
    return secret


def split_address(address: str) -> tuple[str, int]:
    """(host, port); an IPv6 address loses its brackets.  Raises ConfigError."""
    host, _, port = address.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS else 0
    if not host or not 0 < number < 65536:
        raise ConfigError(f"address {address[:300]!r}; host:port expected")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ConfigError(f"address {address!r}; an IPv6 address stands in brackets")
    return host.removeprefix("[").removesuffix("]"), number
