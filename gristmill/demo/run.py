"""A whole federation on this machine, from keys to blocks: what the demonstration does.

Everything here talks to the processes through the doors that operators, miners and auditors have;
nothing reaches into them.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bft.errors import Unavailable
from chain.audit.archive import open_archive
from chain.node.config import NodeConfig, save_config
from chain.node.service import run_node
from chain.params import PRESETS
from chain.records.federation import Genesis
from chain.records.score_log import Revealed
from chain.rules.beacon import cycle_ms
from coordinator.ceremony import free_ports, local_federation
from coordinator.main import run_replica
from gristmill.demo.counterfactual import winners_without
from gristmill.demo.faults import LyingPool
from gristmill.demo.fleet import Fleet
from gristmill.demo.observer import Observer
from gristmill.demo.plan import Fault, Plan
from gristmill.demo.story import Story
from gristmill.demo.view import View
from miner.config import create_home as create_miner_home
from miner.main import run_miner
from miner.training.data import name_directory
from miner.training.jobdir import DATA, JOB, JobDirectory, create_job, find_job_file, open_job
from miner.training.jobs import digits_job

LOOK_EVERY_S = 0.25
HUNT_EVERY_S = 0.02
"""While a miner is to be killed between two of its steps."""
START_S = 120
"""How long the federation may take to make its key."""
CYCLE_S = 180
"""How long one cycle may take before the demonstration gives up."""
SETTLE_S = 90
"""How long the replicas may take to hold the same log at the end."""
RESTART_AFTER_S = 3
FAULT_CYCLE = 2


class Demonstration:
    """One run, from the first key to the audit's verdict."""

    def __init__(self, plan: Plan, view: View) -> None:
        self._plan, self._view = plan, view
        self._fleet = Fleet()
        self._genesis: Genesis | None = None
        self._miner_keys: list[bytes] = []
        self._notes: list[str] = []  # what the fault did
        self._restart_at = float("inf")
        self._crashed: int | None = None
        self._patience_s = CYCLE_S
        self._expected_dead: set[str] = set()  # processes that we ended ourselves

    def run(self) -> dict[str, Any]:
        """Everything; returns the summary.

        Raises:
            Unavailable: a process ended by itself, or a step took too long.
        """
        started = time.monotonic()
        try:
            return asyncio.run(self._run(started))
        finally:
            killed = self._fleet.close()
            if killed:
                self._view.say(f"had to be killed: {', '.join(killed)}")

    # Starting.

    def _prepare(self) -> None:
        plan = self._plan
        plan.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        job, params, snapshot = self._job()
        # All at once: what nobody listens on yet would be found free a second time.
        ports = free_ports(2 * (plan.replicas + plan.nodes))
        theirs, nodes = ports[: 2 * plan.replicas], ports[2 * plan.replicas :]
        self._genesis, _ = local_federation(plan.home, plan.replicas, params, job, snapshot, theirs)
        for index in range(plan.miners):
            key = create_miner_home(plan.miner_home(index), self._genesis)
            self._miner_keys.append(key)
        members = self._genesis.members
        self._urls = [f"http://{member.api.decode()}" for member in members]
        self._node_ports = [(nodes[2 * i], nodes[2 * i + 1]) for i in range(plan.nodes)]
        self._node_urls = [f"http://127.0.0.1:{api}" for _, api in self._node_ports]

    def _job(self) -> JobDirectory:
        """What is trained, and where all processes find its data."""
        plan = self._plan
        if plan.job is None:
            job, snapshot = digits_job()
            params = PRESETS[plan.params]
            self._patience_s = max(CYCLE_S, cycle_ms(params) // 1000)
            return JobDirectory(job=job, params=params, snapshot=snapshot)
        home = Path(plan.job)
        if (home / JOB).is_file():
            made = open_job(home)
        else:
            home = plan.job_home
            made = create_job(find_job_file(plan.job), home, plan.data)
        name_directory(home / DATA)
        self._patience_s = max(CYCLE_S, cycle_ms(made.params) // 1000)
        return made

    def _start_replica(self, index: int) -> None:
        home = self._plan.replica_home(index)
        pool = LyingPool if index == self._plan.liar else None
        self._fleet.start(f"replica-{index}", home / "replica.log", run_replica, home, pool)

    def _start_miner(self, index: int) -> None:
        home = self._plan.miner_home(index)
        args = (home, self._urls, self._node_urls)
        self._fleet.start(f"miner-{index}", home / "miner.log", run_miner, *args)

    def _start_node(self, index: int, federation_key: bytes) -> None:
        home = self._plan.node_home(index)
        home.mkdir(mode=0o700, exist_ok=True)
        p2p, http = self._node_ports[index]
        config = NodeConfig(
            genesis=str(self._plan.replica_home(0) / "genesis.bin"),
            home=str(home),
            federation_key=federation_key.hex(),
            p2p=f"127.0.0.1:{p2p}",
            http=f"127.0.0.1:{http}",
            peers=tuple(f"127.0.0.1:{port}" for port, _ in self._node_ports[:index]),
            replicas=tuple(self._urls),
        )
        save_config(config)
        self._fleet.start(f"node-{index}", home / "node.log", run_node, config)

    # Watching.

    async def _run(self, started: float) -> dict[str, Any]:
        plan, view = self._plan, self._view
        view.say(f"{plan.replicas} operators make their keys and the genesis record")
        self._prepare()
        assert self._genesis is not None
        view.say(f"chain {self._genesis.chain_id.hex()[:16]}…, everything is in {plan.home}")
        view.say("loading torch once, for all processes")
        for index in range(plan.replicas):
            self._start_replica(index)
        for index in range(plan.miners):
            self._start_miner(index)
        names = {key: f"miner {index}" for index, key in enumerate(self._miner_keys)}
        self._story = Story(names)
        events = [plan.miner_home(index) / "events.jsonl" for index in range(plan.miners)]
        self._observer = Observer(self._urls, self._node_urls, events)
        try:
            await self._watch("the federation key", START_S, lambda: self._story.federation_key)
            for index in range(plan.nodes):
                self._start_node(index, self._story.federation_key)
            for cycle in range(1, plan.cycles + 1):
                await self._watch(f"cycle {cycle}", self._patience_s, lambda: self._closed(cycle))  # noqa: B023
            return await self._finish(started)
        finally:
            await self._observer.close()

    def _closed(self, cycle: int) -> bool:
        told = self._story.cycles.get(cycle)
        return told is not None and bool(told.closed)

    async def _watch(self, what: str, limit_s: float, done: Callable[[], object]) -> None:
        """Look until `done`.  Raises Unavailable: it took too long, or a process has ended."""
        deadline = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > deadline:
                raise Unavailable(f"{what} did not come within {limit_s} s; see {self._plan.home}")
            await self._look()
            hunting = self._plan.fault is Fault.DEAD_MINER and not self._expected_dead
            await asyncio.sleep(HUNT_EVERY_S if hunting else LOOK_EVERY_S)

    async def _look(self) -> None:
        self._check_processes()
        for record in await self._observer.look():
            line = self._story.tell(record)
            if line:
                self._view.say(line)
            if isinstance(record, Revealed):
                self._on_revealed(record)
        self._cause_faults()
        self._view.show(self._observer.picture, self._story)

    def _check_processes(self) -> None:
        for name, code in self._fleet.ended().items():
            if name not in self._expected_dead:
                log = self._plan.home / name / f"{name.split('-')[0]}.log"
                raise Unavailable(f"{name} ended with exit code {code}; see {log}")

    # Faults.

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._view.say(f"FAULT: {text}")

    def _on_revealed(self, record: Revealed) -> None:
        """Between reveal and scoring is when a primary is missed most."""
        due = self._plan.fault is Fault.PRIMARY_CRASH and self._crashed is None
        if due and record.cycle == FAULT_CYCLE:
            self._crash_primary()

    def _crash_primary(self) -> None:
        statuses = [status for status in self._observer.picture.replicas if status is not None]
        self._crashed = int(statuses[0]["primary"])
        name = f"replica-{self._crashed}"
        pid = self._fleet.pid(name)
        self._expected_dead.add(name)
        self._fleet.kill(name)
        self._restart_at = time.monotonic() + RESTART_AFTER_S
        self._note(f"kill -9 {pid}: {name}, the primary, between commitment and scoring")

    def _cause_faults(self) -> None:
        if time.monotonic() >= self._restart_at:
            self._restart_at = float("inf")
            assert self._crashed is not None
            self._start_replica(self._crashed)
            self._expected_dead.clear()
            self._note(f"replica-{self._crashed} is started again from its journal")
        if self._plan.fault is Fault.DEAD_MINER and not self._expected_dead:
            for index, miner in enumerate(self._observer.picture.miners):
                if miner.event == "committed" and miner.cycle == FAULT_CYCLE:
                    self._kill_miner(index)
                    break

    def _kill_miner(self, index: int) -> None:
        """The first that has committed: the others still train, so nothing is revealed yet."""
        name = f"miner-{index}"
        pid = self._fleet.pid(name)
        self._expected_dead.add(name)
        self._fleet.kill(name)
        self._note(f"kill -9 {pid}: {name}, after its commitment in cycle {FAULT_CYCLE}")

    # Ending.

    async def _finish(self, started: float) -> dict[str, Any]:
        """Let the replicas settle, compare them, audit."""
        turning_s = time.monotonic() - started
        self._expected_dead |= {f"miner-{index}" for index in range(self._plan.miners)}
        await asyncio.to_thread(self._fleet.stop, "miner-")
        if self._restart_at < float("inf"):
            self._restart_at = 0
        await self._watch("agreement of all replicas", SETTLE_S, self._settled)
        archive = self._plan.home / "score-log.grist"
        verdict = await asyncio.to_thread(self._audit, archive)
        held = self._check_liar(archive, verdict)
        plan = self._plan
        statuses = [status for status in self._observer.picture.replicas if status is not None]
        last = statuses[0]
        cycles = [self._story.cycles[cycle] for cycle in range(1, plan.cycles + 1)]
        certified = all(told.certificates for told in cycles)
        return {
            "chain_id": self._genesis.chain_id.hex() if self._genesis else "",
            "federation_key": self._story.federation_key.hex(),
            "fault": str(plan.fault),
            "fault_notes": self._notes,
            "seconds": round(turning_s, 1),
            "cycles": [
                {
                    "cycle": told.cycle,
                    "units": told.units,
                    "revealed": told.revealed,
                    "loss": told.loss / 1_000_000,
                    "accuracy": told.correct / max(1, told.records),
                    "model": told.model.hex(),
                    "winner": self._story.name(told.winner) if told.winner else None,
                    "tickets_total": told.tickets_total,
                    "certified": bool(told.certificates),
                    "height": told.height,
                    "block": told.block.hex(),
                    "closed": told.closed,
                }
                for told in cycles
            ],
            "replicas": [
                {name: status[name] for name in ("replica", "view", "log_size", "log_root")}
                | {name: status[name] for name in ("model", "height", "tip")}
                for status in statuses
            ],
            "nodes": [
                {"node": index, "height": status["height"], "tip": status["tip"]}
                for index, status in enumerate(self._observer.picture.nodes)
                if status is not None
            ],
            "agreed": len(statuses) == plan.replicas,
            "log_root": last["log_root"],
            "log_size": last["log_size"],
            "model": last["model"],
            "tip": last["tip"],
            "height": last["height"],
            "audit": verdict,
            "archive": str(archive),
            "home": str(plan.home),
            "ok": certified and verdict["passed"] and held,
        }

    def _check_liar(self, archive: Path, verdict: dict[str, Any]) -> bool:
        """Whether the lie changed no winner and the audit names the liar; true without a liar."""
        liar = self._plan.liar
        if liar is None:
            return True
        assert self._genesis is not None
        with archive.open("rb") as file:
            _, entries = open_archive(file)
            winners = winners_without(self._genesis, entries, liar)
        for cycle, (drawn, other) in sorted(winners.items()):
            same = "the same" if drawn == other else f"{self._story.name(other)}: the lie paid"
            self._note(
                f"replica {liar} lied in cycle {cycle}; {self._story.name(drawn)} won, "
                f"without its table {same}"
            )
        named = {finding["cycle"] for finding in verdict["findings"] if liar in finding["replicas"]}
        return set(winners) <= named and all(drawn == other for drawn, other in winners.values())

    def _settled(self) -> bool:
        """Whether all replicas hold the same log, model and tip, and the nodes the same tip."""
        replicas, nodes = self._observer.picture.replicas, self._observer.picture.nodes
        if any(status is None for status in (*replicas, *nodes)):
            return False
        told = {
            (status["log_size"], status["log_root"], status["model"], status["tip"])
            for status in replicas
            if status is not None
        }
        tips = {status["tip"] for status in (*replicas, *nodes) if status is not None}
        return len(told) == 1 and len(tips) == 1

    def _audit(self, archive: Path) -> dict[str, Any]:
        """The auditor as a process of its own, over HTTP, as any stranger would run it."""
        genesis = self._plan.replica_home(0) / "genesis.bin"
        sources = [part for url in self._urls for part in ("--from", url)]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "gristmill", "audit", *sources),
                *("--genesis", str(genesis), "--save", str(archive), "--json"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        try:
            report: dict[str, Any] = json.loads(done.stdout)["data"]
        except (json.JSONDecodeError, KeyError):
            raise Unavailable(f"the audit failed: {done.stderr.strip()[-2000:]}") from None
        return report
