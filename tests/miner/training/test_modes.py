"""Every mode trains by one path: a unit lowers the loss that its segment learns by."""

import sys

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from chain.records.contribution import WorkUnit
from chain.records.job import Job, Mode, make_sizes
from chain.rules.assignment import chunk_records
from chain.rules.families.registry import segment_parameters, segment_shapes
from chain.rules.jobs import check_job
from miner.training import trainer
from miner.training.data import load
from miner.training.dataset import Dataset
from miner.training.jobs import genesis_snapshot
from miner.training.model import batch, load_model, prefix, segment_loss
from miner.training.trainer import train_changes
from tests.miner.training.training_run import JOB

SEED = bytes(32)
MLP = replace(JOB, sizes=make_sizes(inputs=64, width=48, depth=3, classes=10), steps=60)
MLP = replace(MLP, batch_records=16)
CNN = replace(
    MLP, family=b"cnn", sizes=make_sizes(side=8, channels=1, width=8, depth=3, classes=10)
)
CUTS = [(Mode.LOCAL_HEADS, 3), (Mode.JOINT, 3), (Mode.SHARD, 2), (Mode.DATA_PARALLEL, 1)]


def losses(job: Job, snapshot: bytes, segment: int) -> tuple[float, float]:
    """Of held-out records, before and after one honest unit of a segment."""
    unit = WorkUnit(unit=0, miner=bytes(33), segment=segment, chunk=0, steps=job.steps)
    changes = train_changes(job, snapshot, unit, chunk_records(SEED, job, 0), SEED)
    assert list(changes) == list(segment_shapes(job, segment))
    assert sum(part.size for part in changes.values()) == segment_parameters(job, segment)
    model = load_model(job, snapshot, torch.float64)
    pool = range(job.train_records, job.train_records + job.heldout_records)
    inputs, labels = batch(job, load(job), pool, torch.float64)
    activations = prefix(model, segment, inputs)
    before = model.own(segment)
    after = {name: part + torch.from_numpy(changes[name]) for name, part in before.items()}
    with torch.no_grad():
        return (
            segment_loss(model, segment, before, activations, labels).item(),
            segment_loss(model, segment, after, activations, labels).item(),
        )


@pytest.mark.parametrize(("mode", "segments"), CUTS)
@pytest.mark.parametrize("job", [MLP, CNN], ids=["mlp", "cnn"])
def test_a_unit_lowers_its_loss(job: Job, mode: Mode, segments: int) -> None:
    job = replace(job, mode=mode, segments=segments)
    check_job(job)
    snapshot = genesis_snapshot(job)
    for segment in range(segments):
        before, after = losses(job, snapshot, segment)
        assert after < before - 0.02, f"segment {segment}"


def test_a_transformer_learns_what_follows_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text in which every byte follows from the one before."""
    text = np.arange(400 * 9, dtype=np.uint32) * 7 % 32
    job = replace(
        MLP,
        family=b"gpt",
        sizes=make_sizes(context=8, width=16, depth=2, heads=2, tied=0),
        segments=2,
        dataset=b"text",
        train_records=300,
        heldout_records=100,
        chunk_records=150,
    )
    made = Dataset(
        records=text.astype(np.uint8).reshape(400, 9), labels=np.empty(0, np.uint8), scale_shift=0
    )
    for module in (trainer, sys.modules[__name__]):
        monkeypatch.setattr(module, "load", lambda _: made)
    check_job(job)
    snapshot = genesis_snapshot(job)
    before, after = losses(job, snapshot, 0)
    assert before > 5
    assert after < before / 2
