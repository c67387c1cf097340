"""What a demonstration is made of: how many processes, which fault, where everything lies."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bft.errors import ConfigError

REPLICAS_MAX = 13
MINERS_MAX = 32
NODES_MAX = 8
CYCLES_MAX = 1000


class Fault(StrEnum):
    """What goes wrong on purpose."""

    NONE = "none"
    PRIMARY_CRASH = "primary-crash"
    LYING_SCORER = "lying-scorer"
    DEAD_MINER = "dead-miner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One demonstration."""

    replicas: int
    miners: int
    nodes: int
    cycles: int
    fault: Fault
    home: Path
    job: str | None = None  # a job's directory, its file, or the name of one; None: digits
    params: str = "minimal"  # constants of the chain without a job of its own
    data: Path | None = None  # where the job's data come from, if it is to be prepared

    def __post_init__(self) -> None:
        bounds = {
            "replicas": (self.replicas, 1, REPLICAS_MAX),
            "miners": (self.miners, 1, MINERS_MAX),
            "nodes": (self.nodes, 0, NODES_MAX),
            "cycles": (self.cycles, 1, CYCLES_MAX),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise ConfigError(f"--{name} is {value}; {low} to {high} expected")
        if self.fault in (Fault.PRIMARY_CRASH, Fault.LYING_SCORER) and self.replicas < 4:
            raise ConfigError(
                f"--fault {self.fault} needs --replicas 4 or more: "
                f"{self.replicas} tolerate no faulty one"
            )
        if self.fault is Fault.DEAD_MINER and self.miners < 2:
            raise ConfigError("--fault dead-miner needs --miners 2 or more")

    @property
    def liar(self) -> int | None:
        """Index of the replica that lies in its evaluation tables."""
        return self.replicas - 1 if self.fault is Fault.LYING_SCORER else None

    @property
    def job_home(self) -> Path:
        """Where a job that had to be prepared is."""
        return self.home / "job"

    def replica_home(self, index: int) -> Path:
        """Where replica `index` keeps its keys, journal and log."""
        return self.home / f"replica-{index}"

    def miner_home(self, index: int) -> Path:
        """Where miner `index` keeps its key and certificates."""
        return self.home / f"miner-{index}"

    def node_home(self, index: int) -> Path:
        """Where node `index` keeps its chain."""
        return self.home / f"node-{index}"
