"""An etcd of one node or of three, whose nodes can be killed, started again, and set back."""

import shutil
import subprocess
from pathlib import Path

from tests.deploy.etcd_server import etcd_program, wait_until_it_answers
from tests.ports import claim_ports


class Cluster:
    """Real processes on loopback; `start` them, `close` ends all."""

    def __init__(self, home: Path, nodes: int) -> None:
        self._home = home
        home.mkdir()
        program = etcd_program()
        assert program is not None, "no etcd: see tests/deploy/etcd_server.py"
        self._program = program
        ports = claim_ports(2 * nodes)
        self.endpoints = [f"127.0.0.1:{port}" for port in ports[:nodes]]
        self._peers = [f"http://127.0.0.1:{port}" for port in ports[nodes:]]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *nodes: int) -> None:
        """These nodes, all by default; returns when each answers."""
        chosen = nodes or tuple(range(len(self.endpoints)))
        for node in chosen:
            self._processes[node] = self._spawn(node)
        for node in chosen:
            wait_until_it_answers(self.endpoints[node], None, self._log(node))

    def _spawn(self, node: int) -> subprocess.Popen[bytes]:
        members = ",".join(f"node{index}={peer}" for index, peer in enumerate(self._peers))
        client, peer = f"http://{self.endpoints[node]}", self._peers[node]
        with self._log(node).open("ab") as log:
            return subprocess.Popen(
                [
                    self._program,
                    f"--name=node{node}",
                    f"--data-dir={self._data(node)}",
                    f"--listen-client-urls={client}",
                    f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster={members}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _data(self, node: int) -> Path:
        return self._home / f"node{node}"

    def _log(self, node: int) -> Path:
        return self._home / f"node{node}.log"

    def kill(self, *nodes: int) -> None:
        """kill -9, and collect them; all by default."""
        for node in nodes or tuple(self._processes):
            process = self._processes.pop(node)
            process.kill()
            process.wait()

    def copy(self) -> None:
        """Keep what every node has on its disk.  All must be down."""
        assert not self._processes
        for node in range(len(self.endpoints)):
            shutil.copytree(self._data(node), self._home / f"old{node}", dirs_exist_ok=True)

    def set_back(self) -> None:
        """The disks as they were at `copy`.  All must be down."""
        assert not self._processes
        for node in range(len(self.endpoints)):
            shutil.rmtree(self._data(node))
            shutil.copytree(self._home / f"old{node}", self._data(node))

    def close(self) -> None:
        """Ends whatever runs."""
        self.kill()
