"""Three processes with one key, one etcd, and somebody who stops and kills them at random.

What is looked for: two signatures that contradict each other, in what all processes ever let out.
What is measured: how long nobody signs after the holder was killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bft.crypto.identity import verify
from coordinator.guard.claims import Domain
from tests.deploy.etcd_server import etcd_program, wait_until_it_answers
from tests.ports import claim_ports
from tests.standby.holder import KEY

PROCESSES = 3
TTL_S = 4
TAKEOVER_S_MAX = 15.0
PATIENCE_S = 60.0  # for what has to happen at all
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Report:
    """What a trial found."""

    signatures: int = 0
    contradictions: list[str] = field(default_factory=list)
    takeovers_s: list[float] = field(default_factory=list)  # after a holder's death, etcd being up
    holders: int = 0  # times that somebody took the key
    faults: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """For people."""
        took = sorted(self.takeovers_s)
        takeover = f"median {took[len(took) // 2]:.1f} s, longest {took[-1]:.1f} s" if took else "-"
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.signatures} signatures, {len(self.contradictions)} contradictions; "
            f"{self.holders} times somebody took the key; {faults}; "
            f"a standby signed after the holder's death: {takeover}"
        )


class Etcd:
    """One server that can be killed and started again on the same data."""

    def __init__(self, home: Path) -> None:
        self._home = home
        ports = claim_ports(2)
        self.endpoint, self._peer = f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        program = etcd_program()
        assert program is not None
        log = self._home / "etcd.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--data-dir={self._home / 'data'}",
                    f"--listen-client-urls=http://{self.endpoint}",
                    f"--advertise-client-urls=http://{self.endpoint}",
                    f"--listen-peer-urls={self._peer}",
                    f"--initial-advertise-peer-urls={self._peer}",
                    f"--initial-cluster=default={self._peer}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        wait_until_it_answers(self.endpoint, no_credentials(), log)

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def no_credentials() -> grpc.ChannelCredentials | None:
    """Plain text, on loopback."""
    return None


class Member:
    """One of the processes."""

    def __init__(self, home: Path, endpoint: str, *flags: str) -> None:
        self.home = home
        home.mkdir()
        self._command = [
            *(sys.executable, "-m", "tests.standby.holder", str(home), endpoint, *flags)
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.stopped_until = 0.0

    def start(self) -> None:
        """A new process on the same home."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.stopped_until = 0.0

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop_for(self, seconds: float) -> None:
        """SIGSTOP; `wake` ends it when its time has come."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.stopped_until = time.monotonic() + seconds

    def wake(self, *, now: bool = False) -> None:
        """SIGCONT, if it is due."""
        if self.stopped_until and (now or time.monotonic() >= self.stopped_until):
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)
            self.stopped_until = 0.0

    @property
    def alive(self) -> bool:
        """It did not end by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def bytes_out(self) -> int:
        """How much it has let out."""
        try:
            return os.stat(self.home / "signed.jsonl").st_size
        except FileNotFoundError:
            return 0

    def log(self) -> str:
        """What it said."""
        return (self.home / "log").read_text()


class Trial:
    """See the module.  The same seed plans the same faults; when they strike is the machine's."""

    def __init__(
        self, home: Path, seed: int, *, ttl_s: int = TTL_S, lease_only: bool = False
    ) -> None:
        self._random, self._ttl_s = random.Random(seed), ttl_s
        self._etcd = Etcd(home)
        flags = ("--ttl", str(ttl_s), *(("--lease-only",) if lease_only else ()))
        self.members = [
            Member(home / f"process-{number}", self._etcd.endpoint, *flags)
            for number in range(PROCESSES)
        ]
        self.report = Report()

    @contextmanager
    def running(self) -> Iterator[None]:
        """etcd and all processes; none is left behind."""
        try:
            self._etcd.start()
            for member in self.members:
                member.start()
            self._signer()
            yield
        finally:
            for member in self.members:
                member.wake(now=True)
                member.kill()
            self._etcd.kill()

    def run(self, seconds: float) -> Report:
        """Faults for so long, then the reckoning."""
        with self.running():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self._rest(self._random.uniform(0.5, 3))
                fault = self._random.choices(
                    (self.stop_holder, self.kill_holder, self.kill_etcd, self.stop_standby),
                    (5, 2, 2, 1),
                )[0]
                fault()
                self.report.faults[fault.__name__] = self.report.faults.get(fault.__name__, 0) + 1
                assert all(member.alive for member in self.members), self._logs()
            for member in self.members:
                member.wake(now=True)
            self._signer()  # the key is still of use at the end
        self.reckon()
        return self.report

    def stop_holder(self) -> None:
        """The holder sleeps beyond its lease, and wakes as if nothing had happened."""
        self._signer().stop_for(self._random.uniform(0.5, 3) * self._ttl_s)

    def stop_standby(self) -> None:
        """Some other process sleeps."""
        holder = self._signer()
        others = [m for m in self.members if m is not holder and not m.stopped_until]
        if others:
            self._random.choice(others).stop_for(self._random.uniform(0.2, 2) * self._ttl_s)

    def kill_holder(self) -> None:
        """The holder dies; how long is it until another one signs?"""
        holder = self._signer()
        others = [member for member in self.members if member is not holder]
        for member in others:
            member.wake(now=True)
        before = [member.bytes_out for member in others]
        holder.kill()
        died = time.monotonic()
        self._until(
            lambda: any(m.bytes_out > size for m, size in zip(others, before, strict=True)),
            "a standby signs",
        )
        self.report.takeovers_s.append(time.monotonic() - died)
        holder.start()

    def kill_etcd(self) -> None:
        """etcd dies and comes back; now and then the holder is asleep meanwhile."""
        if self._random.random() < 0.5:
            self.stop_holder()
        self._etcd.kill()
        self._rest(self._random.uniform(0.2, 1.5) * self._ttl_s)
        self._etcd.start()

    def _signer(self) -> Member:
        """Whoever signs now."""
        before = [member.bytes_out for member in self.members]
        found: list[Member] = []

        def looks() -> bool:
            found[:] = [
                member
                for member, size in zip(self.members, before, strict=True)
                if member.bytes_out > size and not member.stopped_until
            ]
            return bool(found)

        self._until(looks, "somebody signs")
        return found[0]

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._until(lambda: time.monotonic() >= end, "time passes")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            for member in self.members:
                member.wake()
            assert time.monotonic() < deadline, f"{what}: not in {PATIENCE_S} s\n{self._logs()}"
            time.sleep(0.02)

    def _logs(self) -> str:
        return "\n".join(f"{m.home.name}:\n{m.log()[-2000:]}" for m in self.members)

    def reckon(self) -> None:
        """Compare what everybody let out."""
        rows = [row for member in self.members for row in signatures(member.home)]
        self.report.signatures = len(rows)
        self.report.contradictions = contradictions(rows)
        self.report.holders = sum(m.log().count("holds the key") for m in self.members)


@dataclass(frozen=True)
class Signed:
    """One signature that a process let out."""

    process: str
    domain: Domain
    slot: int
    rank: tuple[int, int]
    digest: str


def signatures(home: Path) -> list[Signed]:
    """All that a process let out, each verified under the key.  A torn last line is left out."""
    path = home / "signed.jsonl"
    found = []
    for text in (path.read_bytes() if path.exists() else b"").split(b"\n")[:-1]:
        row = json.loads(text)
        verify(KEY.public_key, bytes.fromhex(row["signature"]), bytes.fromhex(row["signed"]))
        place = Domain(row["domain"]), row["slot"], (row["rank"][0], row["rank"][1])
        found.append(Signed(home.name, *place, row["digest"]))
    return found


def contradictions(rows: list[Signed]) -> list[str]:
    """Pairs that say two things in one place."""
    first: dict[tuple[Domain, int, tuple[int, int]], Signed] = {}
    found = []
    for row in rows:
        other = first.setdefault((row.domain, row.slot, row.rank), row)
        if other.digest != row.digest:
            found.append(
                f"{other.process} and {row.process}: {row.domain.name} at slot {row.slot}, "
                f"rank {row.rank}"
            )
    return found
