"""SIGSTOP of one replica at full load, SIGCONT later: `python -m benchmarks.stopped --seconds 300`.

Real processes, TLS, fsync and signatures (benchmarks/pbft_federation.py).  A backup is stopped, not
killed: its sockets stay open and swallow what others send until they are full.  Held, or the exit
status is 1:

- The others' memory stays below MEMORY_MB_MAX all the time.
- After SIGCONT the replica has all that the others then had, and votes, within CAUGHT_UP_S_MAX,
  while the load goes on.
- At the end, with its log's gap filled, all replicas show one log.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import pbft_load
from benchmarks.pbft_federation import Federation, Usage, founded
from benchmarks.pbft_load import Commands
from benchmarks.pbft_logs import agreed

MEMORY_MB_MAX = 200.0
CAUGHT_UP_S_MAX = 60.0
GIVEN_UP_S = 300.0
POLL_S = 0.1
WARM_S = 3.0  # of load before the replica is stopped


class Load:
    """Commands for benchmarks/pbft_load.py, made while they are needed."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.taken = 0
        self.stopping = False

    def __iter__(self) -> Iterator[bytes]:
        while not self.stopping:
            self.taken += 1
            yield from self._commands.make(1)


@dataclass(frozen=True)
class Result:
    """What one stopped replica cost."""

    stopped: int  # its index
    stopped_s: float
    commands_per_s: float  # while it was stopped
    missed: int  # log entries that the others wrote meanwhile
    rss_before_mb: tuple[float, ...]  # of the others, when it was stopped
    rss_max_mb: tuple[float, ...]  # of the others, the highest ever until it had caught up
    caught_up_s: float
    gap_filled_s: float  # from SIGCONT, and the end of the load, until all have one log
    rss_max_stopped_mb: float  # its own, the highest ever

    @property
    def holds(self) -> bool:
        """Whether this is what was promised."""
        return max(self.rss_max_mb) < MEMORY_MB_MAX and self.caught_up_s <= CAUGHT_UP_S_MAX


async def run(n: int, seconds: float, clients: int, directory: Path | None = None) -> Result:
    """Stop the last backup for `seconds` under load."""
    with founded(n, directory) as federation:
        federation.start()
        # Clients ask at the primary, as in benchmarks/pbft.py; it answers them all the time.
        load = Load(Commands(federation.genesis.chain_id))
        longest = WARM_S + seconds + GIVEN_UP_S
        running = asyncio.create_task(
            pbft_load.run(federation.doors(spread=False), clients, load, longest)
        )
        await asyncio.sleep(WARM_S)
        primary = int(federation.status(0)["primary"])
        victim = (primary - 1) % n
        others = [index for index in range(n) if index != victim]
        pid = federation.processes[victim].pid
        size = int(federation.status(primary)["log_size"])
        before = [_usage(federation, index) for index in others]
        taken = load.taken
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        began = time.monotonic()
        rate = (load.taken - taken) / seconds
        goal = int((await asyncio.to_thread(federation.status, primary))["log_size"])
        await _caught_up(federation, victim, goal)
        caught_up = time.monotonic() - began
        after = [_usage(federation, index) for index in others]
        load.stopping = True
        await running
        await agreed(federation)
        return Result(
            stopped=victim,
            stopped_s=seconds,
            commands_per_s=rate,
            missed=goal - size,
            rss_before_mb=tuple(usage.rss_mb for usage in before),
            rss_max_mb=tuple(usage.rss_max_mb for usage in after),
            caught_up_s=caught_up,
            gap_filled_s=time.monotonic() - began,
            rss_max_stopped_mb=_usage(federation, victim).rss_max_mb,
        )


def _usage(federation: Federation, index: int) -> Usage:
    return Usage.of(federation.processes[index].pid)


async def _caught_up(federation: Federation, index: int, goal: int) -> None:
    """Until the replica votes and its state has what the others had when it went on."""
    async with asyncio.timeout(GIVEN_UP_S):
        while True:
            status = await asyncio.to_thread(federation.status, index)
            if status.get("active") and int(status["log_size"]) >= goal:
                return
            await asyncio.sleep(POLL_S)


def show(result: Result) -> str:
    """A few lines for people."""
    before = ", ".join(f"{mb:.0f}" for mb in result.rss_before_mb)
    highest = ", ".join(f"{mb:.0f}" for mb in result.rss_max_mb)
    return "\n".join(
        (
            f"replica {result.stopped} was stopped for {result.stopped_s:.0f} s while the others "
            f"decided {result.commands_per_s:.0f} commands/s; it missed {result.missed} entries",
            f"  memory of the others   {before} MB before, {highest} MB at most "
            f"(bar {MEMORY_MB_MAX:.0f})",
            f"  caught up              {result.caught_up_s:.1f} s after SIGCONT "
            f"(bar {CAUGHT_UP_S_MAX:.0f}); it took {result.rss_max_stopped_mb:.0f} MB at most",
            f"  one log everywhere     {result.gap_filled_s:.1f} s after SIGCONT",
        )
    )


def main(argv: list[str] | None = None) -> int:
    """Play and print; 1 when the promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="between SIGSTOP and SIGCONT")
    parser.add_argument("--n", type=int, default=4, help="replicas")
    parser.add_argument("--clients", type=int, default=512, help="commands under way")
    parser.add_argument("--directory", type=Path, help="on the disk that matters")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    result = asyncio.run(run(options.n, options.seconds, options.clients, options.directory))
    if options.json:
        json.dump(asdict(result), sys.stdout, indent=2)
        print()
    else:
        print(show(result))
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
