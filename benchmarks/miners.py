"""One cycle with very many miners: `python -m benchmarks.miners [--miners 10000]`.

Four real replicas, one process each, exactly as operators run them (links over mutual TLS, journal
with synchronous=FULL, public HTTP doors); only rates for clients are lifted.  Every miner has a key
of its own, registers, learns its unit, commits, uploads an update to `weak` replicas, reveals it
with their signed receipts, and fetches its score rows with their proofs under the certificate.  The
winner makes the block.  Training and evaluation are left out: updates are bytes, and replicas state
a gain for each without torch; everything else of an evaluation (fetching what others hold, tables,
medians) is there.

Beside the time stands a floor: the signature checks alone that the protocol asks of the replicas,
on all cores.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmarks.miners_crowd import Answers, Call, Crowd, converse, dealt, get, send
from benchmarks.pbft_federation import Federation, founded
from benchmarks.pbft_floor import signatures
from bft.codec.canonical import decode
from chain.federation import api
from chain.records.block import build_block
from chain.records.certificate import decode_certificate
from chain.records.contribution import WorkUnit
from chain.records.score_log import Assigned
from chain.rules.reward import subsidy
from tests.sample import JOB, STILL

REPLICAS = 4
WEAK = 2
CONNECTIONS = 64  # requests under way at each replica
UPLOADS = 16  # uploads under way at each replica: its own limit
POLL_S = 0.05
PATIENCE_S = 900.0
CYCLE = 1


@dataclass
class Stage:
    """A part of the cycle: how long it took, and what it cost."""

    name: str
    wall_s: float
    replicas_cpu_s: float
    client_cpu_s: float


@dataclass
class Run:
    """The cycle as it goes."""

    federation: Federation
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Any:
        """Measure what happens inside."""
        before, client = self.federation.usage(), time.process_time()
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        after = self.federation.usage()
        cpu = sum(b.cpu_s - a.cpu_s for a, b in zip(before, after, strict=True))
        self.stages.append(Stage(name, took, cpu, time.process_time() - client))

    async def until(self, *phases: str) -> None:
        """Wait until replica 0 is in one of these phases."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := await asyncio.to_thread(self.federation.phase, 0)) not in phases:
            if time.monotonic() > deadline:
                raise SystemExit(f"no {phases} after {PATIENCE_S:.0f} s; the cycle is in {found}")
            await asyncio.sleep(POLL_S)

    async def everywhere(self, question: bytes) -> bytes:
        """What all replicas answer, as soon as all have the same."""
        doors = self.federation.doors(spread=True)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answers = await converse(doors, dealt([Call(0, question)], len(doors), len(doors)), 1)
            found = answers.bodies.get(0, [])
            if len(found) == len(doors) and len(set(found)) == 1:
                return found[0]
            await asyncio.sleep(POLL_S)
        raise SystemExit(f"replicas do not agree: {answers.others.most_common(3)}")

    async def said(self, calls: Sequence[Call], copies: int, each: int = CONNECTIONS) -> Answers:
        """Every call at `copies` replicas; ends the program when one is not taken."""
        doors = self.federation.doors(spread=True)
        answers = await converse(doors, dealt(calls, len(doors), copies), each)
        if answers.others:
            raise SystemExit(f"refused: {answers.others.most_common(3)}")
        return answers


async def cycle(run: Run, miners: int) -> None:
    """All of it, stage by stage."""
    crowd = Crowd(run.federation.genesis, miners)
    calls = crowd.registrations(CYCLE)
    with run.stage("registrations"):
        await run.said(calls, WEAK)
    await run.until("TRAINING")
    with run.stage("assignments"):
        units = await _assignments(run, crowd)
    calls = crowd.commitments(CYCLE, units)
    with run.stage("commitments"):
        await run.said(calls, WEAK)
        await run.until("REVEAL")
    calls = crowd.uploads(CYCLE)
    with run.stage("uploads"):
        receipts = await run.said(calls, WEAK, UPLOADS)
    calls = crowd.reveals(CYCLE, units, receipts.bodies)
    with run.stage("reveals"):
        await run.said(calls, WEAK)
        await run.until("CHALLENGE", "EVALUATION", "DRAW", "AGGREGATION", "CERTIFICATION", "BLOCK")
    with run.stage("tables, scores, draw, model, certificate"):
        await run.until("BLOCK")
    with run.stage("block"):
        await _block(run, crowd)
        await run.until("REGISTRATION")
    with run.stage("contributions"):
        await run.said(crowd.questions(api.SCORED_UNITS, CYCLE), WEAK)
        await run.said(crowd.questions(api.CONTRIBUTION, CYCLE), 1)


async def _assignments(run: Run, crowd: Crowd) -> list[WorkUnit]:
    answers = await run.said(crowd.questions(api.ASSIGNED_UNITS, CYCLE), WEAK)
    found: list[WorkUnit] = []
    for bodies in answers.bodies.values():
        if len(set(bodies)) != 1 or len(bodies) != WEAK:
            raise SystemExit("replicas gave different assignments")
        found += decode(Assigned, bodies[0]).units
    return found


async def _block(run: Run, crowd: Crowd) -> None:
    """The winner makes it and gives it to everybody."""
    genesis = run.federation.genesis
    path = api.CERTIFICATE.format(cycle=CYCLE)
    signed = await run.everywhere(get(path))
    certificate, _ = decode_certificate(signed)
    key = crowd.keys[crowd.numbers[certificate.winner]]
    block = build_block(
        signed,
        time=certificate.not_before,
        subsidy=subsidy(certificate.height, genesis.params),
        sign=key.sign,
        winner=key.public_key,
    )
    await run.said([Call(0, send("POST", api.BLOCKS, block))], REPLICAS)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    miners = arguments.miners
    params = replace(
        STILL,
        miners_max=miners,
        newcomer_units=miners,
        registration_ms=1_000 * (arguments.registration_s or max(5, miners // 80)),
        training_ms=3_600_000,
        reveal_ms=3_600_000,
        evaluation_ms=600_000,
        challenge_records=16,
        own_records=8,
    )
    records = JOB.batch_records
    job = replace(JOB, train_records=records * miners, chunk_records=records)
    program = "benchmarks.miners_replica"
    with founded(REPLICAS, arguments.directory, params, job, program) as federation:
        federation.start()
        idle = [round(one.rss_mb) for one in federation.usage()]
        run = Run(federation)
        asyncio.run(cycle(run, miners))
        usage = federation.usage()
        check_s = signatures()[1] / 1000
        checks = miners * REPLICAS * (3 + WEAK) + miners * WEAK  # requests, receipts, uploads
        total = sum(stage.wall_s for stage in run.stages)
        return {
            "miners": miners,
            "replicas": REPLICAS,
            "stages": [vars(stage) for stage in run.stages],
            "total_s": round(total, 1),
            "block_s": round(total - run.stages[-1].wall_s, 1),
            "floor_s": round(checks * check_s / (os.cpu_count() or 1), 1),
            "checks": checks,
            "check_us": round(1e6 * check_s, 1),
            "rss_mb_before": idle,
            "rss_mb": [round(one.rss_mb) for one in usage],
            "rss_max_mb": [round(one.rss_max_mb) for one in usage],
            "load_average": os.getloadavg(),
            "log_size": federation.status(0)["log_size"],
        }


def show(found: dict[str, Any]) -> str:
    """A few lines for people."""
    lines = [f"{found['miners']} miners, {found['replicas']} replicas, one cycle"]
    lines += [
        f"  {stage['name']:42} {stage['wall_s']:6.1f} s; CPU of the replicas "
        f"{stage['replicas_cpu_s']:6.1f} s, of the miners {stage['client_cpu_s']:5.1f} s"
        for stage in found["stages"]
    ]
    cpu = sum(stage["replicas_cpu_s"] + stage["client_cpu_s"] for stage in found["stages"])
    lines += [
        f"  {'together':42} {found['total_s']:6.1f} s, {found['block_s']} s up to the final block; "
        f"CPU {cpu:.1f} s on {os.cpu_count()} cores, load average {found['load_average'][0]:.1f}",
        f"  {'floor: signature checks alone':42} {found['floor_s']:6.1f} s; {found['checks']} of "
        f"{found['check_us']} us on all cores",
        f"  memory of a replica: {max(found['rss_mb_before'])} MB before, {max(found['rss_mb'])} "
        f"MB after, {max(found['rss_max_mb'])} MB at most",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--miners", type=int, default=10_000)
    parser.add_argument(
        "--registration-s",
        type=int,
        help="how long registration is open; what is left of it is waited for and not counted",
    )
    parser.add_argument("--directory", type=Path, help="on the disk that matters")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    found = measure(arguments)
    print(json.dumps(found, indent=2) if arguments.json else show(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
