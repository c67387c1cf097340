"""The federation key of a node to which nobody gave one: derived from the genesis record.

The beginning of the score log proves it (chain/audit/anchor.py), whichever replica serves it.  What
was derived is kept in the node's home, so that it is derived once.
"""

import logging
from pathlib import Path

import msgspec

from bft.codec.canonical import encode
from bft.errors import ConfigError, DecodeError, FederationError
from chain.audit.anchor import derive_key
from chain.audit.fetch import ReplicaLog
from chain.node.config import NodeConfig, load_genesis, member_url, read_key_file
from chain.records.federation import Genesis

KEY_NAME = "federation-key.hex"  # in a node's home
LOG = logging.getLogger("gristmill.node")


def anchored(config: NodeConfig) -> NodeConfig:
    """The settings with a federation key: the pinned one, or else the derived one.

    Raises:
        ConfigError: nobody is there to serve the log, or no log leads to a key.
    """
    if config.federation_key or config.federation_key_file:
        return config
    kept = Path(config.home) / KEY_NAME
    if not kept.exists():
        genesis = load_genesis(Path(config.genesis))
        key = _derived(genesis, sources(config, genesis))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(key.hex() + "\n")
    return msgspec.structs.replace(config, federation_key=read_key_file(kept, None).hex())


def sources(config: NodeConfig, genesis: Genesis) -> tuple[str, ...]:
    """URLs of the replicas that may be asked, before any change of members is known."""
    members = tuple(member_url(member.api) for member in genesis.members)
    return (*config.replicas, *(members if config.ask_members else ()))


def _derived(genesis: Genesis, urls: tuple[str, ...]) -> bytes:
    """From the first log that leads to a key; all that do lead to the same."""
    troubles = []
    for url in urls:
        try:
            key = derive_key(encode(genesis), ReplicaLog(url).entries())
        except (FederationError, DecodeError) as error:
            troubles.append(f"{url}: {error}")
        else:
            LOG.warning("federation key %s follows from the log of %s", key.hex()[:16], url)
            return key
    raise ConfigError(
        "no federation key is pinned (federation_key, federation_key_file), and none follows from "
        f"the genesis record: {'; '.join(troubles) or 'no replica is named that could be asked'}"
    )
