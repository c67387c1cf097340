"""Very many miners at once: `python -m benchmarks.crowd [--miners 500] [--kill] [--slow 500]`.

Four real replicas, one process each, as operators run them (TLS between them, fsync, HTTP doors),
and miners with keys and HTTP clients of their own.  All of them register at once, learn their
units, commit, upload and reveal; one more miner sends garbage all the while and then does its work.
`--slow` adds clients that never finish a request, `--kill` ends the primary with SIGKILL when half
of the uploads are acknowledged, and starts it again.

Measuring is left out as in benchmarks/miners.py: replicas state a gain for each update that they
hold.  So an update is in the scores if and only if a majority could read it.

Afterwards every upload that was acknowledged is asked of every replica that signed for it, and
looked for in the certified scores.  Exit status 1 when one is missing, or the cycle has no
certificate, or a replica took more memory than --memory-mb.

Beside the uploads stand the same bytes through four bare aiohttp servers that sync.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmarks.crowd_miners import CYCLE, PATIENCE_S, CrowdMiner, Seen
from benchmarks.crowd_pests import SlowClients, throw_garbage
from benchmarks.pbft_federation import Federation, Usage, founded
from bft.crypto.hashing import sha256
from bft.errors import FederationError, Unavailable
from chain.federation import api
from chain.federation.answers import Position
from chain.federation.client import FederationClient
from chain.federation.transport import Transport
from chain.records.job import make_sizes
from chain.records.phase import Phase
from chain.records.score_log import Scored
from chain.rules.updates import update_bytes_max
from chain.settings_text import example
from coordinator.settings import ReplicaConfig
from tests.sample import JOB, STILL

REPLICAS = 4
MEMORY_MB_MAX = 768  # of one replica
CONNECTIONS_EACH = 4  # of a miner at one replica
CONNECTIONS_MIN = 512
DOWN_S = 1.0  # how long a killed replica stays down
HASHED_AT_ONCE = 64
KILL_SHARE = 2  # one in so many uploads is acknowledged before the kill


class Trial:
    """One cycle of one crowd."""

    def __init__(self, federation: Federation, arguments: argparse.Namespace) -> None:
        self.federation, self.arguments = federation, arguments
        self.seen = Seen()
        self.usage_before_kill: Usage | None = None
        self.killed: int | None = None
        self.garbage: dict[int, int] = {}
        self.slow = SlowClients(federation.doors(spread=True), arguments.slow)
        self.scored: Scored | None = None
        self.winner = b""
        self.lost: list[str] = []

    async def run(self) -> None:
        """Until the certificate is there and everything has been looked for."""
        async with asyncio.timeout(self.arguments.budget):
            slow = asyncio.create_task(self.slow.run())
            kill = asyncio.create_task(self._kill()) if self.arguments.kill else None
            try:
                await self._cycle()
                if kill is not None:
                    await kill
                await self._look_for_uploads()
            finally:
                for task in (slow, kill):
                    if task is not None:
                        task.cancel()
                await asyncio.gather(slow, *([kill] if kill else []), return_exceptions=True)

    async def _cycle(self) -> None:
        genesis, count = self.federation.genesis, self.arguments.miners
        async with asyncio.TaskGroup() as group, FederationClient(genesis) as client:
            looks = []
            for number in range(count + 1):
                one = self._garbage_miner if number == count else self._miner
                group.create_task(one(number, looks))
            await self.seen.reach(Position(CYCLE, Phase.CERTIFICATION))
            found = await self._certified(client)
            self.winner = found.winner
            self.scored = await self.seen.timed("scores", lambda: client.scores(CYCLE))
            for look in looks:
                look.cancel()

    async def _certified(self, client: FederationClient) -> Any:
        async def ask() -> Any:
            found = await client.certificate(CYCLE)
            if found is None:
                raise Unavailable("no certificate yet")
            return found[0]

        return await self.seen.timed("certificate", ask)

    async def _miner(self, number: int, looks: list[asyncio.Task[None]]) -> None:
        """Everything that one honest miner does."""
        seen = self.seen
        async with FederationClient(self.federation.genesis) as client:
            miner = CrowdMiner(self.federation.genesis, number, client, seen)
            look = asyncio.create_task(miner.look())
            looks.append(look)
            await miner.register()
            await seen.reach(Position(CYCLE, Phase.TRAINING))
            unit = await miner.unit()
            update = miner.update(unit)
            await miner.commit(unit, update)
            await seen.reach(Position(CYCLE, Phase.REVEAL))
            receipts = await miner.upload(unit, update)
            await miner.reveal(unit, update, receipts)
            await asyncio.gather(look, return_exceptions=True)

    async def _garbage_miner(self, number: int, looks: list[asyncio.Task[None]]) -> None:
        """Garbage until everybody else has uploaded, then the work."""
        seen = self.seen
        async with FederationClient(self.federation.genesis) as client:
            miner = CrowdMiner(self.federation.genesis, number, client, seen)
            await miner.register()
            await seen.reach(Position(CYCLE, Phase.TRAINING))
            unit = await miner.unit()
            update = miner.update(unit)
            await miner.commit(unit, update)
            await seen.reach(Position(CYCLE, Phase.REVEAL))
            thrown = asyncio.create_task(throw_garbage(miner, client.urls, update))
            await self._uploaded(self.arguments.miners)
            thrown.cancel()
            self.garbage = dict(await thrown)
            receipts = await miner.upload(unit, update)
            await miner.reveal(unit, update, receipts)

    async def _uploaded(self, count: int) -> None:
        async with self.seen.moved:
            await self.seen.moved.wait_for(lambda: len(self.seen.units) >= count)

    async def _kill(self) -> None:
        """SIGKILL the primary in the middle of the uploads, start it again."""
        await self._uploaded(max(1, self.arguments.miners // KILL_SHARE))
        primary = int((await asyncio.to_thread(self.federation.status, 0))["primary"])
        self.usage_before_kill = Usage.of(self.federation.processes[primary].pid)
        self.killed = primary
        await asyncio.to_thread(self.federation.kill, primary)
        await asyncio.sleep(DOWN_S)
        self.federation.start_one(primary)
        await self.seen.timed("restart", partial(self._answers, primary))

    async def _answers(self, index: int) -> None:
        if not await asyncio.to_thread(self.federation.phase, index):
            raise Unavailable(f"replica {index} is still starting")

    async def _look_for_uploads(self) -> None:
        """At every replica that signed for it, by digest; and in the scores."""
        members = self.federation.genesis.members
        urls = {one.key: f"http://{one.api.decode()}" for one in members}
        wanted = [
            (urls[signer], digest)
            for digest, signers in self.seen.acknowledged.items()
            for signer in signers
        ]
        slots = asyncio.Semaphore(HASHED_AT_ONCE)
        async with Transport() as transport:

            async def look(url: str, digest: bytes) -> None:
                async with slots:
                    path = url + api.BLOBS.format(digest=digest.hex())
                    reply = await self.seen.timed(
                        "download", lambda: transport.exchange("GET", path, bytes_max=2**30)
                    )
                if reply.status != 200 or sha256(reply.body) != digest:
                    self.lost.append(f"{url} has no {digest.hex()[:16]}: status {reply.status}")

            await asyncio.gather(*(look(*one) for one in wanted))
        assert self.scored is not None
        valid = {row.unit for row in self.scored.rows if row.valid}
        self.lost += [f"unit {unit} has no score" for unit in self.seen.units if unit not in valid]


@contextmanager
def bare_servers(root: Path) -> Iterator[list[str]]:
    """The addresses of as many bare servers as there are replicas."""
    with ExitStack() as stack:
        urls = []
        for number in range(REPLICAS):
            folder = root / f"bare-{number}"
            folder.mkdir()
            command = [sys.executable, "-m", "benchmarks.crowd_bare", str(folder)]
            server = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(server.kill)
            assert server.stdout is not None
            urls.append(f"http://127.0.0.1:{int(server.stdout.readline())}")
        yield urls


async def bare(urls: Sequence[str], updates: Sequence[bytes]) -> tuple[list[float], float]:
    """Each update to all servers, all at once: seconds of each, and of all together."""
    took: list[float] = []

    async def one(update: bytes) -> None:
        name = sha256(update).hex()
        async with Transport() as transport:
            began = time.monotonic()
            puts = (
                transport.exchange(
                    "PUT", f"{url}/{name}", body=update, bytes_max=1024, timeout_s=PATIENCE_S
                )
                for url in urls
            )
            for reply in await asyncio.gather(*puts, return_exceptions=True):
                if isinstance(reply, FederationError):
                    return
            took.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*(one(update) for update in updates))
    return took, time.monotonic() - began


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the most."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    return {
        "count": len(ordered),
        "p50_s": round(ordered[len(ordered) // 2], 3),
        "p99_s": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], 3),
        "max_s": round(ordered[-1], 3),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    miners = arguments.miners + 1  # one has garbage
    params = replace(
        STILL,
        miners_max=miners,
        newcomer_units=miners,
        registration_ms=1_000 * (arguments.registration_s or 20 + miners // 5),
        training_ms=3_600_000,
        reveal_ms=3_600_000,
        evaluation_ms=600_000,
        snapshot_ms=600_000,
        block_ms=600_000,
        challenge_records=16,
        own_records=8,
    )
    records = JOB.batch_records
    job = replace(
        JOB,
        sizes=make_sizes(inputs=64, width=arguments.width, depth=2, classes=10),
        train_records=records * miners,
        chunk_records=records,
    )
    connections = max(CONNECTIONS_MIN, CONNECTIONS_EACH * max(miners, arguments.slow))
    settings = example(ReplicaConfig) + (
        f"limits: {{connections: {connections}, address_requests_s: {8 * miners},"
        f" address_burst: {8 * miners}}}\n"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        tempfile.TemporaryDirectory(dir=arguments.directory) as root,
        founded(REPLICAS, arguments.directory, params, job, "benchmarks.miners_replica") as mill,
    ):
        mill.start(settings)
        idle = [round(one.rss_max_mb) for one in mill.usage()]
        trial = Trial(mill, arguments)
        began = time.monotonic()
        asyncio.run(trial.run())
        total_s = time.monotonic() - began
        usage = mill.usage() + ([trial.usage_before_kill] if trial.usage_before_kill else [])
        seen = trial.seen
        upload_s = max(seen.uploading) - min(seen.uploading)
        longest = max(update_bytes_max(job, segment) for segment in range(job.segments))
        updates = [os.urandom(longest) for _ in seen.units]
        with bare_servers(Path(root)) as urls:
            bare_took, bare_s = asyncio.run(bare(urls, updates))
        return {
            "miners": arguments.miners,
            "slow_clients": {"asked": arguments.slow, "opened": trial.slow.opened},
            "slow_closed": trial.slow.closed,
            "killed": trial.killed,
            "garbage_answers": trial.garbage,
            "seconds": {name: percentiles(took) for name, took in sorted(seen.seconds.items())},
            "asked_again": seen.repeats,
            "acknowledged": len(seen.units),
            "receipts": sum(map(len, seen.acknowledged.values())),
            "lost": trial.lost,
            "certified_winner": trial.winner.hex(),
            "rss_max_mb_idle": idle,
            "rss_max_mb": [round(one.rss_max_mb) for one in usage],
            "memory_mb_max": arguments.memory_mb,
            "uploads_s": round(upload_s, 2),
            "bare": percentiles(bare_took) | {"all_s": round(bare_s, 2)},
            "uploads_to_bare": round(upload_s / bare_s, 2),
            "total_s": round(total_s, 1),
            "load_average": os.getloadavg(),
        }


def show(found: dict[str, Any]) -> str:
    """A few lines for people."""
    slow, garbage = found["slow_clients"], found["garbage_answers"]
    lines = [f"{found['miners']} miners at once, {REPLICAS} replicas, one cycle"]
    lines += [
        f"  {name:12} {took['count']:6} times; half within {took['p50_s']:.2f} s, 99 % within "
        f"{took['p99_s']:.2f} s, all within {took['max_s']:.2f} s; asked again "
        f"{found['asked_again'].get(name, 0)} times"
        for name, took in found["seconds"].items()
    ]
    bare_took = found["bare"]
    lines += [
        f"  uploads: {found['acknowledged']} acknowledged by {found['receipts']} receipts in "
        f"{found['uploads_s']} s; the same bytes through bare servers that sync: "
        f"{bare_took['all_s']} s, half within {bare_took['p50_s']:.2f} s; "
        f"{found['uploads_to_bare']} times as long",
        f"  memory of a replica: at most {max(found['rss_max_mb'])} MB, "
        f"{max(found['rss_max_mb_idle'])} MB before the first miner; allowed "
        f"{found['memory_mb_max']} MB",
        f"  slow clients: {slow['asked']}, {slow['opened']} connections, {found['slow_closed']} "
        f"closed by replicas; garbage: answers {garbage}",
        f"  killed: {'nobody' if found['killed'] is None else 'replica ' + str(found['killed'])}; "
        f"acknowledged and lost: {len(found['lost'])}; certified winner "
        f"{found['certified_winner'][:16]}",
        f"  {found['total_s']} s, load average {found['load_average'][0]:.1f}",
        *(f"  LOST {one}" for one in found["lost"]),
    ]
    return "\n".join(lines)


def is_good(found: dict[str, Any]) -> bool:
    """Whether everything held that the first lines of this file name."""
    garbage = found["garbage_answers"]
    return (
        not found["lost"]
        and found["acknowledged"] == found["miners"] + 1
        and max(found["rss_max_mb"]) <= found["memory_mb_max"]
        and not any(200 <= status < 300 or status == 500 for status in garbage)
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--miners", type=int, default=500)
    parser.add_argument("--slow", type=int, default=0, help="clients that never finish")
    parser.add_argument("--kill", action="store_true", help="kill -9 of the primary")
    parser.add_argument("--width", type=int, default=256, help="of the model: longer updates")
    parser.add_argument("--memory-mb", type=int, default=MEMORY_MB_MAX, help="of one replica")
    parser.add_argument("--registration-s", type=int, help="how long registration is open")
    parser.add_argument("--budget", type=float, default=1800, help="seconds for the cycle")
    parser.add_argument("--directory", type=Path, help="on the disk that matters")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    found = measure(arguments)
    print(json.dumps(found, indent=2) if arguments.json else show(found), flush=True)
    return 0 if is_good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
