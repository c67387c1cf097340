"""A node of a local federation as a process: settings into its home, then run."""

from pathlib import Path

from bft.errors import ConfigError
from chain.node.config import NodeConfig, save_config
from chain.node.service import run_node as run_configured

LOOPBACK = "127.0.0.1"


def run_node(
    home: Path,
    federation_key: bytes,
    p2p: int,
    http: int,
    peers: list[str],
    replicas: list[str],
) -> None:
    """Runs a node on loopback until SIGTERM or SIGINT; its genesis record is home/genesis.bin.

    The settings are kept as home/node.yaml, so that `gristmill node ... --home` finds them.

    Args:
        home: the node's directory.
        federation_key: 96 bytes, pinned.
        p2p, http: ports.
        peers: host:port of the nodes to dial.
        replicas: URLs of the replicas to ask.

    Raises:
        ConfigError: as `chain.node.service.run_node`.
    """
    if not (home / "genesis.bin").exists():
        raise ConfigError(f"{home}: there is no genesis.bin")
    config = NodeConfig(
        genesis=str(home / "genesis.bin"),
        home=str(home),
        federation_key=federation_key.hex(),
        p2p=f"{LOOPBACK}:{p2p}",
        http=f"{LOOPBACK}:{http}",
        peers=tuple(peers),
        replicas=tuple(replicas),
    )
    save_config(config)
    run_configured(config)
