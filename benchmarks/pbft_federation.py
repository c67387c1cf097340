"""The federation that benchmarks/pbft.py, failover.py and stopped.py put under load.

Real replicas, one process each, as operators run them; only the evaluation pool is missing and the
rate limits for clients are lifted (benchmarks/pbft_replica.py).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain.federation import api
from chain.params import Params
from chain.records.federation import Genesis
from chain.records.job import Job
from chain.settings_text import example
from coordinator.ceremony import local_federation
from coordinator.config import Home
from coordinator.settings import ReplicaConfig
from tests.sample import JOB, SNAPSHOT, STILL

SETTINGS = example(ReplicaConfig) + (
    "limits: {connections: 4096, address_requests_s: 1000000, address_burst: 1000000,"
    " client_requests_s: 1000000, client_burst: 1000000}\n"
)
READY_S = 120.0


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    cpu_s: float
    rss_mb: float
    rss_max_mb: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """From /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
        return cls(
            cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
            rss_mb=int(kilobytes["VmRSS"]) / 1024,
            rss_max_mb=int(kilobytes["VmHWM"]) / 1024,
        )


class Federation:
    """The running processes of one federation."""

    def __init__(
        self, genesis: Genesis, homes: tuple[Path, ...], program: str = "benchmarks.pbft_replica"
    ) -> None:
        """`program`: the module that is one replica's process."""
        self.genesis, self.homes, self._program = genesis, homes, program
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, settings: str = SETTINGS) -> None:
        """Start all replicas, wait until the key ceremony is over everywhere."""
        for index, home in enumerate(self.homes):
            Home(home).config.write_text(settings)
            self.start_one(index)
        deadline = time.monotonic() + READY_S
        while not all(self.phase(index) == "REGISTRATION" for index in range(len(self.homes))):
            if time.monotonic() > deadline:
                raise SystemExit(f"no federation key after {READY_S:.0f} s")
            time.sleep(0.2)

    def start_one(self, index: int) -> None:
        """Start the process of one replica."""
        command = [sys.executable, "-m", self._program, str(self.homes[index])]
        self.processes[index] = subprocess.Popen(command)

    def kill(self, index: int) -> None:
        """kill -9."""
        process = self.processes.pop(index)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End them in good order."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)  # else one that is stopped would never hear
            process.terminate()
        for process in self.processes.values():
            process.wait()

    def status(self, index: int) -> dict[str, Any]:
        """What a replica says about itself; nothing while it is starting."""
        host, port = self.door(index)
        try:
            with urllib.request.urlopen(f"http://{host}:{port}{api.STATUS}", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (urllib.error.URLError, OSError):
            return {}

    def phase(self, index: int) -> str:
        """The cycle's phase at one replica."""
        return str(self.status(index).get("phase", ""))

    def door(self, index: int) -> tuple[str, int]:
        """Host and port of its HTTP door."""
        host, _, port = self.genesis.members[index].api.decode().rpartition(":")
        return host, int(port)

    def doors(self, spread: bool) -> list[tuple[str, int]]:
        """The primary's, or everybody's."""
        if spread:
            return [self.door(index) for index in range(len(self.homes))]
        return [self.door(int(self.status(0)["primary"]))]

    def usage(self) -> list[Usage]:
        """Of each replica that runs, by index."""
        return [Usage.of(self.processes[index].pid) for index in sorted(self.processes)]


@contextmanager
def founded(
    n: int,
    directory: Path | None,
    params: Params = STILL,
    job: Job = JOB,
    program: str = "benchmarks.pbft_replica",
) -> Iterator[Federation]:
    """A federation of n replicas below `directory`, not started yet; stopped at the end."""
    with tempfile.TemporaryDirectory(dir=directory) as root:
        federation = Federation(*local_federation(Path(root), n, params, job, SNAPSHOT), program)
        try:
            yield federation
        finally:
            federation.stop()
