"""kill -9 of the primary under load, again and again: `python -m benchmarks.failover --trials 50`.

Real processes, TLS, fsync and signatures (benchmarks/pbft_federation.py).  In each trial the
present primary is killed while clients ask at all replicas; then it is started again and catches
up before the next trial, which begins when the new view has proven itself.  Held, or the exit
status is 1:

- Service resumes within the request timeout plus one view change: a command that was asked for
  after the kill is answered by then.
- Nothing that was acknowledged is lost: at the end all replicas have one log, and every
  acknowledged command stands in it.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.pbft_client import Clients
from benchmarks.pbft_federation import Federation, founded
from benchmarks.pbft_load import Commands
from benchmarks.pbft_logs import agreed, ordered_requests
from bft.pbft.config import Config
from bft.pbft.core import FORGIVING_BATCHES

_DEFAULT: dict[str, Any] = {field.name: field.default for field in fields(Config)}
RESUMED_S_MAX: float = (_DEFAULT["request_ms"] + _DEFAULT["view_change_ms"]) / 1000
"""Request timeout plus one view change."""
GIVEN_UP_S = 60.0  # for anything that a trial waits for
POLL_S = 0.05


@dataclass(frozen=True)
class Trial:
    """One dead primary."""

    primary: int
    view: int  # that it led
    resumed_s: float  # from the kill to the first answer to a command asked for afterwards
    waited_s: float  # the longest wait of any command that was under way in that time
    caught_up_s: float  # from the start of its process until it had all that the others had


@dataclass(frozen=True)
class Result:
    """All trials, and what the logs say of them."""

    trials: tuple[Trial, ...]
    acknowledged: int
    lost: int  # acknowledged, but not in the log
    ordered_twice: int  # requests that stand in the log more than once
    log_size: int

    @property
    def late(self) -> int:
        """Trials in which service resumed too late."""
        return sum(trial.resumed_s > RESUMED_S_MAX for trial in self.trials)

    @property
    def holds(self) -> bool:
        """Whether this is what was promised."""
        return self.late == 0 and self.lost == 0


async def run(n: int, trials: int, clients: int, directory: Path | None = None) -> Result:
    """Found a federation, play the trials, read the logs."""
    with founded(n, directory) as federation:
        federation.start()
        doors = federation.doors(spread=True)
        load = Clients(doors, Commands(federation.genesis.chain_id), clients)
        load.start()
        found = []
        for number in range(trials):
            found.append(await _trial(federation, load))
            print(_line(number + 1, found[-1]), file=sys.stderr, flush=True)
        await load.stop()
        status = await agreed(federation)
        ordered = await asyncio.to_thread(ordered_requests, federation, 0)
        digests = {command.digest for command in load.acknowledged}
        return Result(
            trials=tuple(found),
            acknowledged=len(digests),
            lost=len(digests - set(ordered)),
            ordered_twice=sum(count > 1 for count in ordered.values()),
            log_size=int(str(status["log_size"])),
        )


async def _trial(federation: Federation, load: Clients) -> Trial:
    status = await _settled(federation)
    primary = int(status["primary"])
    before = len(load.acknowledged)
    killed = time.monotonic()
    await asyncio.to_thread(federation.kill, primary)
    resumed = await _resumed(load, before, killed)
    started = time.monotonic()
    federation.start_one(primary)
    await _caught_up(federation, primary)
    during = load.acknowledged[before:]
    return Trial(
        primary=primary,
        view=int(status["view"]),
        resumed_s=resumed - killed,
        waited_s=max(a.wait_s for a in during if a.asked_s <= resumed),
        caught_up_s=time.monotonic() - started,
    )


async def _settled(federation: Federation) -> dict[str, Any]:
    """The status of any replica, once all vote in one view and it has proven itself.

    Until then timeouts are still doubled because of the view before, which a kill has failed.
    """
    view, since = -1, 0
    async with asyncio.timeout(GIVEN_UP_S):
        while True:
            told = await _statuses(federation)
            views = {status.get("view") for status in told}
            if len(views) == 1 and all(status.get("active") for status in told):
                decided = int(told[0]["sequence"])
                if told[0]["view"] != view:
                    view, since = int(told[0]["view"]), decided
                if decided >= since + FORGIVING_BATCHES:
                    return told[0]
            await asyncio.sleep(POLL_S)


async def _resumed(load: Clients, before: int, killed: float) -> float:
    """When the first command that was asked for after the kill was answered."""
    async with asyncio.timeout(GIVEN_UP_S):
        while True:
            answered = [a.answered_s for a in load.acknowledged[before:] if a.asked_s > killed]
            if answered:
                return min(answered)
            await asyncio.sleep(POLL_S)


async def _caught_up(federation: Federation, index: int) -> None:
    """Until a replica that was started again votes and has what the others had then."""
    told = await _statuses(federation)
    goal = max(int(status.get("log_size", 0)) for status in told)
    async with asyncio.timeout(GIVEN_UP_S):
        while True:
            status = await asyncio.to_thread(federation.status, index)
            if status.get("active") and int(status["log_size"]) >= goal:
                return
            await asyncio.sleep(POLL_S)


async def _statuses(federation: Federation) -> list[dict[str, Any]]:
    """Of all replicas; empty ones of those that do not answer."""
    indices = range(len(federation.homes))
    return await asyncio.gather(*(asyncio.to_thread(federation.status, i) for i in indices))


def _line(number: int, trial: Trial) -> str:
    return (
        f"trial {number}: replica {trial.primary} killed in view {trial.view}; service resumed "
        f"after {trial.resumed_s:.2f} s, longest wait {trial.waited_s:.2f} s, caught up in "
        f"{trial.caught_up_s:.2f} s"
    )


def show(result: Result) -> str:
    """A few lines for people."""

    def spread(values: list[float]) -> str:
        ordered = sorted(values)
        return f"median {ordered[len(ordered) // 2]:.2f} s, longest {ordered[-1]:.2f} s"

    trials = result.trials
    return "\n".join(
        (
            f"{len(trials)} times the primary was killed under load",
            f"  service resumed after  {spread([t.resumed_s for t in trials])} "
            f"(bar {RESUMED_S_MAX:.0f} s, missed {result.late} times)",
            f"  longest wait           {spread([t.waited_s for t in trials])}",
            f"  it caught up within    {spread([t.caught_up_s for t in trials])}",
            f"  {result.acknowledged} commands acknowledged, {result.lost} of them lost; "
            f"{result.ordered_twice} ordered twice; {result.log_size} entries in one log",
        )
    )


def main(argv: list[str] | None = None) -> int:
    """Play and print; 1 when the promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--n", type=int, default=4, help="replicas")
    parser.add_argument("--clients", type=int, default=32, help="commands under way")
    parser.add_argument("--directory", type=Path, help="on the disk that matters")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    result = asyncio.run(run(options.n, options.trials, options.clients, options.directory))
    if options.json:
        json.dump(asdict(result), sys.stdout, indent=2)
        print()
    else:
        print(show(result))
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
