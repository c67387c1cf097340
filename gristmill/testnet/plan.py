"""What a test network is made of, and where each of its processes answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bft.errors import ConfigError

REPLICAS_MAX = 13
MINERS_MAX = 32
NODES_MAX = 8

LINK, API, METRICS = 7400, 7401, 7402
"""Ports of a replica that has a host name of its own."""
P2P, HTTP = 7500, 7501
"""Ports of such a node."""
PORT_FIRST = 7400
"""Where the ports begin if all processes share one address."""
PORTS_REPLICA, PORTS_NODE = 3, 2
LOOPBACK = "127.0.0.1"
STANDBY = "replica-0-standby"
"""Who takes over when replica-0 dies; its home's name, too."""
ETCD = f"{LOOPBACK}:2379"
"""Where the two find it: they share its address, so that nothing goes over a network."""
CREDENTIAL = "gristmill-passphrase"
"""File and credential name of a passphrase, as coordinator/keys/passphrase.py looks for it."""


class Network(StrEnum):
    """How the processes find each other."""

    NAMES = "names"  # replica-0, node-0 ...: containers, pods, or lines in /etc/hosts
    LOOPBACK = "loopback"  # 127.0.0.1 and ports of their own: one machine, nothing to prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One test network."""

    root: Path
    replicas: int = 4
    miners: int = 2
    nodes: int = 1
    network: Network = Network.NAMES
    ports: Sequence[int] = field(default=())  # loopback only; consecutive ones when left out
    plain_keys: bool = False
    standby: bool = False  # a second process with replica 0's identity, and an etcd between them

    def __post_init__(self) -> None:
        bounds = {
            "replicas": (self.replicas, 1, REPLICAS_MAX),
            "miners": (self.miners, 0, MINERS_MAX),
            "nodes": (self.nodes, 0, NODES_MAX),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise ConfigError(f"--{name} is {value}; {low} to {high} expected")
        if self.ports and len(self.ports) != self.ports_needed:
            raise ConfigError(f"{len(self.ports)} ports came; {self.ports_needed} are needed")

    @property
    def ports_needed(self) -> int:
        """If all share one address."""
        return PORTS_REPLICA * self.replicas + PORTS_NODE * self.nodes

    @property
    def names(self) -> tuple[str, ...]:
        """Every process, which is also its home's name: replica-0, ..., miner-0, ..., node-0."""
        kinds = (("replica", self.replicas), ("miner", self.miners), ("node", self.nodes))
        return tuple(f"{kind}-{index}" for kind, count in kinds for index in range(count))

    @property
    def processes(self) -> tuple[str, ...]:
        """`names`, and replica 0's standby if there is one."""
        return (*self.names, STANDBY) if self.standby else self.names

    @property
    def loopback(self) -> bool:
        """Whether all share one address."""
        return self.network is Network.LOOPBACK

    def home(self, name: str) -> Path:
        """Of a process."""
        return self.root / name

    def credentials(self, index: int) -> Path:
        """The directory with the passphrase of replica `index`."""
        return self.root / "secrets" / f"replica-{index}"

    def link(self, index: int) -> str:
        """host:port at which other replicas reach replica `index`."""
        return self._replica(index, 0, LINK)

    def api(self, index: int) -> str:
        """host:port at which everybody reaches replica `index`."""
        return self._replica(index, 1, API)

    def metrics(self, index: int) -> str:
        """host:port at which Prometheus reaches replica `index`."""
        return self._replica(index, 2, METRICS)

    def p2p(self, index: int) -> str:
        """host:port at which other nodes reach node `index`."""
        return self._node(index, 0, P2P)

    def http(self, index: int) -> str:
        """host:port at which its operator and miners reach node `index`."""
        return self._node(index, 1, HTTP)

    def _replica(self, index: int, offset: int, usual: int) -> str:
        if not self.loopback:
            return f"replica-{index}:{usual}"
        return f"{LOOPBACK}:{self._port(PORTS_REPLICA * index + offset)}"

    def _node(self, index: int, offset: int, usual: int) -> str:
        if not self.loopback:
            return f"node-{index}:{usual}"
        return (
            f"{LOOPBACK}:{self._port(PORTS_REPLICA * self.replicas + PORTS_NODE * index + offset)}"
        )

    def _port(self, number: int) -> int:
        return self.ports[number] if self.ports else PORT_FIRST + number


def replica_of(name: str) -> int:
    """0 of replica-0 and of replica-0-standby."""
    return int(name.split("-")[1])


def port_of(address: str) -> int:
    """7401 of replica-0:7401."""
    return int(address.rpartition(":")[2])
