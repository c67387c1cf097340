"""Homes of nodes for the tests: genesis record, pinned key, ports that the system picks."""

from pathlib import Path
from typing import Any

from bft.codec.canonical import encode
from chain.node.config import NodeConfig
from tests.chain.federation_fixture import FEDERATION_KEY, GENESIS


def make_config(home: Path, **fields: Any) -> NodeConfig:
    """A node in `home` that listens on ports of the system's choice."""
    home.mkdir(parents=True, exist_ok=True)
    genesis = home / "genesis.bin"
    genesis.write_bytes(encode(GENESIS))
    settings: dict[str, Any] = {
        "genesis": str(genesis),
        "home": str(home),
        "federation_key": FEDERATION_KEY.hex(),
        "p2p": "127.0.0.1:0",
        "http": "127.0.0.1:0",
    }
    return NodeConfig(**{**settings, **fields})
