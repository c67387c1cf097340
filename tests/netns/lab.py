"""A federation on hosts of its own: one replica a host, and one more host for all others.

Everything stays inside the hosts' namespaces; the test asks from the last host, as a client would.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from bft.errors import Unavailable
from chain.federation.client import FederationClient
from chain.params import MINIMAL, Params
from chain.records.score_log import Certified, LogEntry, decode_leaf
from coordinator import ask
from coordinator.ceremony import create_identity, make_genesis, write_genesis
from coordinator.main import run_replica
from gristmill.demo.fleet import Fleet
from miner.config import create_home as create_miner_home
from miner.main import run_miner
from miner.training.jobs import digits_job
from tests.netns import namespace
from tests.netns.log import read_log
from tests.netns.network import Network
from tests.patience import PATIENCE_S

REPLICAS = 4
CLIENT = REPLICAS
"""The host of miners and of the test itself."""
PORTS = (7400, 7401)
"""Of links and API."""
LOOK_EVERY_S = 0.2
SEED = 1

T = TypeVar("T")


class Lab:
    """A federation, its miners, and somebody who asks."""

    def __init__(self, root: Path, params: Params = MINIMAL, seed: int = SEED) -> None:
        self.root = root
        self.network = Network(REPLICAS + 1, seed)
        self.fleet = Fleet()
        self._asker = ThreadPoolExecutor(
            1, "asker", namespace.enter, (self.network.namespaces[CLIENT],)
        )
        job, snapshot = digits_job()
        self.homes = [root / f"replica-{index}" for index in range(REPLICAS)]
        members = []
        for index, home in enumerate(self.homes):
            link, api = (f"{namespace.address(index)}:{port}" for port in PORTS)
            members.append(create_identity(home, f"operator-{index}", link, api))
        self.genesis = make_genesis("far apart", members, params, job, snapshot)
        for home in self.homes:
            write_genesis(home, self.genesis, snapshot)
        self.urls = ask.urls_of(self.genesis.members)

    # Processes.

    def _start(self, name: str, host: int, target: Callable[..., int | None], *args: Any) -> None:
        path = self.network.namespaces[host]
        log = self.root / f"{name}.out"
        self.fleet.start(name, log, namespace.run_inside, path, target, *args)
        self.network.order("watch", pid=self.fleet.pid(name))

    def start_replica(self, index: int) -> None:
        """On its host."""
        self._start(f"replica-{index}", index, run_replica, self.homes[index])

    def start_miner(self, number: int) -> None:
        """On the client's host."""
        home = self.root / f"miner-{number}"
        create_miner_home(home, self.genesis)
        self._start(f"miner-{number}", CLIENT, run_miner, home)

    def close(self) -> None:
        """End all processes of this lab, then the network."""
        self._asker.shutdown()
        self.fleet.stop()
        self.network.close()

    # Asking.

    def aside(self, work: Callable[..., T], *args: Any) -> T:
        """`work(*args)` in a thread on the client's host."""
        return self._asker.submit(work, *args).result()

    def statuses(self) -> list[dict[str, Any]]:
        """What each replica says about itself; `{"error": ...}` where it says nothing."""
        return self.aside(ask.statuses, self.urls)

    def status(self, index: int) -> dict[str, Any]:
        """What one replica says."""
        (told,) = self.aside(ask.statuses, self.urls[index : index + 1])
        return told

    def until(
        self, what: str, condition: Callable[[Sequence[dict[str, Any]]], object]
    ) -> list[dict[str, Any]]:
        """Wait until the statuses fulfil `condition`; gives them.

        Raises:
            Unavailable: a process ended by itself, or patience did.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            told = self.statuses()
            ended = self.fleet.ended()
            if ended:
                raise Unavailable(f"while waiting for {what} these ended: {ended}")
            if all("error" not in status for status in told) and condition(told):
                return told
            if time.monotonic() > deadline:
                raise Unavailable(f"waited {PATIENCE_S} s for {what}; last heard: {told}")
            time.sleep(LOOK_EVERY_S)

    def log(self, index: int) -> tuple[LogEntry, ...]:
        """All that a replica has logged."""
        return self.aside(read_log, self.urls[index])

    def certified(self, index: int) -> list[bytes]:
        """The certificates in a replica's log."""
        records = (decode_leaf(entry.leaf) for entry in self.log(index))
        return [record.certificate for record in records if isinstance(record, Certified)]

    def client(self) -> FederationClient:
        """For use inside `aside`."""
        return FederationClient(self.genesis)
