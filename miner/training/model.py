"""The model as torch sees it: snapshot bytes -> floating tensors, records -> batches, and the loss
by which a segment learns and is measured: one path for all modes.

    records -> inputs -> | stem, layers 0 .. first-1 | layers first .. last-1, head | -> loss
                         |   the frozen prefix       |   the segment's span         |

What `first`, `last` and the head are in each mode stands in chain/rules/families/cut.py.  In the
span all weights are the base model's, but for the segment's own.
Source for local heads: Belilovsky, Eickenberg, Oyallon, "Decoupled Greedy Learning of CNNs" (ICML
2020).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from chain.records.job import Job, sizes_of
from chain.rules.families.cut import Span
from chain.rules.families.family import HEAD, Sizes
from chain.rules.families.registry import (
    family_named,
    model_shapes,
    record_layout,
    segment_shapes,
    span,
)
from chain.rules.updates import decode_snapshot
from miner.training.dataset import Dataset
from miner.training.families.family import TorchFamily, Weights
from miner.training.families.registry import torch_family

ELEMENTS_MAX = 1 << 22
"""Values in one layer while records pass without gradient: what bounds their memory."""
JOBS_CACHED_MAX = 16


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """All tensors of a snapshot, of one floating type, and the family that computes with them."""

    job: Job
    family: TorchFamily
    sizes: Sizes
    weights: dict[str, Tensor]

    @property
    def layers(self) -> int:
        """Layers of the whole model."""
        return family_named(self.job.family).layers(self.sizes)

    def to(self, device: torch.device) -> "Model":
        """The same on a device."""
        return replace(self, weights={name: part.to(device) for name, part in self.weights.items()})

    def own(self, segment: int) -> dict[str, Tensor]:
        """The segment's tensors."""
        return {name: self.weights[name] for name in segment_shapes(self.job, segment)}


def load_model(job: Job, snapshot: bytes, dtype: torch.dtype) -> Model:
    """All tensors of a snapshot.

    Raises:
        ConfigError: no model family of the job's name.
        DecodeError: no snapshot of this job.
    """
    family = torch_family(job.family)
    weights = read_weights(job, decode_snapshot(job, snapshot), dtype)
    return Model(job=job, family=family, sizes=sizes_of(job), weights=weights)


def read_weights(
    job: Job,
    integers: Mapping[str, NDArray[np.integer[Any]]],
    dtype: torch.dtype,
    *,
    extra_bits: int = 0,
) -> dict[str, Tensor]:
    """Integers in units of 2**-(fraction_bits + extra_bits) as floating tensors."""
    scale = 2.0 ** -(job.fraction_bits + extra_bits)
    return {
        name: torch.from_numpy(part.astype(np.float64) * scale).to(dtype)
        for name, part in integers.items()
    }


def batch(
    job: Job, dataset: Dataset, indices: Sequence[int], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Inputs (B, ...) and labels, int64: (B,), or (B, predictions) where records are text."""
    places = np.asarray(indices, dtype=np.int64)
    numbers = torch.from_numpy(dataset.records[places])
    family, sizes = torch_family(job.family), sizes_of(job)
    if not record_layout(job).labelled:
        return family.inputs(sizes, numbers), numbers[:, 1:].long()
    labels = torch.from_numpy(dataset.labels[places].astype(np.int64))
    return family.inputs(sizes, numbers.to(dtype) * 2.0**-dataset.scale_shift), labels


def prefix(model: Model, segment: int, inputs: Tensor) -> Tensor:
    """Activations before the segment's span, for (B, ...) inputs; without gradient."""
    return advanced(model, inputs, 0, span(model.job, segment).first)


def advanced(model: Model, activations: Tensor, first: int, last: int) -> Tensor:
    """Activations before layer `last` from those before layer `first`; without gradient.

    Computed slice by slice, so that only the result is as large as all records; so the numbers are
    the same whether it is one way or several parts of it.
    """
    if first == last:
        return activations
    with torch.no_grad():
        slices = _slices(model, activations)
        parts = [_run(model, model.weights, first, last, part) for part in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def segment_loss(
    model: Model, segment: int, own: Weights, activations: Tensor, labels: Tensor
) -> Tensor:
    """Scalar: mean cross-entropy in nats per prediction, the segment's tensors being `own`.

    Args:
        own: the segment's tensors; gradients flow into them.
        activations: of `prefix`, (B, ...).
        labels: of `batch`.
    """
    where = span(model.job, segment)
    return cross_entropy(_through(model, {**model.weights, **own}, where, activations), labels)


def record_losses(
    model: Model, segment: int, own: Weights, activations: Tensor, labels: Tensor
) -> Tensor:
    """(B,): each record's mean cross-entropy in nats per prediction; arguments of `segment_loss`.

    Without gradient, slice by slice, as `prefix`.
    """
    where, weights = span(model.job, segment), {**model.weights, **own}
    parts, start = [], 0
    with torch.no_grad():
        for part in _slices(model, activations):
            logits = _through(model, weights, where, part)
            told = labels[start : start + len(part)]
            start += len(part)
            flat = functional.cross_entropy(logits.flatten(0, -2), told.flatten(), reduction="none")
            parts.append(flat.view(len(part), -1).mean(dim=1))
    return torch.cat(parts)


def model_logits(model: Model, inputs: Tensor) -> Tensor:
    """(B, classes) or (B, predictions, classes): the whole model's answer; without gradient."""
    whole = Span(0, model.layers, HEAD)
    with torch.no_grad():
        parts = [_through(model, model.weights, whole, part) for part in _slices(model, inputs)]
    return torch.cat(parts)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Scalar: mean over all predictions, nats."""
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten())


def _through(model: Model, weights: Weights, where: Span, activations: Tensor) -> Tensor:
    behind = _run(model, weights, where.first, where.last, activations)
    return model.family.logits(model.sizes, weights, where.head, behind)


def _run(model: Model, weights: Weights, first: int, last: int, activations: Tensor) -> Tensor:
    if not first:
        activations = model.family.stem(model.sizes, weights, activations)
    for number in range(first, last):
        activations = model.family.layer(model.sizes, weights, number, activations)
    return activations


def _slices(model: Model, inputs: Tensor) -> Iterator[Tensor]:
    """The inputs in slices of bounded size, about ELEMENTS_MAX values in a layer."""
    size = max(1, ELEMENTS_MAX // _record_values(model.job))
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]


@lru_cache(maxsize=JOBS_CACHED_MAX)
def _record_values(job: Job) -> int:
    """About how many values a record has in the model's largest layer.

    Where a record has places (pixels, bytes), each may have the model's width of them; else it is
    seen by sending one through.
    """
    family, sizes, width = torch_family(job.family), sizes_of(job), record_layout(job).width
    weights = {name: torch.zeros(shape) for name, shape in model_shapes(job).items()}
    kind = torch.float32 if record_layout(job).labelled else torch.uint8
    seen = family.stem(sizes, weights, family.inputs(sizes, torch.zeros(1, width, dtype=kind)))
    largest = width
    for number in range(family_named(job.family).layers(sizes)):
        seen = family.layer(sizes, weights, number, seen)
        largest = max(largest, seen.numel())
    return largest if seen.dim() == 2 else width * sizes.get("width", 1)
