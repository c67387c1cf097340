"""A chain node's settings: a YAML file or flags, read once, frozen.

Nothing here changes what is valid; the genesis record and the pinned federation key do.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta

from bft.codec.canonical import decode
from bft.crypto import bls
from bft.errors import BadSignature, ConfigError, DecodeError
from chain.durable import write_whole
from chain.federation.api import GENESIS
from chain.node.indexes import SCRIPTS, TRANSACTIONS
from chain.records.federation import (
    FEDERATION_KEY_BYTES_MAX,
    GENESIS_BYTES_MAX,
    FederationKey,
    Genesis,
)
from chain.records.peer_address import PeerAddress, Scope, parse_address
from chain.rules.founding import open_genesis
from chain.settings import SETTINGS_BYTES_MAX, parse_settings, says, variables

CONFIG_NAME = "node.yaml"  # in a node's home
GENESIS_COPY = "genesis.bin"  # in the home of a node that has no such file
KEY_FILE_BYTES_MAX = FEDERATION_KEY_BYTES_MAX
PEERS_MAX = 64
PORT_DIGITS = 5

Endpoint = Annotated[
    str, Meta(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s/]+):[0-9]{1,5}$", title="host:port")
]
"""host:port, or [IPv6]:port."""
Url = Annotated[str, Meta(pattern=r"^https?://[^\s]+$", title="URL")]
FileName = Annotated[str, Meta(title="path")]


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node.  Paths are taken relative to the file that they stand in."""

    genesis: Annotated[FileName, says("The genesis record's file; its digest is the chain id.")] = (
        GENESIS_COPY
    )
    home: Annotated[
        FileName, says("The directory of this node alone; holds chain.sqlite and a lock.")
    ] = "."
    federation_key: Annotated[
        str,
        says(
            "The ONE federation key, pinned: 192 hex digits.  Without it and a file the node "
            "derives it, once, from the genesis record and a replica's log.",
        ),
    ] = ""
    federation_key_file: Annotated[
        str, says("Or a file: 192 hex digits, or the federation's key record.")
    ] = ""
    p2p: Annotated[Endpoint, says("Listens here for peers.")] = "127.0.0.1:7500"
    http: Annotated[Endpoint, says("Listens here for its operator.")] = "127.0.0.1:7501"
    peers: Annotated[
        tuple[Endpoint, ...], Meta(max_length=PEERS_MAX), says("Dials these nodes.")
    ] = ()
    discover: Annotated[
        bool,
        says("Finds further nodes and dials 8 of them, and 2 more for blocks alone."),
    ] = True
    announce: Annotated[
        str,
        says(
            "host:port (an IP address) under which other nodes reach this one; without it the "
            "address that it listens on is announced, unless that is a wildcard."
        ),
    ] = ""
    private_addresses: Annotated[
        Literal["auto", "always", "never"],
        says(
            "Whether addresses that are not public are noted and told, among such; auto: when "
            "this node itself listens on one."
        ),
    ] = "auto"
    replicas: Annotated[
        tuple[Url, ...], Meta(max_length=PEERS_MAX), says("Asks these replicas.")
    ] = ()
    ask_members: Annotated[
        bool, says("Asks the federation's members of today too, wherever they answer.")
    ] = False
    prune_blocks: Annotated[
        int, Meta(ge=0, le=2**31), says("Final blocks that are kept; 0: all, else 288 or more.")
    ] = 0
    check_history: Annotated[
        bool, says("After a start from a snapshot: fetches and checks all blocks before it.")
    ] = True
    history_from: Annotated[
        tuple[Url, ...],
        Meta(max_length=PEERS_MAX),
        says("Asks these replicas or nodes for them, besides the replicas that it asks anyway."),
    ] = ()
    transaction_index: Annotated[bool, says("getrawtransaction finds every final transaction.")] = (
        False
    )
    address_index: Annotated[
        bool, says("getaddresshistory tells what paid or spent an address.")
    ] = False
    inbound_max: Annotated[
        int, Meta(ge=0, le=10_000), says("Connections that peers may open to it.")
    ] = 117
    api_version: Annotated[Literal["gristmill/v1"], says("Of this file's shape.")] = "gristmill/v1"
    kind: Annotated[Literal["Node"], says("Whose settings these are.")] = "Node"

    @property
    def indexes(self) -> tuple[str, ...]:
        """Names of what is kept beside the coins."""
        chosen = ((self.transaction_index, TRANSACTIONS), (self.address_index, SCRIPTS))
        return tuple(name for wanted, name in chosen if wanted)

    @property
    def private(self) -> bool:
        """Whether addresses that are not public may be noted and told."""
        own = parse_address(self.p2p) or parse_address(f"{self.p2p.rpartition(':')[0]}:1")
        inside = own is not None and own.scope in (Scope.PRIVATE, Scope.LOOPBACK)
        return {"auto": inside, "always": True, "never": False}[self.private_addresses]

    @property
    def announced(self) -> PeerAddress | None:
        """What `announce` says.  Raises ConfigError: no address."""
        found = parse_address(self.announce)
        if self.announce and (found is None or found.scope is Scope.NOBODY):
            raise ConfigError(f"announce: {self.announce}: host:port with an IP address expected")
        return found

    @property
    def database(self) -> Path:
        """Blocks, finality, evidence, discouraged addresses."""
        return Path(self.home) / "chain.sqlite"


def load_config(path: Path) -> NodeConfig:
    """The settings in a YAML file, and over them those of the environment (GRISTMILL_NODE__*).

    Raises:
        ConfigError: unreadable, too long, a name that does not exist, or a wrong value.
    """
    config = parse_settings(NodeConfig, _read(path, SETTINGS_BYTES_MAX), str(path), _environment())
    base = path.resolve().parent
    key_file = config.federation_key_file
    return msgspec.structs.replace(
        config,
        genesis=str(base / config.genesis),
        home=str(base / config.home),
        federation_key_file=str(base / key_file) if key_file else "",
    )


def without_file(home: Path) -> NodeConfig:
    """The settings of a node that has no file: defaults, and over them those of the environment.

    The genesis record is the one that the node kept when it ran here (`keep_genesis`).
    """
    config = parse_settings(NodeConfig, b"", "the environment", _environment())
    copy = home / GENESIS_COPY
    if config.genesis == GENESIS_COPY and copy.exists():
        config = msgspec.structs.replace(config, genesis=str(copy))
    return msgspec.structs.replace(config, home=str(home))


def keep_genesis(config: NodeConfig) -> None:
    """Keeps the genesis record in the home, so that `node tip --home` needs no flags.

    For a node that runs, so that the record is its chain's; where there is a node.yaml, that says
    where the record is.
    """
    home = Path(config.home)
    if (home / CONFIG_NAME).exists():
        return
    data, copy = _read(Path(config.genesis), GENESIS_BYTES_MAX), home / GENESIS_COPY
    if copy.exists() and copy.read_bytes() == data:
        return
    write_whole(copy, data, 0o644)


def _environment() -> dict[str, str]:
    return variables("node", os.environ)


def save_config(config: NodeConfig) -> Path:
    """Writes the settings, with absolute paths, into the node's home; returns where."""
    home = Path(config.home).resolve()
    home.mkdir(parents=True, exist_ok=True)
    key_file = config.federation_key_file
    settings = msgspec.structs.replace(
        config,
        home=str(home),
        genesis=str(Path(config.genesis).resolve()),
        federation_key_file=str(Path(key_file).resolve()) if key_file else "",
    )
    path = home / CONFIG_NAME
    path.write_text(yaml.safe_dump(msgspec.to_builtins(settings), sort_keys=False))
    return path


def load_genesis(path: Path) -> Genesis:
    """The genesis record in a file.  Raises ConfigError: unreadable, none, or no chain follows."""
    if not path.exists():
        raise ConfigError(
            f"{path}: no such file; the genesis record says which chain this is: --genesis FILE, "
            f"or genesis: in {CONFIG_NAME}, names it.  The federation's founder hands it out and "
            f"each replica's API serves it at {GENESIS}; the digest of it is the chain id"
        )
    return open_genesis(_read(path, GENESIS_BYTES_MAX), str(path))


def pinned_key(config: NodeConfig, chain_id: bytes) -> bytes:
    """96 bytes: the federation key that the operator pinned.

    A key that merely came over the network is never trusted, not even the first one.

    Raises:
        ConfigError: none or two are pinned, or it is no key of this chain.
    """
    if bool(config.federation_key) == bool(config.federation_key_file):
        raise ConfigError(
            "pin the federation key by exactly one of federation_key and federation_key_file; "
            "a key from the network is never trusted by itself"
        )
    if config.federation_key:
        return parse_key(config.federation_key, "federation_key")
    return read_key_file(Path(config.federation_key_file), chain_id)


def member_url(api: bytes) -> str:
    """Where a member's API answers, by its record."""
    return f"http://{api.decode('ascii')}"


def parse_key(text: str, source: str) -> bytes:
    """The key in 192 hex digits.  Raises ConfigError: it is none; `source` says whose it was."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        raise ConfigError(f"{source}: a federation key is 192 hex digits") from None
    return _checked(key, source)


def read_key_file(path: Path, chain_id: bytes | None) -> bytes:
    """The key in a file: hex digits, or an encoded FederationKey record of `chain_id`.

    Raises:
        ConfigError: unreadable, neither of both, or the record of another chain.
    """
    data = _read(path, KEY_FILE_BYTES_MAX)
    if len(data.strip()) == 192:
        return parse_key(data.decode("ascii", "replace"), str(path))
    try:
        record = decode(FederationKey, data, bytes_max=KEY_FILE_BYTES_MAX)
    except DecodeError as error:
        text = f"{path}: 192 hex digits, or the federation's key record, are expected: {error}"
        raise ConfigError(text) from None
    if chain_id is not None and record.chain_id != chain_id:
        raise ConfigError(
            f"{path}: the key of chain {record.chain_id.hex()[:16]}; this is {chain_id.hex()[:16]}"
        )
    return _checked(record.key, str(path))


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """(host, port) of host:port or [IPv6]:port.  Raises ConfigError: no such port."""
    host, _, port = endpoint.rpartition(":")
    if not (port.isascii() and port.isdigit()) or len(port) > PORT_DIGITS or int(port) > 65535:
        raise ConfigError(f"{endpoint}: a port is a number up to 65535")
    return host.strip("[]"), int(port)


def _checked(key: bytes, source: str) -> bytes:
    try:
        bls.load_g2(key)
    except (DecodeError, BadSignature) as error:
        raise ConfigError(f"{source}: no federation key: {error}") from None
    return key


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > bytes_max:
        raise ConfigError(f"{path}: more than {bytes_max} bytes")
    return data
