"""Train one work unit: the miner's actual work."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from chain.records.contribution import WorkUnit
from chain.records.job import SPARSE, Job
from chain.rules.sampling import permutation
from miner.training.compression import encode_unit
from miner.training.data import load
from miner.training.device import autocast, choose_device
from miner.training.feedback import FeedbackStore
from miner.training.model import batch, load_model, prefix, segment_loss
from miner.training.optimizer import optimizer_named
from miner.training.unfinished import Unfinished, work_digest

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
    feedback: FeedbackStore | None = None,
    unfinished: Path | None = None,
    device: str = "cpu",
) -> bytes:
    """Train the unit's segment on its chunk, from the base snapshot: one path for all modes.

    The frozen prefix is computed once, the span behind it at every step.

    Args:
        base: the snapshot's bytes.
        records: indices of the chunk's records.
        seed: 32 bytes that order the minibatches; any will do.
        progress: called after every step.
        feedback: where sparse updates keep what they did not tell; None: it is lost.
        unfinished: a file that holds the unit's state while it is trained, and is resumed from.
        device: of miner/training/device.py.

    Returns:
        The encoded update.

    Raises:
        ConfigError: data set or model family are not to be had here.
        DecodeError: `base` is no snapshot of this job.
        ValueError: training diverged.
    """
    changes = train_changes(job, base, unit, records, seed, progress, unfinished, device)
    return encode_unit(job, base, unit, changes, feedback)


def train_changes(
    job: Job,
    base: bytes,
    unit: WorkUnit,
    records: Sequence[int],
    seed: bytes,
    progress: Progress | None = None,
    unfinished: Path | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> dict[str, NDArray[np.float64]]:
    """Trained minus base weights, by tensor name; arguments and errors as `train_unit`.

    Args:
        dtype: what is computed in; protocol asks for float32.
    """
    torch.set_num_threads(1)  # a miner with more cores runs more units
    where, audited = choose_device(device), job.compression != SPARSE
    model = load_model(job, base, dtype).to(where)
    inputs, labels = (part.to(where) for part in batch(job, load(job), records, dtype))
    with autocast(where, audited):
        activations = prefix(model, unit.segment, inputs)
    start = model.own(unit.segment)
    own = {name: part.clone().requires_grad_() for name, part in start.items()}
    trained = list(own.values())
    optimizer = optimizer_named(job.optimizer, trained, job.learning_rate_ppm / _PPM)
    kept = Unfinished(unfinished, work_digest(job, base, unit, records, seed, str(where)))
    done = kept.resume(own, optimizer)
    batches = islice(minibatches(len(records), job.batch_records, seed), done, unit.steps)
    for step, chosen in enumerate(batches, done + 1):
        places = torch.tensor(chosen, device=where)
        with autocast(where, audited):
            loss = segment_loss(model, unit.segment, own, activations[places], labels[places])
        optimizer.step(torch.autograd.grad(loss, trained))
        if progress:
            progress(step, unit.steps, loss.item())
        kept.keep(step, own, optimizer)
    kept.drop()
    return {
        name: (own[name].detach() - part).double().cpu().numpy() for name, part in start.items()
    }


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
