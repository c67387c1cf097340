"""What one unit of every strategy measures: really trained, evaluated and trained again.

Honest miners train a chain's first cycles; in each but the first, every strategy stands in for one
honest unit of every segment and is measured as a replica would: gain, own-data advantage, and, as
an audit does, the likeness to what training the unit once more gives.
"""

import os
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from benchmarks.cheating_play import Outcome
from benchmarks.cheating_strategies import STRATEGIES, Changes, Place, bytes_of, mean
from benchmarks.training import python_text
from bft.crypto.hashing import sha256
from chain.params import MINIMAL, Params
from chain.records.contribution import Profile, WorkUnit
from chain.records.evaluation import EvaluationRow, References
from chain.records.job import SPARSE, Job, Mode, make_sizes
from chain.rules.aggregation import outer_step
from chain.rules.assignment import (
    assign,
    challenge_records,
    chunk_records,
    control_records,
    own_records,
)
from chain.rules.families.registry import record_layout
from chain.rules.scoring import ONE, initial_references, next_references, score
from chain.rules.updates import decode_change
from coordinator.evaluation.evaluator import Batches, Candidate, evaluate
from coordinator.evaluation.replay import likeness, train_again
from miner.training.data import ENVIRONMENT
from miner.training.dataset import write_dataset
from miner.training.jobs import digits_job, genesis_snapshot

PROFILE = Profile(device=b"cpu", capacity=MINIMAL.unit_capacity, memory_bytes=1 << 30)
MINERS = 6
HOME = tempfile.TemporaryDirectory(prefix="gristmill-cheating-")  # of data sets; gone at exit


def digits() -> tuple[Job, Params]:
    """The demonstration's job: a perceptron in segments with heads of their own."""
    return digits_job()[0], MINIMAL


def text(**other: object) -> tuple[Job, Params]:
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
    job = replace(job, **other)
    data = python_text(job.train_records + job.heldout_records, record_layout(job).width)
    os.environ[ENVIRONMENT] = HOME.name
    write_dataset(Path(HOME.name), data)
    params = replace(MINIMAL, own_records=128, control_records=384, challenge_records=64)
    return replace(job, dataset_digest=data.digest), params


TASKS = {
    "digits": digits,
    "text": text,
    "text, joint": lambda: text(mode=Mode.JOINT),
    "text, shards": lambda: text(mode=Mode.SHARD),
    "text, data-parallel": lambda: text(mode=Mode.DATA_PARALLEL, segments=1),
    "text, sparse": lambda: text(compression=SPARSE, keep=512, value_bits=4),
}
"""By default the first two; the last is not audited."""


@dataclass
class Run:
    """A chain's training from one seed, with nobody cheating."""

    job: Job
    params: Params
    seed: bytes
    base: bytes
    references: tuple[References, ...]
    before: dict[int, Changes]  # by segment

    def cycle(self, number: int) -> dict[str, list[Outcome]]:
        """Train it; from the second one on what strategies measure, else nothing."""
        job, seed = self.job, sha256(self.seed + bytes([number]))
        miners = {bytes([index]) * 33: PROFILE for index in range(MINERS)}
        units = {unit.unit: unit for unit in assign(seed, miners, {}, self.params, job)}
        places = self._places(units, seed)
        updates = [(number, bytes_of(place, place.honest)) for number, place in places.items()]
        measured = self._measure(places, seed, updates)
        found: dict[str, list[Outcome]] = defaultdict(list)
        if number > 1:
            for segment in range(job.segments):
                unit = next(number for number in units if units[number].segment == segment)
                for name, outcome in self._outcomes(places, seed, unit).items():
                    found[name].append(outcome)
        rows = score(1, units, measured, self.references, self.params, job)
        pairs = [(row, data) for row, (_, data) in zip(rows, updates, strict=True)]
        (self.base,) = outer_step(job, self.base, pairs, seed)
        self.references = next_references(self.references, rows, self.params)
        for segment in range(job.segments):
            own = [place.honest for place in places.values() if place.unit.segment == segment]
            self.before[segment] = mean(own)
        return found

    def _places(self, units: dict[int, WorkUnit], seed: bytes) -> dict[int, Place]:
        blank = {
            number: Place(
                job=self.job,
                base=self.base,
                unit=unit,
                chunk=chunk_records(seed, self.job, unit.chunk),
                seed=seed,
                honest={},
                others=(),
                before=self.before.get(unit.segment),
                noise=np.random.default_rng([*seed, number]),
            )
            for number, unit in units.items()
        }
        honest = {number: place.train(1) for number, place in blank.items()}
        return {
            number: changed(
                place,
                honest=honest[number],
                others=[
                    honest[other]
                    for other in units
                    if units[other].segment == place.unit.segment and other != number
                ],
            )
            for number, place in blank.items()
        }

    def _measure(
        self, places: dict[int, Place], seed: bytes, updates: list[tuple[int, bytes]]
    ) -> tuple[EvaluationRow, ...]:
        """In the order of the updates, each for a unit by its number."""
        randomness = sha256(seed)
        items = [
            Candidate(
                places[number].unit,
                data,
                own_records(randomness, number, tuple(places[number].chunk), self.params),
                self.references[places[number].unit.segment].norm,
            )
            for number, data in updates
        ]
        shared = Batches(
            challenge=challenge_records(randomness, self.params, self.job),
            control=control_records(randomness, self.params, self.job),
            seed=seed,
        )
        return evaluate(self.job, self.params, self.base, items, shared)

    def _outcomes(self, places: dict[int, Place], seed: bytes, number: int) -> dict[str, Outcome]:
        """Of every strategy for one unit."""
        place = places[number]
        played = [bytes_of(place, make(place)) for _, make in STRATEGIES.values()]
        rows = self._measure(places, seed, [(number, data) for data in played])
        likes = self._likes(place, played)
        full = self.references[place.unit.segment]
        return {
            name: Outcome(
                gain=row.gain * ONE // full.gain,
                advantage=row.advantage * ONE // full.advantage,
                replay=like,
            )
            for name, row, like in zip(STRATEGIES, rows, likes, strict=True)
        }

    def _likes(self, place: Place, played: list[bytes]) -> list[int]:
        """What an audit says, by its own training of the unit."""
        own = train_again(self.job, self.base, place.unit, place.chunk, place.seed)
        return [likeness(decode_change(self.job, place.unit.segment, data), own) for data in played]


def pool(task: str, seed: int, cycles: int) -> dict[str, list[Outcome]]:
    """By strategy, the outcomes of one chain's cycles."""
    job, params = TASKS[task]()
    base, references = genesis_snapshot(job), initial_references(params, job)
    run = Run(job, params, bytes([seed]), base, references, {})
    found: dict[str, list[Outcome]] = defaultdict(list)
    for number in range(1, cycles + 1):
        for name, outcomes in run.cycle(number).items():
            found[name] += outcomes
    return found
