"""Ways to train one model with several miners, at equal total samples, through the product's own
functions: segments, losses, optimisers, update files and the outer step.  Used by training.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from chain.records.evaluation import ScoreRow
from chain.records.job import Job, Mode
from chain.rules.aggregation import QUALITY_MAX, outer_step
from chain.rules.families.registry import model_shapes, segment_parameters
from chain.rules.updates import SPARSE, sparse_format
from miner.training.compression import change_vector, encode_update, encode_with_feedback
from miner.training.dataset import Dataset
from miner.training.jobs import genesis_snapshot
from miner.training.model import (
    Model,
    batch,
    cross_entropy,
    load_model,
    model_logits,
    prefix,
    segment_loss,
)
from miner.training.optimizer import optimizer_named

_PPM = 1_000_000
_HELDOUT_AT_ONCE = 256
RANDOMNESS = bytes(32)  # nothing filters here, so that the agreed order decides nothing


@dataclass(frozen=True)
class Task:
    """A model, its data, and how much of it is trained."""

    name: str
    job: Job  # mode, segments, compression and outer step are the scheme's
    data: Dataset
    miners: int
    steps: int  # of each miner between two outer steps
    rounds: int  # outer steps


@dataclass(frozen=True)
class Scheme:
    """How the miners work together.  Without `exact` it is what the product does."""

    name: str
    mode: Mode = Mode.DATA_PARALLEL
    segments: int = 1
    keep: int = 0  # of each 4096; 0: dense, one byte a weight
    value_bits: int = 8
    rate: tuple[int, int] = (1, 1)
    momentum: float = 0.0
    exact: bool = False  # 32-bit floating point on the wire: DiLoCo as published
    keeps_moments: bool = False  # the inner optimiser's state lives on over outer steps
    alone: bool = False  # one machine with all miners' samples in each step


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    loss: float  # nats per prediction, all held-out records
    accuracy: float
    upload_bytes: int  # all updates of all miners
    smaller: float  # than fp32: of one update of its segment
    cpu_s: float


def run(task: Task, scheme: Scheme, seed: int) -> Outcome:
    """Train from the job's first model."""
    torch.set_num_threads(1)
    started = process_time()
    if scheme.alone:
        model, sent, plain = _alone(task, seed), 0, 0
    elif scheme.exact:
        model, sent, plain = _diloco(task, scheme, seed)
    else:
        model, sent, plain = _federated(task, scheme, seed)
    loss, accuracy = heldout(task, model)
    smaller = plain / sent if sent else 0.0
    return Outcome(loss, accuracy, sent, smaller, process_time() - started)


def job_of(task: Task, scheme: Scheme) -> Job:
    """The task's job, as the scheme wants it."""
    return replace(
        task.job,
        mode=scheme.mode,
        segments=scheme.segments,
        compression=SPARSE if scheme.keep else b"int8",
        keep=scheme.keep,
        value_bits=scheme.value_bits,
        outer_rate_numerator=scheme.rate[0],
        outer_rate_denominator=scheme.rate[1],
        outer_momentum=round(scheme.momentum * (1 << 16)),
    )


def heldout(task: Task, model: Model) -> tuple[float, float]:
    """Mean loss in nats, and the share of predictions that are right."""
    records = range(task.job.train_records, task.job.train_records + task.job.heldout_records)
    total, right, count = 0.0, 0, 0
    for start in range(0, len(records), _HELDOUT_AT_ONCE):
        part = records[start : start + _HELDOUT_AT_ONCE]
        inputs, labels = batch(model.job, task.data, part, torch.float32)
        logits = model_logits(model, inputs)
        total += cross_entropy(logits, labels).item() * labels.numel()
        right += int((logits.argmax(dim=-1) == labels).sum())
        count += labels.numel()
    return total / count, right / count


class Samples:
    """One miner's part of the training records, in its own order, round and round."""

    def __init__(self, task: Task, miner: int, of: int, seed: int) -> None:
        generator = np.random.default_rng([seed, miner])
        own = np.arange(miner, task.job.train_records, of)
        self._order = self._endless(own, generator)

    @staticmethod
    def _endless(own: np.ndarray, generator: np.random.Generator) -> Iterator[int]:
        while True:
            yield from generator.permutation(own).tolist()

    def take(self, count: int) -> list[int]:
        """The next records."""
        return [next(self._order) for _ in range(count)]


def _learn(
    task: Task,
    model: Model,
    segment: int,
    records: Sequence[int],
    size: int,
    moments: list[Tensor] | None,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The segment's tensors after one pass over the records, and the optimiser's state."""
    inputs, labels = batch(model.job, task.data, records, torch.float32)
    activations = prefix(model, segment, inputs)
    own = {name: part.clone().requires_grad_() for name, part in model.own(segment).items()}
    trained = list(own.values())
    rate = model.job.learning_rate_ppm / _PPM
    optimizer = optimizer_named(model.job.optimizer, trained, rate)
    if moments is not None:
        for here, before in zip(optimizer.state, moments, strict=True):
            here.copy_(before)
    for start in range(0, len(records), size):
        part = slice(start, start + size)
        loss = segment_loss(model, segment, own, activations[part], labels[part])
        optimizer.step(torch.autograd.grad(loss, trained))
    return {name: part.detach() for name, part in own.items()}, optimizer.state


def _whole(task: Task) -> Model:
    job = job_of(task, Scheme("whole"))
    return load_model(job, genesis_snapshot(job), torch.float32)


def _alone(task: Task, seed: int) -> Model:
    """AdamW on one machine: the same samples in as many steps as one miner makes."""
    model, samples, moments = _whole(task), Samples(task, 0, 1, seed), None
    size = task.job.batch_records * task.miners
    for _ in range(task.rounds):
        records = samples.take(size * task.steps)
        weights, moments = _learn(task, model, 0, records, size, moments)
        model.weights.update(weights)
    return model


def _diloco(task: Task, scheme: Scheme, seed: int) -> tuple[Model, int, int]:
    """In 32-bit floating point: mean of the changes, Nesterov's momentum."""
    model = _whole(task)
    samples = [Samples(task, miner, task.miners, seed) for miner in range(task.miners)]
    moments: list[list[Tensor] | None] = [None] * task.miners
    velocity = {name: torch.zeros_like(part) for name, part in model.weights.items()}
    rate = scheme.rate[0] / scheme.rate[1]
    size = task.job.batch_records
    for _ in range(task.rounds):
        mean = {name: torch.zeros_like(part) for name, part in model.weights.items()}
        for miner in range(task.miners):
            before = moments[miner] if scheme.keeps_moments else None
            records = samples[miner].take(size * task.steps)
            weights, moments[miner] = _learn(task, model, 0, records, size, before)
            for name, part in weights.items():
                mean[name] += (part - model.weights[name]) / task.miners
        for name, change in mean.items():
            velocity[name].mul_(scheme.momentum).add_(change)
            model.weights[name] += rate * (change + scheme.momentum * velocity[name])
    parameters = sum(part.numel() for part in model.weights.values())
    sent = 4 * parameters * task.miners * task.rounds
    return model, sent, sent


def _federated(task: Task, scheme: Scheme, seed: int) -> tuple[Model, int, int]:
    """As the federation does it: update files, error feedback, the outer step in whole numbers.

    There every inner optimiser starts afresh in each unit; `keeps_moments` says what that costs.
    """
    job = job_of(task, scheme)
    snapshot = genesis_snapshot(job)
    samples = [Samples(task, miner, task.miners, seed) for miner in range(task.miners)]
    rest = [
        np.zeros(segment_parameters(job, miner % job.segments), np.float32)
        for miner in range(task.miners)
    ]
    moments: list[list[Tensor] | None] = [None] * task.miners
    sent = plain = 0
    for _ in range(task.rounds):
        model, updates = load_model(job, snapshot, torch.float32), []
        for miner in range(task.miners):
            segment = miner % job.segments  # a miner keeps its segment
            records = samples[miner].take(job.batch_records * task.steps)
            before = moments[miner] if scheme.keeps_moments else None
            weights, moments[miner] = _learn(
                task, model, segment, records, job.batch_records, before
            )
            changes = {
                name: (part - model.weights[name]).double().numpy()
                for name, part in weights.items()
            }
            if scheme.keep:
                form = sparse_format(job, segment)
                vector = change_vector(job, segment, changes)
                data, rest[miner] = encode_with_feedback(form, vector, rest[miner])
            else:
                data = encode_update(job, segment, changes)
            updates.append((_score(miner, segment), data))
            sent += len(data)
            plain += 4 * segment_parameters(job, segment)
        (snapshot,) = outer_step(job, snapshot, updates, RANDOMNESS)
    return load_model(job, snapshot, torch.float32), sent, plain


def _score(unit: int, segment: int) -> ScoreRow:
    """Every unit counts alike, and as it came."""
    return ScoreRow(
        cycle=1,
        unit=unit,
        miner=bytes(33),
        segment=segment,
        parameters=1,
        samples=1,
        valid=1,
        gain=1,
        advantage=1,
        volume=1,
        coverage=1,
        quality=QUALITY_MAX,
        tickets=1,
        merit=1,
    )


def parameters_of(task: Task) -> int:
    """Of the whole model, without local heads."""
    job = job_of(task, Scheme("whole"))
    return sum(int(np.prod(shape)) for shape in model_shapes(job).values())
