"""What one update is worth, measured: losses of its segment before and after a damped step.

Each unit is measured at base + update * 2**-step_shift, on the cycle's challenge batch and on
records of the unit's own chunk, by the loss that the segment learns by (miner/training/model.py);
what stands before its span is computed only once.  64-bit floating point: honest replicas
differ by about 1e-15 nats, far below the micro-nats that they sign.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from bft.errors import DecodeError
from chain.params import Params
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow
from chain.records.job import Job
from chain.rules.updates import decode_snapshot, decode_update
from miner.training.data import load
from miner.training.dataset import Dataset
from miner.training.families.family import Weights
from miner.training.model import (
    batch,
    cross_entropy,
    load_model,
    model_logits,
    prefix,
    read_weights,
    segment_loss,
)

MICRO = 1_000_000
LOSS_NATS_MAX = 1e6  # a loss above is no measurement: the update counts as invalid


@dataclass(frozen=True, slots=True)
class Candidate:
    """One revealed unit and its update's bytes; None when this replica could not get them."""

    unit: WorkUnit
    update: bytes | None


def evaluate(
    job: Job,
    params: Params,
    base: bytes,
    items: Sequence[Candidate],
    challenge: Sequence[int],
    own: Mapping[int, Sequence[int]],
) -> tuple[EvaluationRow, ...]:
    """One row per item, in their order.

    Args:
        base: the snapshot that the miners started from.
        challenge: indices of the challenge batch's records, at least one.
        own: unit number -> indices of its own records, at least one.

    Raises:
        ConfigError: data set or model family are not to be had here.
        DecodeError: `base` is no snapshot of this job.
    """
    bench = _Bench(job, params, base, challenge)
    return tuple(bench.measure(item, own[item.unit.unit]) for item in items)


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


class _Bench:
    """The base model and its challenge batch; per segment, activations and losses kept."""

    def __init__(self, job: Job, params: Params, base: bytes, challenge: Sequence[int]) -> None:
        torch.set_num_threads(1)  # one worker, one thread: sums in one order
        self._job, self._params = job, params
        self._dataset: Dataset = load(job)
        self._weights = decode_snapshot(job, base)
        self._model = load_model(job, base, torch.float64)
        self._challenge = challenge
        self._prefixes: dict[int, tuple[Tensor, Tensor, float]] = {}

    def measure(self, item: Candidate, own: Sequence[int]) -> EvaluationRow:
        """Gain and advantage of one update; zeros when it is invalid."""
        invalid = EvaluationRow(unit=item.unit.unit, valid=0, gain=0, advantage=0)
        if item.update is None or len(item.update) > self._params.update_bytes_max:
            return invalid
        segment = item.unit.segment
        try:
            after = self._stepped(segment, item.update)
        except DecodeError:
            return invalid
        inputs, labels, loss_before = self._prefix(segment)
        own_inputs, own_labels = self._inputs(segment, own)
        losses = (
            loss_before,
            self._loss(segment, after, inputs, labels),
            self._loss(segment, self._model.own(segment), own_inputs, own_labels),
            self._loss(segment, after, own_inputs, own_labels),
        )
        if not all(isfinite(loss) and loss <= LOSS_NATS_MAX for loss in losses):
            return invalid
        gain = round((losses[0] - losses[1]) * MICRO)
        own_gain = round((losses[2] - losses[3]) * MICRO)
        return EvaluationRow(unit=item.unit.unit, valid=1, gain=gain, advantage=own_gain - gain)

    def _stepped(self, segment: int, update: bytes) -> Weights:
        """The segment's tensors after a step of update * 2**-step_shift.  Raises DecodeError."""
        deltas = decode_update(self._job, segment, update)
        shift = self._params.step_shift
        # In units 2**-(fraction_bits + step_shift), so that the damped step is exact.
        moved = {
            name: (self._weights[name].astype(delta.dtype) << shift) + delta
            for name, delta in deltas.items()
        }
        return read_weights(self._job, moved, torch.float64, extra_bits=shift)

    def _prefix(self, segment: int) -> tuple[Tensor, Tensor, float]:
        """The challenge batch as the segment sees it, its labels, and the loss before."""
        if segment not in self._prefixes:
            inputs, labels = self._inputs(segment, self._challenge)
            loss = self._loss(segment, self._model.own(segment), inputs, labels)
            self._prefixes[segment] = inputs, labels, loss
        return self._prefixes[segment]

    def _inputs(self, segment: int, records: Sequence[int]) -> tuple[Tensor, Tensor]:
        inputs, labels = batch(self._job, self._dataset, records, torch.float64)
        return prefix(self._model, segment, inputs), labels

    def _loss(self, segment: int, own: Weights, activations: Tensor, labels: Tensor) -> float:
        """Mean loss of the segment, nats per prediction."""
        with torch.no_grad():
            return segment_loss(self._model, segment, own, activations, labels).item()
