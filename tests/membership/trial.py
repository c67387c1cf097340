"""A federation that changes its members while it works: real processes, the operators' commands.

    4 replicas -> one is replaced -> 7 -> fresh key shares -> back to 4

Everything goes through the doors that operators, miners, nodes and auditors have.  What must hold
at the end: the federation key's bytes are those of the beginning, cycles went on in every epoch, an
old key share signs nothing any more, a node that knew only the genesis record holds the same chain,
and the audit passes.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

from msgspec.structs import replace

from bft.codec.canonical import decode
from bft.crypto import bls
from bft.crypto.threshold import KeyShare, PublicPolynomial, sign_share, verify_share
from bft.errors import BadSignature
from chain.federation import api
from chain.federation.api import EPOCHS
from chain.node.config import NodeConfig, save_config
from chain.node.service import run_node
from chain.params import MINIMAL, Params
from chain.records.federation import FederationKey
from chain.records.job import Job
from coordinator.ceremony import create_identity, local_federation, write_genesis
from coordinator.config import Home, load_setup
from coordinator.main import run_replica
from coordinator.service.vault import Vault
from gristmill.demo.fleet import Fleet
from miner.config import create_home as create_miner_home
from miner.main import run_miner
from tests.coordinator.service.mill import NoPool
from tests.ports import claim_ports

PATIENCE_S = 240
LOOK_EVERY_S = 0.1
OFTEN = {"checkpoint_interval": 16, "window": 32}  # so that an epoch ends soon


def run_idle_replica(home: Path) -> int:
    """A replica of a federation without miners: it never measures anything."""
    return run_replica(home, lambda workers: NoPool())


class Trial:
    """One run."""

    def __init__(self, root: Path, miners: int, nodes: int, say: Callable[[str], None]) -> None:
        """With no miners, cycle after cycle closes empty, and torch is never loaded."""
        self.root, self.miners, self.nodes, self._say = root, miners, nodes, say
        self.fleet = Fleet()
        self.homes: dict[str, Path] = {}  # by the operator's name
        self.began = time.monotonic()
        self._node_urls: list[str] = []

    def say(self, text: str) -> None:
        """One line about how it goes."""
        self._say(f"{time.monotonic() - self.began:6.1f} s  {text}")

    # The processes.

    def found(self) -> None:
        """Four replicas; miners and nodes if there are to be any."""
        params, job, snapshot = self._rules()
        ports = claim_ports(8)
        self.genesis, homes = local_federation(self.root, 4, params, job, snapshot, ports)
        self.snapshot = snapshot
        for index, home in enumerate(homes):
            self.homes[f"operator-{index}"] = home
            self.start(f"operator-{index}")
        for index in range(self.miners):
            home = self.root / f"miner-{index}"
            create_miner_home(home, self.genesis)
            self.fleet.start(f"miner-{index}", home / "log", run_miner, home, (), [])

    def _rules(self) -> tuple[Params, Job, bytes]:
        if not self.miners:
            from tests.coordinator.service.mill import BUSY, JOB, SNAPSHOT

            return replace(BUSY, registration_ms=200, **OFTEN), JOB, SNAPSHOT
        from miner.training.jobs import digits_job

        return (replace(MINIMAL, **OFTEN), *digits_job())

    def start(self, name: str) -> None:
        """Run an operator's replica."""
        home = self.homes[name]
        target = run_replica if self.miners else run_idle_replica
        self.fleet.start(name, home / "output.log", target, home)

    def _start_node(self, index: int) -> None:
        """One that knows the genesis record, and two addresses of replicas."""
        home = self.root / f"node-{index}"
        home.mkdir()
        p2p, http = claim_ports(2)
        config = NodeConfig(
            genesis=str(Home(self.homes["operator-0"]).genesis),
            home=str(home),
            p2p=f"127.0.0.1:{p2p}",
            http=f"127.0.0.1:{http}",
            replicas=tuple(self.url(f"operator-{number}") for number in range(4)),
        )
        save_config(config)
        self._node_urls.append(f"http://127.0.0.1:{http}")
        self.fleet.start(f"node-{index}", home / "log", run_node, config)

    def newcomer(self, name: str) -> Path:
        """A home of somebody who is no member, its replica running; its member.bin."""
        link, door = claim_ports(2)
        home = self.root / name
        create_identity(home, name, f"127.0.0.1:{link}", f"127.0.0.1:{door}")
        write_genesis(home, self.genesis, self.snapshot)
        self.homes[name] = home
        self.start(name)
        self.until(f"{name} follows", lambda: self.status(name)["sequence"] > 0)
        return Home(home).member

    # What it sees.

    def url(self, name: str) -> str:
        """A replica's API."""
        return f"http://{load_setup(self.homes[name]).member.api.decode()}"

    def ask(self, url: str) -> Any:
        """JSON; raises OSError."""
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def status(self, name: str) -> dict[str, Any]:
        """What a replica says about itself; an epoch below all while it does not answer."""
        try:
            told: dict[str, Any] = self.ask(self.url(name) + api.STATUS)
            return told
        except (URLError, OSError):
            return {"epoch": -1, "sequence": -1, "cycle": -1, "height": -1, "role": "away"}

    def until(self, what: str, holds: Callable[[], object]) -> None:
        """Wait for it; fails when patience ends or a process has."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            over = self.fleet.ended()
            assert not over, f"while waiting until {what}: {over} ended"
            assert time.monotonic() < end, f"never: {what}; {self.report()}"
            time.sleep(LOOK_EVERY_S)

    def report(self) -> str:
        """Where everybody stands."""
        told = {name: self.status(name) for name in self.homes}
        keys = ("role", "epoch", "cycle", "phase", "sequence", "height")
        return str({name: [one.get(key) for key in keys] for name, one in told.items()})

    def certificates(self) -> tuple[FederationKey, ...]:
        """Of all epochs."""
        with urllib.request.urlopen(self.url("operator-0") + EPOCHS, timeout=10) as answer:
            return decode(tuple[FederationKey, ...], answer.read())

    # What operators do.

    def command(self, *words: object) -> dict[str, Any]:
        """`gristmill ... --json`; its data."""
        line = [sys.executable, "-m", "gristmill", *map(str, words), "--json"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        data: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["data"]
        return data

    def change(self, members: Sequence[str], *what: object) -> None:
        """Propose, accept, and wait until all of `members` vote in the next epoch."""
        before = self.status("operator-0")
        proposed = self.command("operator", "propose", "--home", self.homes["operator-0"], *what)
        assert proposed["operators"] == list(members), proposed
        present = self.command("operator", "status", "--home", self.homes["operator-0"])
        names = present["membership"]["operators"]
        needed = (2 * len(names)) // 3 + 1
        for name in names[1:needed]:
            self.command("operator", "accept", proposed["proposal"], "--home", self.homes[name])
        self.say(f"proposed and accepted by {needed}: {' '.join(map(str, what[:1]))}")
        epoch = int(before["epoch"]) + 1
        self.until(
            f"epoch {epoch}",
            lambda: all(
                (told := self.status(name))["epoch"] == epoch and told["role"] == "member"
                for name in members
            ),
        )
        self.say(f"epoch {epoch}: {', '.join(members)}")
        cycle, height = before["cycle"], before["height"]
        self.until(
            "cycles go on",
            lambda: all(
                (told := self.status(name))["cycle"] > cycle + 1
                and (not self.miners or told["height"] > height)
                for name in members
            ),
        )

    # The whole.

    def run(self) -> None:
        """From the founding to the verdict."""
        try:
            self._run()
        finally:
            self.fleet.close()

    def _run(self) -> None:
        self.found()
        self.until("the key is made", lambda: self.status("operator-0").get("federation_key"))
        key = self.status("operator-0")["federation_key"]
        self.say(f"federation key {key[:16]}")
        self.until("blocks", lambda: not self.miners or self.status("operator-0")["height"] > 0)
        for index in range(self.nodes):
            self._start_node(index)
        self.until("a share is kept", lambda: self.share("operator-3") is not None)
        copied = self.share("operator-3")
        assert copied is not None
        first = self.newcomer("first")
        self.change(
            ["operator-0", "operator-1", "operator-2", "first"],
            *("--replace", f"operator-3={first}", "--reason", "a new machine"),
        )
        self.until("the old one observes", lambda: self.status("operator-3")["role"] == "observer")
        more = [self.newcomer(f"more-{number}") for number in range(3)]
        four = ["operator-0", "operator-1", "operator-2", "first"]
        seven = [*four, "more-0", "more-1", "more-2"]
        self.change(seven, *(word for path in more for word in ("--add", path)))
        self.change(seven, "--refresh")
        leaving = ("more-0", "more-1", "more-2")
        self.change(four, *(word for name in leaving for word in ("--remove", name)))
        self.judge(key, copied)

    def share(self, name: str) -> KeyShare | None:
        """A replica's key share of epoch 0, as its home holds it."""
        return Vault(load_setup(self.homes[name]).keystore).secrets.share_of(0)

    def judge(self, key: str, copied: KeyShare) -> None:
        """What must hold at the end.  `copied`: of the share that was replaced."""
        certificates = self.certificates()
        assert [one.epoch for one in certificates] == [0, 1, 2, 3, 4]
        assert {one.key.hex() for one in certificates} == {key}
        assert len({one.commitments for one in certificates}) == 5
        for one in certificates:
            bls.verify(one.key, one.activation, one.message)
        self.say("one federation key in five epochs, each with a sharing of its own")
        self._check_old_share(certificates, copied)
        for index, url in enumerate(self._node_urls):
            height = self.status("operator-0")["height"]
            self.until(
                f"node {index} is there",
                lambda url=url, height=height: self.ask(url + api.STATUS)["height"] >= height,
            )
            self.say(f"node {index}, which knew the genesis record only, has height {height}")
        self._audit()

    def _check_old_share(self, certificates: tuple[FederationKey, ...], held: KeyShare) -> None:
        """A key share of epoch 0 is one in no later epoch, and nobody who obeys has one left."""
        assert all(self.share(name) is None for name in ("operator-0", "operator-3"))
        message = bytes(32)
        share = sign_share(held, message)
        first = PublicPolynomial(commitments=certificates[0].commitments)
        verify_share(first, held.index, share, message)
        for one in certificates[1:]:
            later = PublicPolynomial(commitments=one.commitments)
            for index in range(len(one.members)):
                try:
                    verify_share(later, index, share, message)
                except BadSignature:
                    continue
                raise AssertionError(f"an old key share signs in epoch {one.epoch}")
        self.say("the key share of who was replaced signs in no later epoch")

    def _audit(self) -> None:
        line = [sys.executable, "-m", "gristmill", "audit"]
        words = ["--genesis", Home(self.homes["operator-0"]).genesis]
        for name in ("operator-1", "first"):
            words += ["--from", self.url(name)]
        done = subprocess.run(
            [*line, *map(str, words)], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.say(done.stdout.splitlines()[-1])
