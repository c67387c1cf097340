"""Train one work unit: the miner's actual work."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from chain.records.contribution import WorkUnit
from chain.records.job import Job
from chain.rules.sampling import permutation
from miner.training.compression import encode_update
from miner.training.data import load
from miner.training.model import batch, load_model
from miner.training.optimizer import AdamW
from miner.training.segments import Segment, through

Progress = Callable[[int, int, float], None]
"""(steps done, steps in all, loss of the last batch in nats)."""

_ORDER = "gristmill/training/order/v1"
_PPM = 1_000_000


def train_unit(
    job: Job,
    base: bytes,
    unit: WorkUnit,
    records: Sequence[int],
    seed: bytes,
    progress: Progress | None = None,
) -> bytes:
    """Train the unit's segment on its chunk, from the base snapshot.

    Args:
        base: the snapshot's bytes.
        records: indices of the chunk's records.
        seed: 32 bytes that order the minibatches; any will do.
        progress: called after every step.

    Returns:
        The encoded update.

    Raises:
        ConfigError: data set or model family are not to be had here.
        DecodeError: `base` is no snapshot of this job.
        ValueError: training diverged.
    """
    torch.set_num_threads(1)  # a miner with more cores runs more units
    segments = load_model(job, base, torch.float32)
    inputs, labels = batch(load(job), records, torch.float32)
    inputs = through(segments[: unit.segment], inputs)
    start = segments[unit.segment]
    trained = Segment(*(part.clone().requires_grad_() for part in start.parameters))
    optimizer = AdamW(trained.parameters, job.learning_rate_ppm / _PPM)
    batches = minibatches(len(records), job.batch_records, seed)
    for step in range(1, unit.steps + 1):
        places = torch.tensor(next(batches))
        loss = trained.loss(inputs[places], labels[places])
        optimizer.step(torch.autograd.grad(loss, trained.parameters))
        if progress:
            progress(step, unit.steps, loss.item())
    return encode_update(job, unit.segment, _changes(unit.segment, start, trained))


def minibatches(records: int, size: int, seed: bytes) -> Iterator[list[int]]:
    """Endless batches of `size` places; every record once before any twice (SHA-256 order)."""
    places: list[int] = []
    epoch = 0
    while True:
        while len(places) < size:
            places += permutation(_ORDER, seed + epoch.to_bytes(8, "big"), records)
            epoch += 1
        yield places[:size]
        del places[:size]


def _changes(number: int, start: Segment, trained: Segment) -> dict[str, NDArray[np.float64]]:
    names = ("layer.weight", "layer.bias", "head.weight", "head.bias")
    pairs = zip(names, start.parameters, trained.parameters, strict=True)
    return {
        f"{number}.{name}": (after.detach() - before).double().numpy()
        for name, before, after in pairs
    }
