"""The outer step and how the models that it makes do: what a replica votes with.

The step is whole numbers (chain/rules/aggregation.py); losses are measured in 64-bit floating point
and rounded to micro-nats, and the replicas take their medians.
"""

from collections.abc import Sequence
from math import isfinite

import torch

from bft.crypto.hashing import sha256
from chain.records.evaluation import NextModel
from chain.records.job import Job
from chain.rules.aggregation import Scored, next_snapshots
from miner.training.data import load
from miner.training.model import batch, cross_entropy, load_model, model_logits

MICRO = 1_000_000
LOSS_NATS_MAX = 1e6  # a larger loss, or one that is no number, counts as so much
RECORDS_AT_ONCE = 256


def make_models(
    job: Job, base: bytes, updates: Sequence[Scored], randomness: bytes, challenge: Sequence[int]
) -> tuple[tuple[bytes, ...], tuple[NextModel, ...]]:
    """Snapshots of the full step and of each halving, and what was measured of each.

    Args:
        challenge: record indices by which the replicas choose among them.

    Raises:
        ConfigError: data set or model family are not to be had here.
        DecodeError, ValueError: see `next_snapshots`.
    """
    snapshots = next_snapshots(job, base, updates, randomness)
    return snapshots, tuple(_measured(job, snapshot, challenge) for snapshot in snapshots)


def _measured(job: Job, snapshot: bytes, challenge: Sequence[int]) -> NextModel:
    heldout = range(job.train_records, job.train_records + job.heldout_records)
    loss, correct, _ = model_loss(job, snapshot, heldout)
    return NextModel(
        digest=sha256(snapshot),
        challenge_loss=model_loss(job, snapshot, challenge)[0] if job.backtracking else 0,
        loss=loss,
        correct=correct,
    )


def model_loss(job: Job, snapshot: bytes, records: Sequence[int]) -> tuple[int, int, int]:
    """The whole model on some records.

    Returns:
        Mean loss in micro-nats (rounded half to even), predictions that are right, predictions.
    """
    torch.set_num_threads(1)  # one worker, one thread: sums in one order
    dataset, model = load(job), load_model(job, snapshot, torch.float64)
    total, correct, predictions = 0.0, 0, 0
    for start in range(0, len(records), RECORDS_AT_ONCE):
        part = records[start : start + RECORDS_AT_ONCE]
        inputs, labels = batch(job, dataset, part, torch.float64)
        logits = model_logits(model, inputs)
        total += cross_entropy(logits, labels).item() * labels.numel()
        correct += int((logits.argmax(dim=-1) == labels).sum().item())
        predictions += labels.numel()
    loss = total / predictions
    loss = min(loss, LOSS_NATS_MAX) if isfinite(loss) else LOSS_NATS_MAX
    return round(loss * MICRO), correct, predictions
