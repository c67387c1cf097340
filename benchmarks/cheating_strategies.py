"""What a miner may do instead of its unit: each strategy makes an update and says its work.

Work is a share of the unit's own: records that pass forwards and backwards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from chain.records.contribution import WorkUnit
from chain.records.job import Job
from chain.rules.assignment import training_seed
from miner.training.compression import encode_update
from miner.training.trainer import train_changes

Changes = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Place:
    """One unit in one cycle, and what its miner could get hold of."""

    job: Job
    base: bytes
    unit: WorkUnit
    chunk: Sequence[int]
    seed: bytes  # of the assignment
    honest: Changes  # the unit's own
    others: Sequence[Changes]  # honest ones of the same segment, from accomplices
    before: Changes | None  # the segment's mean update of the cycle before
    noise: np.random.Generator

    def train(
        self, work: float, *, rate: int = 1, batch: int = 1, dtype: torch.dtype = torch.float32
    ) -> Changes:
        """A share of the unit's steps, at `rate` times the learning rate, in batches 1/batch."""
        job = replace(
            self.job,
            learning_rate_ppm=self.job.learning_rate_ppm * rate,
            batch_records=self.job.batch_records // batch,
        )
        unit = replace(self.unit, steps=max(1, round(self.unit.steps * work * batch)))
        return train_changes(job, self.base, unit, self.chunk, self.order, dtype=dtype)

    @property
    def order(self) -> bytes:
        """What orders the unit's minibatches."""
        return training_seed(self.seed, self.unit)


Make = Callable[[Place], Changes]


def scaled(changes: Changes, factor: float) -> Changes:
    """Times `factor`."""
    return {name: part * factor for name, part in changes.items()}


def length(changes: Mapping[str, NDArray[np.float64]]) -> float:
    """Euclidean norm."""
    return float(np.sqrt(sum(float((part**2).sum()) for part in changes.values())))


def as_long(changes: Changes, other: Changes) -> Changes:
    """As long as `other`, which is what the cap lets through."""
    own = length(changes)
    return scaled(changes, length(other) / own) if own else changes


def mean(several: Sequence[Changes]) -> Changes:
    """Of at least one."""
    return {name: sum(one[name] for one in several) / len(several) for name in several[0]}


def noise(place: Place) -> Changes:
    """As long as honest work."""
    drawn = {name: place.noise.normal(size=part.shape) for name, part in place.honest.items()}
    return as_long(drawn, place.honest)


def noisy_copy(place: Place) -> Changes:
    """Another's update, disguised."""
    other = place.others[0]
    louder = scaled(noise(place), 0.3)
    return {name: part + louder[name] for name, part in other.items()}


def half_and_copies(place: Place) -> Changes:
    """Half of the steps, evened out by what accomplices trained."""
    return as_long(mean([as_long(place.train(0.5), place.honest), *place.others]), place.honest)


def own_choice(place: Place) -> Changes:
    """The same work on data of the miner's choice."""
    job, count = place.job, len(place.chunk)
    elsewhere = sorted(set(range(job.train_records)) - set(place.chunk))
    chosen = place.noise.choice(elsewhere, count, replace=False).tolist()
    return train_changes(job, place.base, place.unit, chosen, place.order)


STRATEGIES: dict[str, tuple[float, Make]] = {
    "honest": (1, lambda place: place.honest),
    "honest, in 64 bits": (1, lambda place: place.train(1, dtype=torch.float64)),
    "75 % of the steps": (0.75, lambda place: place.train(0.75)),
    "50 % of the steps": (0.5, lambda place: place.train(0.5)),
    "25 % of the steps": (0.25, lambda place: place.train(0.25)),
    "10 % of the steps": (0.1, lambda place: place.train(0.1)),
    "94 %, scaled to the cap": (0.94, lambda p: as_long(p.train(0.94), p.honest)),
    "90 %, scaled to the cap": (0.9, lambda p: as_long(p.train(0.9), p.honest)),
    "75 %, scaled to the cap": (0.75, lambda p: as_long(p.train(0.75), p.honest)),
    "50 %, scaled to the cap": (0.5, lambda p: as_long(p.train(0.5), p.honest)),
    "25 %, scaled to the cap": (0.25, lambda p: as_long(p.train(0.25), p.honest)),
    "10 %, scaled to the cap": (0.1, lambda p: as_long(p.train(0.1), p.honest)),
    "50 %, twice the learning rate": (0.5, lambda p: p.train(0.5, rate=2)),
    "50 %, 4 x learning rate": (0.5, lambda p: p.train(0.5, rate=4)),
    "50 %, half batches, scaled": (0.5, lambda p: as_long(p.train(0.5, batch=2), p.honest)),
    "25 %, half batches, scaled": (0.25, lambda p: as_long(p.train(0.25, batch=2), p.honest)),
    "50 %, averaged with others": (0.5, half_and_copies),
    "4 x learning rate": (1, lambda place: place.train(1, rate=4)),
    "twice the work": (2, lambda place: place.train(2)),
    "x 10": (1, lambda place: scaled(place.honest, 10)),
    "own choice of data": (1, own_choice),
    "sign flipped": (1, lambda place: scaled(place.honest, -1)),
    "copy of another unit": (0, lambda place: place.others[0]),
    "copy with noise": (0, noisy_copy),
    "average of others": (0, lambda p: as_long(mean(p.others), p.honest)),
    "last cycle's mean": (0, lambda p: p.before if p.before else scaled(p.honest, 0)),
    "noise": (0, noise),
    "zero": (0, lambda place: scaled(place.honest, 0)),
}


def bytes_of(place: Place, changes: Changes) -> bytes:
    """As it is uploaded."""
    return encode_update(place.job, place.unit.segment, changes)
