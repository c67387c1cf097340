"""The model as torch sees it: snapshot bytes -> floating tensors, and records -> batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bft.errors import ConfigError
from chain.records.job import Job
from chain.rules.updates import decode_snapshot
from miner.training.data import Dataset
from miner.training.segments import Segment, through

MODELS = (b"mlp",)


def load_model(job: Job, snapshot: bytes, dtype: torch.dtype) -> tuple[Segment, ...]:
    """All segments of a snapshot, by number.

    Raises:
        ConfigError: no model family of the job's name.
        DecodeError: no snapshot of this job.
    """
    if job.model not in MODELS:
        raise ConfigError(f"no model family {job.model!r}; known: mlp")
    weights = decode_snapshot(job, snapshot)
    return tuple(read_segment(job, weights, number, dtype) for number in range(job.segments))


def read_segment(
    job: Job,
    weights: Mapping[str, NDArray[np.integer[Any]]],
    number: int,
    dtype: torch.dtype,
    *,
    extra_bits: int = 0,
) -> Segment:
    """One segment's integers, units of 2**-(fraction_bits + extra_bits), as floating tensors."""
    names = ("layer.weight", "layer.bias", "head.weight", "head.bias")
    scale = 2.0 ** -(job.fraction_bits + extra_bits)
    parts = [weights[f"{number}.{name}"].astype(np.float64) * scale for name in names]
    return Segment(*(torch.from_numpy(part).to(dtype) for part in parts))


def batch(dataset: Dataset, indices: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Inputs (B, input_width) and labels (B,) int64 of some records."""
    places = np.asarray(indices, dtype=np.int64)
    inputs = torch.from_numpy(dataset.records[places]).to(dtype) * 2.0**-dataset.scale_shift
    return inputs, torch.from_numpy(dataset.labels[places].astype(np.int64))


def model_logits(segments: Sequence[Segment], inputs: Tensor) -> Tensor:
    """(B, classes): the whole model's answer, which is its last segment's head."""
    with torch.no_grad():
        return segments[-1].logits(through(segments[:-1], inputs))
