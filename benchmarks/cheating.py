"""What cheating earns: strategies x tickets per unit of work, by the product's own scoring.

    python -m benchmarks.cheating [--task digits|text] [--seeds N] [--cycles N] [--json]

Honest miners train some cycles; in each but the first, every strategy stands in for one honest unit
of every segment and is measured and scored as a replica would.  Columns: tickets of a unit (honest
= 1), its work, tickets per unit of work with the standard error over seeds, the likeness to the
audit's own training, and the same once audits count: of a unit that fails, the chance to be drawn
(`audit_share`) costs the cycle's tickets and `barred_cycles` of the machine, both of params MAIN.
Exit status 1 when a strategy earns more than honest work by more than two standard errors.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from benchmarks.cheating_strategies import STRATEGIES, Changes, Place, bytes_of, mean
from benchmarks.training import python_text
from bft.crypto.hashing import sha256
from chain.params import MAIN, MINIMAL, Params
from chain.records.contribution import Profile, Standing, WorkUnit
from chain.records.evaluation import References
from chain.records.job import Job, make_sizes
from chain.rules.aggregation import outer_step
from chain.rules.assignment import (
    assign,
    challenge_records,
    chunk_records,
    control_records,
    own_records,
)
from chain.rules.families.registry import record_layout, segment_shapes
from chain.rules.scoring import initial_references, next_references, score
from chain.rules.updates import decode_change
from coordinator.evaluation.evaluator import Batches, Candidate, evaluate
from coordinator.evaluation.replay import ONE, likeness
from miner.training.data import ENVIRONMENT
from miner.training.dataset import write_dataset
from miner.training.jobs import digits_job, genesis_snapshot
from miner.training.trainer import train_changes

PROFILE = Profile(device=b"cpu", capacity=MINIMAL.unit_capacity, memory_bytes=1 << 30)
MINERS = 6


def digits() -> tuple[Job, Params]:
    """The demonstration's job."""
    return digits_job()[0], MINIMAL


def text() -> tuple[Job, Params]:
    """A byte-level transformer in two segments on the standard library's own modules."""
    job = replace(
        digits_job()[0],
        name=b"text",
        family=b"gpt",
        sizes=make_sizes(context=32, width=32, depth=2, heads=2, tied=0),
        segments=2,
        dataset=b"text",
        train_records=6_000,
        heldout_records=512,
        chunk_records=128,
        steps=16,
        batch_records=8,
        learning_rate_ppm=3_000,
    )
    data = python_text(job.train_records + job.heldout_records, record_layout(job).width)
    home = Path(tempfile.mkdtemp(prefix="gristmill-cheating-"))
    os.environ[ENVIRONMENT] = str(home)
    write_dataset(home, data)
    params = replace(MINIMAL, own_records=128, control_records=384, challenge_records=64)
    return replace(job, dataset_digest=data.digest), params


TASKS = {"digits": digits, "text": text}


@dataclass
class Run:
    """A chain's training from one seed, with nobody cheating."""

    job: Job
    params: Params
    seed: bytes
    base: bytes
    references: tuple[References, ...]
    before: dict[int, Changes]  # by segment

    def cycle(
        self, number: int, found: dict[str, list[float]], likes: dict[str, list[float]]
    ) -> None:
        """Train it; from the second one on let every strategy stand in for an honest unit."""
        job, seed = self.job, sha256(self.seed + bytes([number]))
        miners = {bytes([index]) * 33: PROFILE for index in range(MINERS)}
        units = {unit.unit: unit for unit in assign(seed, miners, {}, self.params, job)}
        chunks = {number: chunk_records(seed, job, unit.chunk) for number, unit in units.items()}
        places = self._places(units, chunks, seed)
        updates = {number: bytes_of(place, place.honest) for number, place in places.items()}
        rows = self._score(units, chunks, seed, list(updates.items()))
        if number > 1:
            for segment in range(job.segments):
                unit = next(number for number in units if units[number].segment == segment)
                self._play(units, chunks, seed, places[unit], found, likes)
        pairs = [(row, updates[row.unit]) for row in rows]
        (self.base,) = outer_step(job, self.base, pairs, seed)
        self.references = next_references(self.references, rows, self.params)
        for segment in range(job.segments):
            own = [place.honest for place in places.values() if place.unit.segment == segment]
            self.before[segment] = mean(own)

    def _places(
        self, units: dict[int, WorkUnit], chunks: dict[int, tuple[int, ...]], seed: bytes
    ) -> dict[int, Place]:
        places: dict[int, Place] = {}
        for number, unit in units.items():
            blank = Place(
                job=self.job,
                base=self.base,
                unit=unit,
                chunk=chunks[number],
                seed=seed,
                honest={},
                others=(),
                before=self.before.get(unit.segment),
                noise=np.random.default_rng([*seed, number]),
            )
            honest = train_changes(self.job, self.base, unit, chunks[number], blank.order)
            places[number] = Place(**{**blank.__dict__, "honest": honest})
        for number, place in places.items():
            others = [
                other.honest
                for other in places.values()
                if other.unit.segment == place.unit.segment and other.unit.unit != number
            ]
            places[number] = Place(**{**place.__dict__, "others": others})
        return places

    def _score(self, units, chunks, seed, updates):  # type: ignore[no-untyped-def]
        randomness = sha256(seed)
        items = [
            Candidate(
                units[number],
                data,
                own_records(randomness, number, chunks[number], self.params),
                self.references[units[number].segment].norm,
            )
            for number, data in updates
        ]
        shared = Batches(
            challenge=challenge_records(randomness, self.params, self.job),
            control=control_records(randomness, self.params, self.job),
            seed=seed,
        )
        measured = evaluate(self.job, self.params, self.base, items, shared)
        return score(1, units, measured, self.references, self.params, self.job)

    def _play(self, units, chunks, seed, place, found, likes):  # type: ignore[no-untyped-def]
        """Every strategy for one unit; its tickets, and what an audit would say."""
        number = place.unit.unit
        played = [bytes_of(place, make(place)) for _, make in STRATEGIES.values()]
        rows = self._score(units, chunks, seed, [(number, data) for data in played])
        own = train_changes(self.job, self.base, place.unit, place.chunk, place.order)
        names = segment_shapes(self.job, place.unit.segment)
        again = np.concatenate([own[name].ravel() for name in names]) * 2.0**self.job.fraction_bits
        for name, data, row in zip(STRATEGIES, played, rows, strict=True):
            found[name].append(row.tickets / row.volume)
            change = decode_change(self.job, place.unit.segment, data)
            told = change.part(0, change.elements).astype(np.float64)
            likes[name].append(likeness(told, again) / ONE)


def audited(passes: bool) -> float:
    """What is left of a strategy's tickets in the long run, by the rules of params MAIN."""
    if passes:
        return 1.0
    chance = MAIN.audit_share / ONE
    return (1 - chance) / (1 + chance * MAIN.barred_cycles)


def table(task: str, seeds: int, cycles: int) -> list[dict[str, object]]:
    """One row a strategy."""
    job, params = TASKS[task]()
    base = genesis_snapshot(job)
    by_seed: list[dict[str, list[float]]] = []
    likes: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        found: dict[str, list[float]] = defaultdict(list)
        run = Run(job, params, bytes([seed]), base, initial_references(params, job), {})
        for number in range(1, cycles + 1):
            run.cycle(number, found, likes)
        by_seed.append(found)
        print(f"{task}: seed {seed + 1} of {seeds} is done", file=sys.stderr)
    honest = float(np.mean([np.mean(found["honest"]) for found in by_seed]))
    rows = []
    for name, (work, _) in STRATEGIES.items():
        tickets = np.array([np.mean(found[name]) for found in by_seed]) / honest
        # Paired: each seed's strategy against the same seed's honest units.
        paired = np.array(
            [np.mean(found[name]) / honest - work * np.mean(found["honest"]) / honest
             for found in by_seed]
        )  # fmt: skip
        error = float(paired.std(ddof=1) / np.sqrt(seeds)) / (work or 1) if seeds > 1 else 0.0
        like = float(np.mean(likes[name]))
        passes = min(likes[name]) * ONE >= params.audit_cosine
        per_work = float(tickets.mean()) / work if work else None
        kept = audited(passes)
        rows.append(
            {
                "strategy": name,
                "work": work,
                "tickets": round(float(tickets.mean()), 3),
                "tickets_per_work": None if per_work is None else round(per_work, 3),
                "standard_error": round(error, 3),
                "likeness": round(like, 4),
                "tickets_with_audits": round(float(tickets.mean()) * kept, 3),
                "per_work_with_audits": None if per_work is None else round(per_work * kept, 3),
                "exceeds": bool(
                    per_work is not None and per_work * kept > 1 + 2 * error and name != "honest"
                ),
            }
        )
    return rows


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


def show(task: str, rows: list[dict[str, object]]) -> None:
    """A table for people."""
    print(f"\n{task}: tickets of honest work = 1")
    heads = f"{'strategy':32}{'work':>6}{'tickets':>9}{'per work':>10}{'+-':>7}"
    print(f"{heads}{'likeness':>9}{'audits':>8}")
    for row in rows:
        per = row["tickets_per_work"], row["per_work_with_audits"]
        plain, kept = (f"{value:.2f}" if isinstance(value, float) else "-" for value in per)
        mark = "  MORE THAN HONEST" if row["exceeds"] else ""
        print(
            f"{row['strategy']:32}{row['work']:6.2f}{row['tickets']:9.3f}{plain:>10}"
            f"{row['standard_error']:7.2f}{row['likeness']:9.3f}{kept:>8}{mark}"
        )


def main() -> int:
    """Both tasks, or one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=sorted(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    tasks = [told.task] if told.task else list(TASKS)
    tables = {task: table(task, told.seeds, told.cycles) for task in tasks}
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
