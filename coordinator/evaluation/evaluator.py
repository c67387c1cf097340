"""What one update is worth, measured: losses of its segment before and after a damped step.

Each unit is measured at base + update * 2**-step_shift, the update scaled down to its segment's
cap, by the loss that the segment learns by (miner/training/model.py): its mean over the cycle's
challenge batch, and record by record over the unit's own data and over control records.  What
stands before the segment's span is computed only once for the batches that units share, layer by
layer on from what an earlier segment sees; and so are the losses before any update where segments
have the same ones (in the joint mode all have the whole model's).

In 64-bit floating point honest replicas differ by about 1e-15 nats, in 32-bit by 1e-7; they sign
micro-nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bft.errors import DecodeError
from chain.params import Params
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow
from chain.records.job import Job
from chain.rules.changes import Change
from chain.rules.families.registry import span
from chain.rules.norms import limited, norm
from chain.rules.updates import by_name, decode_change, decode_snapshot
from coordinator.cycle.duties import Measurement
from coordinator.evaluation.coverage import Losses, advantage
from coordinator.evaluation.replay import replay
from miner.training.data import load
from miner.training.dataset import Dataset
from miner.training.families.family import Weights
from miner.training.model import (
    Model,
    advanced,
    batch,
    cross_entropy,
    load_model,
    model_logits,
    read_weights,
    record_losses,
)

MICRO = 1_000_000
DTYPES = {b"fp64": torch.float64, b"fp32": torch.float32}
GAIN_MAX = 2**31 - 1  # micro-nats that a row can hold; no honest gain comes near
LOSS_NATS_MAX = 1e6  # a record's loss above is no measurement: the update counts as invalid


@dataclass(frozen=True, slots=True)
class Candidate:
    """One revealed unit, its update's bytes, and on which data it is measured."""

    unit: WorkUnit
    update: bytes | None  # None when this replica could not get them
    own: Sequence[int] = ()  # records of the unit's chunk; with none the advantage is 0
    cap: int = 0  # the largest norm that counts, see chain/rules/norms.py; 0: any
    chunk: Sequence[int] = ()  # all records of its chunk if the unit is audited, else none


@dataclass(frozen=True, slots=True)
class Batches:
    """What all units of a cycle are measured with."""

    challenge: Sequence[int]  # held-out records, at least one
    control: Sequence[
        int
    ]  # training records, maybe none; those of a unit's own chunk are left out for it
    seed: bytes = bytes(32)  # of the assignment


def candidates(measurement: Measurement, updates: Sequence[bytes | None]) -> list[Candidate]:
    """What a replica owes a cycle, with the bytes that it could get, in the same order."""
    return [
        Candidate(
            unit=unit,
            update=update,
            own=measurement.own[unit.unit],
            cap=measurement.caps[unit.segment],
            chunk=measurement.audited.get(unit.unit, ()),
        )
        for (unit, _), update in zip(measurement.candidates, updates, strict=True)
    ]


def batches(measurement: Measurement) -> Batches:
    """What all of them are measured with."""
    return Batches(measurement.challenge, measurement.control, measurement.seed)


def evaluate(
    job: Job, params: Params, base: bytes, items: Sequence[Candidate], shared: Batches
) -> tuple[EvaluationRow, ...]:
    """One row per item, in their order.

    Args:
        base: the snapshot that the miners started from.
        shared: the same for all units of the cycle, whatever part of them is measured here.

    Raises:
        ConfigError: data set or model family are not to be had here.
        DecodeError: `base` is no snapshot of this job.
    """
    bench = Bench(job, params, base, shared)
    return tuple(bench.measure(item) for item in items)


def heldout(job: Job, snapshot: bytes) -> tuple[int, int, int]:
    """The whole model on all held-out records.

    Returns:
        Mean loss in micro-nats (rounded half to even), predictions that are right, predictions.

    Raises:
        ConfigError, DecodeError: as `evaluate`.
        ValueError: the loss is not finite.
    """
    torch.set_num_threads(1)
    pool = range(job.train_records, job.train_records + job.heldout_records)
    inputs, labels = batch(job, load(job), pool, torch.float64)
    logits = model_logits(load_model(job, snapshot, torch.float64), inputs)
    loss = cross_entropy(logits, labels).item()
    if not isfinite(loss):
        raise ValueError(f"held-out loss is {loss}")
    correct = int((logits.argmax(dim=-1) == labels).sum().item())
    return round(loss * MICRO), correct, labels.numel()


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Records as a segment sees them, and their losses before any update."""

    activations: Tensor
    labels: Tensor
    before: Losses  # (B,) nats


class _Batch:
    """Some records, as far as segments have asked how they see them."""

    def __init__(self, model: Model, inputs: Tensor, labels: Tensor) -> None:
        self._model, self._labels = model, labels
        self._before_layer = {0: inputs}
        self._losses: dict[tuple[int, str], Losses] = {}  # by last layer and head

    def seen(self, segment: int) -> _Measured:
        """The records as this segment sees them."""
        model, where = self._model, span(self._model.job, segment)
        if where.first not in self._before_layer:
            nearest = max(layer for layer in self._before_layer if layer < where.first)
            known = self._before_layer[nearest]
            self._before_layer[where.first] = advanced(model, known, nearest, where.first)
        activations = self._before_layer[where.first]
        ends = (where.last, where.head)
        if ends not in self._losses:
            own = model.own(segment)
            losses = record_losses(model, segment, own, activations, self._labels)
            self._losses[ends] = losses.double().numpy()
        return _Measured(activations, self._labels, self._losses[ends])


class Bench:
    """The base model and the shared batches; per segment, activations and losses kept.

    Raises:
        ConfigError, DecodeError: as `evaluate`.
    """

    def __init__(self, job: Job, params: Params, base: bytes, shared: Batches) -> None:
        torch.set_num_threads(1)  # one worker, one thread: sums in one order
        self._job, self._params, self._base, self._batches = job, params, base, shared
        self._dtype = DTYPES[job.evaluation]
        self._dataset: Dataset = load(job)
        self._weights = read_weights(job, decode_snapshot(job, base), torch.float64)
        self._model = load_model(job, base, self._dtype)
        both = [*shared.challenge, *shared.control]  # one batch: fewer and larger products
        self._shared = _Batch(self._model, *self._read(both))

    def measure(self, item: Candidate) -> EvaluationRow:
        """Gain, advantage, norm and perhaps replay of one update; zeros when it is invalid."""
        unit, segment = item.unit.unit, item.unit.segment
        invalid = EvaluationRow(unit=unit, valid=0, gain=0, advantage=0, norm=0, replay=0)
        if item.update is None or len(item.update) > self._params.update_bytes_max:
            return invalid
        try:
            change = decode_change(self._job, segment, item.update)
        except DecodeError:
            return invalid
        after = self._stepped(segment, limited(change, item.cap))
        shared = self._removed(segment, after, self._shared.seen(segment))
        removed = np.zeros(0)
        if item.own:
            own = _Batch(self._model, *self._read(item.own))
            removed = self._removed(segment, after, own.seen(segment))
        if not (np.isfinite(shared).all() and np.isfinite(removed).all()):
            return invalid
        challenge, control = np.split(shared, [len(self._batches.challenge)])
        strangers = self._strangers(item.own)
        return EvaluationRow(
            unit=unit,
            valid=1,
            gain=max(-GAIN_MAX, min(GAIN_MAX, round(float(challenge.mean()) * MICRO))),
            advantage=advantage(removed, control[strangers]),
            norm=norm(change),
            replay=self._replayed(item, change) if item.chunk else 0,
        )

    def _strangers(self, own: Sequence[int]) -> NDArray[np.bool_]:
        """(B,) which control records are none of the unit's own."""
        free = np.ones(self._job.train_records + self._job.heldout_records, np.bool_)
        free[np.asarray(own, np.int64)] = False
        return free[np.asarray(self._batches.control, np.int64)]

    def _replayed(self, item: Candidate, change: Change) -> int:
        unit, seed = item.unit, self._batches.seed
        return replay(self._job, self._base, unit, item.chunk, seed, change)

    def _stepped(self, segment: int, change: Change) -> Weights:
        """The segment's tensors after a step of the update * 2**-step_shift."""
        scale = 2.0 ** -(self._job.fraction_bits + self._params.step_shift)
        deltas = by_name(self._job, segment, change.part(0, change.elements))
        # Exact: weight and damped delta are multiples of `scale`, and their sum has below 53 bits.
        return {
            name: torch.from_numpy(delta * scale).add_(self._weights[name]).to(self._dtype)
            for name, delta in deltas.items()
        }

    def _read(self, records: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inputs and labels."""
        return batch(self._job, self._dataset, records, self._dtype)

    def _removed(self, segment: int, after: Weights, part: _Measured) -> Losses:
        """(B,) nats that the update removes from each record's loss; NaN where it is absurd."""
        told = record_losses(self._model, segment, after, part.activations, part.labels)
        losses = told.double().numpy()
        possible = (part.before <= LOSS_NATS_MAX) & (losses <= LOSS_NATS_MAX)
        return np.where(possible, part.before - losses, np.nan)
