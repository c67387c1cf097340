"""How many commands the federation decides a second: `python -m benchmarks.pbft [--n 4,7]`.

Real replicas, one process each, exactly as operators run them (links over mutual TLS, journal with
synchronous=FULL, every signature on), on loopback; only the evaluation pool is missing and the
rate limits for clients are lifted.  The commands come through the public HTTP door, 200 bytes each,
signed by 64 clients beforehand, verified by every replica, ordered, executed (the cycle machine
refuses them as too early), logged durably and answered.  Clients talk to the primary, or with
`--spread` to all replicas in turn, which then forward.

Beside the figures stands what the same machine needs at least for one decision (pbft_floor.py).
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import pbft_floor, pbft_load
from benchmarks.pbft_federation import Federation, founded
from benchmarks.pbft_floor import Floor
from benchmarks.pbft_load import Commands, Outcome
from chain.records.commands import COMMANDS_MAX

SINGLE_COMMANDS_S = 500  # made for one client; more than it can use
LOAD_COMMANDS_S = 6_000  # made for the load
BATCHED_CONNECTIONS = 64  # requests under way, of COMMANDS_MAX commands each
BATCHED_COMMANDS_S = 60_000
FLOOD_CONNECTIONS = 1_024
FLOOD_S = 5.0
INVALID = 4  # of so many commands in the flood one is valid


def measure(n: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one federation size."""
    with founded(n, arguments.directory) as federation:
        floor = pbft_floor.measure(federation.genesis, federation.homes, federation.homes[0].parent)
        federation.start()
        doors = federation.doors(arguments.spread)
        commands = Commands(federation.genesis.chain_id)
        alone = commands.make(int(arguments.seconds * SINGLE_COMMANDS_S))
        single = asyncio.run(pbft_load.run(doors, 1, alone, arguments.seconds))
        many = commands.make(int(arguments.seconds * LOAD_COMMANDS_S))
        before, client = federation.usage(), time.process_time()
        load = asyncio.run(pbft_load.run(doors, arguments.connections, many, arguments.seconds))
        after, client = federation.usage(), time.process_time() - client
        decided = len(load.latencies_s)
        cpu_us = [
            round(1e6 * (late.cpu_s - early.cpu_s) / decided)
            for early, late in zip(before, after, strict=True)
        ]
        batched = _batched(federation, doors, arguments)
        flood = asyncio.run(_flood(federation, doors, commands))
        usage = federation.usage()
        return {
            "n": n,
            "one_client": _latency(single) | _floor(floor, single.latency_ms(50)),
            "load": _latency(load)
            | {
                "connections": arguments.connections,
                "commands_per_s": round(load.per_s),
                "cpu_us_per_command": cpu_us,
                "client_us_per_command": round(1e6 * client / decided),
                "cpu_bound_per_s": round(
                    (os.cpu_count() or 1) * 1e6 / _cpu_us(cpu_us, client, decided)
                ),
                "cores_used": round(decided * sum(cpu_us) / load.seconds / 1e6, 2),
            },
            "batched": batched,
            "flood": {
                "connections": FLOOD_CONNECTIONS,
                "commands_per_s": round(flood.per_s),
                "other_answers": {key.decode(): count for key, count in flood.others.items()},
            },
            "rss_max_mb": [round(one.rss_max_mb) for one in usage],
            "views": [federation.status(index).get("view") for index in range(n)],
        }


def _batched(
    federation: Federation, doors: Sequence[tuple[str, int]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """The load with COMMANDS_MAX commands under each signature."""
    source = Commands(federation.genesis.chain_id, COMMANDS_MAX)
    requests = source.make(int(arguments.seconds * BATCHED_COMMANDS_S) // COMMANDS_MAX)
    before, client = federation.usage(), time.process_time()
    load = asyncio.run(pbft_load.run(doors, BATCHED_CONNECTIONS, requests, arguments.seconds))
    after, client = federation.usage(), time.process_time() - client
    decided = COMMANDS_MAX * len(load.latencies_s)
    cpu_us = [
        round(1e6 * (late.cpu_s - early.cpu_s) / decided, 1)
        for early, late in zip(before, after, strict=True)
    ]
    return _latency(load) | {
        "connections": BATCHED_CONNECTIONS,
        "commands": decided,
        "commands_per_s": round(COMMANDS_MAX * load.per_s),
        "cpu_us_per_command": cpu_us,
        "cores_used": round(decided * sum(cpu_us) / load.seconds / 1e6, 2),
    }


async def _flood(
    federation: Federation, doors: Sequence[tuple[str, int]], commands: Commands
) -> Outcome:
    """Valid commands among forged, malformed and oversized ones, on very many connections."""
    mixed: list[bytes] = []
    for number, request in enumerate(commands.seal(int(FLOOD_S * LOAD_COMMANDS_S))):
        match number % INVALID:
            case 0:
                mixed.append(pbft_load.post(request))
            case 1:
                mixed.append(pbft_load.post(request[:-1] + bytes([request[-1] ^ 1])))
            case 2:
                mixed.append(pbft_load.post(request[: len(request) // 2]))
            case _:
                mixed.append(pbft_load.post(request + bytes(64 * 1024)))
    return await pbft_load.run(doors, FLOOD_CONNECTIONS, mixed, FLOOD_S)


def _latency(outcome: Outcome) -> dict[str, Any]:
    return {
        "commands": len(outcome.latencies_s),
        "p50_ms": round(outcome.latency_ms(50), 2),
        "p99_ms": round(outcome.latency_ms(99), 2),
        "other_answers": {key.decode(): count for key, count in outcome.others.items()},
    }


def _cpu_us(replicas: Sequence[int], client_s: float, commands: int) -> float:
    """What one command costs this machine, its sender included."""
    return sum(replicas) + 1e6 * client_s / commands


def _floor(floor: Floor, p50_ms: float) -> dict[str, Any]:
    return {
        "floor_ms": round(floor.decision_ms, 2),
        "times_floor": round(p50_ms / floor.decision_ms, 2),
        "floor": {
            "message_ms": round(floor.message_ms, 3),
            "commit_ms": round(floor.commit_ms, 3),
            "sign_ms": round(floor.sign_ms, 3),
            "verify_ms": round(floor.verify_ms, 3),
        },
    }


def show(found: dict[str, Any]) -> str:
    """A few lines for people."""
    one, load, batched = found["one_client"], found["load"], found["batched"]
    floor = one["floor"]
    cpu = load["cpu_us_per_command"]
    return "\n".join(
        (
            f"n = {found['n']}",
            f"  load        {load['commands_per_s']} commands/s with {load['connections']} under "
            f"way; p50 {load['p50_ms']} ms, p99 {load['p99_ms']} ms",
            f"  CPU         {sum(cpu)} us a command ({', '.join(map(str, cpu))} by replica); "
            f"the client {load['client_us_per_command']}; {load['cores_used']} cores were ours, "
            f"all of this machine would give {load['cpu_bound_per_s']} commands/s",
            f"  batched     {batched['commands_per_s']} commands/s with {COMMANDS_MAX} under one "
            f"signature, {batched['connections']} requests under way; p50 {batched['p50_ms']} ms, "
            f"p99 {batched['p99_ms']} ms; {sum(batched['cpu_us_per_command']):.0f} us a command, "
            f"{batched['cores_used']} cores",
            f"  one client  p50 {one['p50_ms']} ms, p99 {one['p99_ms']} ms, "
            f"{one['times_floor']} x the floor",
            f"  floor       {one['floor_ms']} ms: 3 messages of {floor['message_ms']}, 3 commits "
            f"of {floor['commit_ms']}, signatures {floor['sign_ms']} and {floor['verify_ms']} each",
            f"  memory      {max(found['rss_max_mb'])} MB at most, after a flood of "
            f"{found['flood']['connections']} connections "
            f"({found['flood']['commands_per_s']} valid commands/s among it)",
            f"  other answers under load: {load['other_answers'] or 'none'}; "
            f"views {found['views']}",
        )
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", default="4", help="federation sizes, for example 4,7,10,16")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    parser.add_argument("--connections", type=int, default=512, help="commands under way")
    parser.add_argument("--spread", action="store_true", help="clients talk to all replicas")
    parser.add_argument("--directory", type=Path, help="on the disk that matters")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    figures = []
    for n in map(int, arguments.n.split(",")):
        figures.append(measure(n, arguments))
        if not arguments.json:
            print(show(figures[-1]), flush=True)
    if arguments.json:
        json.dump({"load_average": os.getloadavg(), "pbft": figures}, sys.stdout, indent=2)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
