"""What cheating earns: strategies x tickets per unit of work, measured, then played on for years.

    python -m benchmarks.cheating [--task NAME ...] [--seeds N] [--cycles N] [--play N] [--trials N]
                                   [--json]

Columns, honest work being 1: tickets of a unit, and per unit of work, as long as nobody looks; the
likeness to the audit's own training, and the share of units that fail; then tickets per unit of
work over `--play` cycles with audits, bars and trials by the rules of MAIN (cheating_play.py), for
each policy the better of one key and several (`--trials 0`: as if keys had no trial); +- is the
standard error over seeds of the best.  Strategies without work show tickets where they do none.
Exit status 1 when a strategy of an audited task earns more than honest work by more than two
standard errors, or anything at all without work.
"""

import argparse
import json
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import numpy as np
from msgspec.structs import replace

from benchmarks.cheating_measure import TASKS, pool
from benchmarks.cheating_play import PARAMS, POLICIES, Outcome, Pool, played
from benchmarks.cheating_strategies import STRATEGIES
from bft.crypto.hashing import sha256
from chain.params import MAIN, Params
from chain.records.contribution import Profile, Standing
from chain.records.job import SPARSE, Job
from chain.rules.assignment import assign
from chain.rules.scoring import ONE, clamp_ratio
from miner.training.jobs import digits_job

Row = dict[str, object]
WORK = {name: work for name, (work, _) in STRATEGIES.items()}
PROCESSES = 2


def table(task: str, seeds: int, cycles: int, play: int, params: Params) -> list[Row]:
    """One row a strategy."""
    job, _ = TASKS[task]()
    with ProcessPoolExecutor(PROCESSES) as workers:
        pools = list(workers.map(pool, repeat(task), range(seeds), repeat(cycles)))
        print(f"{task}: {seeds} seeds are trained", file=sys.stderr)
        plays = list(
            workers.map(balances, repeat(job), repeat(params), pools, range(seeds), repeat(play))
        )
        print(f"{task}: and played for {play} cycles", file=sys.stderr)
    honest = np.array([np.mean([worth(one) for one in found["honest"]]) for found in pools])
    rows: list[Row] = []
    for name, work in WORK.items():
        alone = np.array([np.mean([worth(one) for one in found[name]]) for found in pools])
        tickets = alone / np.mean(honest)
        likes = [one.replay for found in pools for one in found[name]]
        row: Row = {
            "strategy": name,
            "work": work,
            "tickets": round(float(tickets.mean()), 3),
            "per_work": round(float(tickets.mean()) / work, 3) if work else None,
            "per_work_error": round(
                error(tickets - work * honest / np.mean(honest)) / (work or 1), 3
            ),
            "likeness": round(float(np.mean(likes)) / ONE, 4),
            "fail": round(float(np.mean([like < PARAMS.audit_cosine for like in likes])), 3),
        }
        best, spread = 0.0, 0.0
        for policy in POLICIES:
            runs = np.array(
                [found[policy, name] / found[POLICIES[0], "honest"] for found in plays]
            )  # paired: each seed against its own honest machine
            row[policy] = round(float(runs.mean()), 3)
            if runs.mean() > best:
                best, spread = float(runs.mean()), error(runs)
        row["error"] = round(spread, 3)
        idle = not work and max(float(str(row[policy])) for policy in POLICIES[:2]) > 0
        row["exceeds"] = job.compression != SPARSE and (best > 1 + 2 * spread or idle)
        rows.append(row)
    return rows


def worth(outcome: Outcome) -> float:
    """Tickets of a unit by its volume, as long as nobody audits it."""
    coverage = clamp_ratio(outcome.advantage, ONE, 2 * ONE) / ONE
    return coverage**2 * clamp_ratio(outcome.gain, ONE) / ONE


def error(values: np.ndarray) -> float:
    """The standard error of their mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def balances(
    job: Job, params: Params, found: Pool, seed: int, cycles: int
) -> dict[tuple[str, str], float]:
    """(policy, strategy) -> tickets per unit of work, of the better division into keys.

    Tickets where no work was done at all.
    """
    best: dict[tuple[str, str], float] = defaultdict(float)
    for policy in POLICIES:
        for (name, _), (tickets, work, _) in played(
            job, params, found, WORK, policy, seed, cycles
        ).items():
            best[policy, name] = max(best[policy, name], tickets / work if work else tickets)
    return dict(best)


def splits() -> list[dict[str, object]]:
    """Units of one machine under one identity, under several, and of a crowd of fresh ones."""
    job = replace(digits_job()[0], train_records=10**6, chunk_records=100)
    params = replace(MAIN, unit_capacity=1, units_per_miner_max=64)
    seed, whole = sha256(b"split"), 24
    rest = {bytes([2]) + index.to_bytes(32, "big"): 10 for index in range(40)}

    def units_of(identities: int, asked: int, shown: int) -> int:
        own = {bytes([3]) + index.to_bytes(32, "big"): asked for index in range(identities)}
        profiles = {
            key: Profile(device=b"cpu", capacity=capacity, memory_bytes=1)
            for key, capacity in {**rest, **own}.items()
        }
        standings = {
            key: Standing(units=10 if key in rest else shown, segment=0, cycle=1, barred_until=0)
            for key in profiles
        }
        units = assign(seed, profiles, standings, params, job)
        assert sum(unit.miner in rest for unit in units) >= 400, "somebody else lost units"
        return sum(unit.miner in own for unit in units)

    return [
        {"identities": count, "units": units_of(count, whole // count, whole // count)}
        for count in (1, 2, 4, 8, 24)
    ] + [
        {"identities": 1_000, "units": units_of(1_000, 64, 0), "fresh": True},
        {"identities": 1, "units": units_of(1, 64, whole), "claims": 64},
    ]


def show(task: str, rows: list[Row]) -> None:
    """A table for people."""
    print(f"\n{task}: tickets of honest work = 1")
    print(f"{'':28}{'':>6}{'nobody looks':^23}{'audits':^14}{'per unit of work, played':^33}")
    heads = (
        f"{'strategy':28}{'work':>6}{'tickets':>9}{'per work':>9}{'+-':>5}{'like':>8}{'fail':>6}"
    )
    print(heads + "".join(f"{policy:>12}" for policy in POLICIES) + f"{'+-':>6}")
    for row in rows:
        per = f"{row['per_work']:9.2f}" if row["work"] else f"{'-':>9}"
        mark = "  MORE THAN HONEST" if row["exceeds"] else ""
        print(
            f"{row['strategy']:28}{row['work']:6.2f}{row['tickets']:9.3f}{per}"
            f"{row['per_work_error']:5.2f}{row['likeness']:8.4f}{row['fail']:6.2f}"
            + "".join(f"{row[policy]:12.2f}" for policy in POLICIES)
            + f"{row['error']:6.2f}{mark}"
        )


def main() -> int:
    """Both tasks, or those that were named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=sorted(TASKS), action="append")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--play", type=int, default=3_000)
    parser.add_argument("--trials", type=int, default=MAIN.trial_audits)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    tasks = told.task or list(TASKS)[:2]
    params = replace(PARAMS, trial_audits=told.trials)
    tables = {task: table(task, told.seeds, told.cycles, told.play, params) for task in tasks}
    found = splits()
    if told.json:
        json.dump({"tasks": tables, "splits": found}, sys.stdout, indent=2)
        print()
    else:
        for task, rows in tables.items():
            show(task, rows)
        print("\none machine of 24 units, beside 40 miners with 10 proven units each")
        for split in found:
            print("  " + ", ".join(f"{name}: {value}" for name, value in split.items()))
    return int(any(row["exceeds"] for rows in tables.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
