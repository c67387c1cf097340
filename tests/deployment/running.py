"""A test network for real: what `gristmill testnet` writes, started as its units say.

This is the little of systemd that it takes: ExecStart with Environment and LoadCredential, a socket
for READY=1, Restart=on-failure, and SIGTERM.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from chain.params import MINIMAL
from gristmill.testnet.plan import CREDENTIAL, Network, Plan
from gristmill.testnet.write import write_testnet
from miner.training.jobdir import JobDirectory
from miner.training.jobs import digits_job
from tests.deployment.outcome import ROOT, Wrong
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

LOOK_EVERY_S = 0.2
STATUS_BYTES_MAX = 65536
CONFIG = 3  # exit status of a node whose federation has no key yet


def testnet_runs() -> str:
    """Four replicas, two miners and a node: all ready, a final block at the node, all stopped."""
    with tempfile.TemporaryDirectory() as place:
        plan = Plan(root=Path(place) / "net", network=Network.LOOPBACK)
        plan = Plan(root=plan.root, network=plan.network, ports=claim_ports(plan.ports_needed))
        job, snapshot = digits_job()
        write_testnet(plan, JobDirectory(job, MINIMAL, snapshot))
        started = time.monotonic()
        with _running(plan) as services:
            _wait("every process to be ready", services, lambda: all(s.ready for s in services))
            url = f"http://{plan.http(0)}/v1/status"
            _wait("a final block at node-0", services, lambda: _final_height(url) >= 1)
            took_s = time.monotonic() - started
            ended = {service.name: service.stop() for service in services}
        bad = {name: status for name, status in ended.items() if status != 0}
        if bad:
            raise Wrong(f"ended with another status than 0 after SIGTERM: {bad}")
    return f"{len(ended)} processes ready, the first block final after {took_s:.0f} s, all stopped"


class Service:
    """One unit, started."""

    def __init__(self, name: str, unit: str, place: Path) -> None:
        """`place`: for its socket and its log."""
        self.name, self.ready = name, False
        self._argv = [
            sys.executable,
            "-m",
            "gristmill",
            *shlex.split(_values(unit, "ExecStart")[0])[1:],
        ]
        self._log = place / f"{name}.log"
        path = place / f"{name}.notify"
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(path))
        self._manager.setblocking(False)
        self._environ = {**os.environ, "NOTIFY_SOCKET": str(path)}
        self._environ |= dict(one.split("=", 1) for one in _values(unit, "Environment"))
        for credential in _values(unit, "LoadCredential"):
            credential_name, _, source = credential.partition(":")
            assert credential_name == CREDENTIAL
            self._environ["CREDENTIALS_DIRECTORY"] = str(Path(source).parent)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._argv, env=self._environ, cwd=ROOT, stdout=log, stderr=log)

    def look(self) -> None:
        """Hear what it says; start it again as its unit would.  Raises Wrong: it has ended."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.ready |= self._manager.recv(64) == b"READY=1"
        status = self._process.poll()
        if status == CONFIG and self.name.startswith("node-"):
            self._process = self._start()
        elif status is not None:
            raise Wrong(f"{self.name} ended with status {status}\n{self._log.read_text()[-2000:]}")

    def stop(self) -> int:
        """SIGTERM; its exit status.  What does not end is killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """And close the socket."""
        self._process.kill()
        self._process.wait()
        self._manager.close()


@contextlib.contextmanager
def _running(plan: Plan) -> Iterator[list[Service]]:
    services: list[Service] = []
    try:
        for name in plan.names:
            unit = (plan.root / "systemd" / f"gristmill-testnet-{name}.service").read_text()
            services.append(Service(name, unit, plan.root))
        yield services
    finally:
        for service in services:
            service.kill()


def _wait(what: str, services: list[Service], done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        for service in services:
            service.look()
        if done():
            return
        if time.monotonic() > deadline:
            late = [service.name for service in services if not service.ready]
            raise Wrong(f"{what} did not come within {PATIENCE_S} s; not ready: {late or 'nobody'}")
        time.sleep(LOOK_EVERY_S)


def _final_height(url: str) -> int:
    """-1 while it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return int(json.loads(answer.read(STATUS_BYTES_MAX))["final_height"])
    except (urllib.error.URLError, ConnectionError):
        return -1


def _values(unit: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]
