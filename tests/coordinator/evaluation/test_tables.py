"""Tables are those of the plain way: everything for each unit and batch anew, nothing kept."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow
from chain.records.job import Job, Mode, make_sizes
from chain.rules.families.registry import segment_shapes
from chain.rules.norms import limited, norm
from chain.rules.updates import by_name, decode_change, decode_snapshot
from coordinator.evaluation.coverage import advantage
from coordinator.evaluation.evaluator import Batches, Candidate, evaluate
from miner.training.compression import encode_update
from miner.training.data import ENVIRONMENT, load
from miner.training.dataset import Dataset, write_dataset
from miner.training.jobs import digits_job, genesis_snapshot
from miner.training.model import batch, load_model, prefix, read_weights, record_losses

CHUNK = range(24)
RECORDS = 1_797  # of digits
CHALLENGE, CONTROL = range(1_440, 1_472), tuple(range(20, 60))


def _plain(**changes: object) -> Job:
    return replace(
        digits_job()[0],
        chunk_records=24,
        batch_records=4,
        steps=3,
        **changes,
    )


def _text() -> Job:
    sizes = make_sizes(context=8, width=16, depth=3, heads=2, tied=0)
    return _plain(name=b"text", family=b"gpt", sizes=sizes, dataset=b"text", segments=3)


def _convolutions() -> Job:
    sizes = make_sizes(side=8, channels=1, width=4, depth=2, classes=10)
    return _plain(family=b"cnn", sizes=sizes, segments=2)


@dataclass(frozen=True)
class Case:
    """Updates of every segment for one base."""

    job: Job
    base: bytes
    items: tuple[Candidate, ...]

    def table(self, control: Sequence[int] = CONTROL) -> tuple[EvaluationRow, ...]:
        """As replicas make it."""
        batches = Batches(challenge=CHALLENGE, control=control)
        return evaluate(self.job, MINIMAL, self.base, self.items, batches)


def case(job: Job, mode: Mode, home: Path) -> Case:
    """Two units of each segment, one of them capped, the segments not in order."""
    job = replace(job, mode=mode)
    if job.family == b"gpt":
        texts = np.random.default_rng(1).integers(0, 255, (RECORDS, 9)).astype(np.uint8)
        data = Dataset(records=texts, labels=np.zeros(RECORDS, np.uint8), scale_shift=0)
        job = replace(job, dataset_digest=write_dataset(home, data))
    base, random = genesis_snapshot(job), np.random.default_rng(2)
    items = []
    for number in range(2 * job.segments):
        segment = (number * 2 + 1) % job.segments
        shapes = segment_shapes(job, segment)
        changes = {name: random.normal(0, 0.02, shape) for name, shape in shapes.items()}
        unit = WorkUnit(unit=number, miner=bytes(33), segment=segment, chunk=0, steps=job.steps)
        update = encode_update(job, segment, changes)
        cap = norm(decode_change(job, segment, update)) // 2 if number % 2 else 0
        items.append(Candidate(unit, update, own=CHUNK, cap=cap))
    return Case(job, base, tuple(items))


def plainly(given: Case, item: Candidate) -> EvaluationRow:
    """One row, from nothing but base and update."""
    job, segment = given.job, item.unit.segment
    dtype = torch.float64
    model, data = load_model(job, given.base, dtype), load(job)
    assert item.update is not None
    change = decode_change(job, segment, item.update)
    shift, weights = MINIMAL.step_shift, decode_snapshot(job, given.base)
    step = limited(change, item.cap)
    moved = {
        name: (weights[name].astype(np.int64) << shift) + delta
        for name, delta in by_name(job, segment, step.part(0, step.elements)).items()
    }
    after = read_weights(job, moved, dtype, extra_bits=shift)
    strangers = [record for record in CONTROL if record not in CHUNK]
    removed = []
    for records in (CHALLENGE, CHUNK, strangers):
        inputs, labels = batch(job, data, records, dtype)
        seen = prefix(model, segment, inputs)
        old, new = (
            record_losses(model, segment, own, seen, labels).numpy()
            for own in (model.own(segment), after)
        )
        removed.append(old - new)
    return EvaluationRow(
        unit=item.unit.unit,
        valid=1,
        gain=round(float(removed[0].mean()) * 1_000_000),
        advantage=advantage(removed[1], removed[2]),
        norm=norm(change),
        replay=0,
    )


KINDS = [
    pytest.param(_plain(), Mode.LOCAL_HEADS, id="mlp, local heads"),
    pytest.param(_plain(), Mode.JOINT, id="mlp, joint"),
    pytest.param(_plain(), Mode.SHARD, id="mlp, shard"),
    pytest.param(_text(), Mode.LOCAL_HEADS, id="gpt, local heads"),
    pytest.param(_text(), Mode.JOINT, id="gpt, joint"),
    pytest.param(_convolutions(), Mode.JOINT, id="cnn, joint"),
]


@pytest.mark.parametrize(("job", "mode"), KINDS)
def test_a_table_is_that_of_the_plain_way(
    job: Job, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, ENVIRONMENT, str(tmp_path))
    given = case(job, mode, tmp_path)
    table = given.table()
    assert table == tuple(plainly(given, item) for item in given.items)
    assert len({row.gain for row in table}) == len(table)
    again = replace_items(given, reversed(given.items)).table()
    assert again == table[::-1]


@pytest.mark.parametrize("mode", [Mode.LOCAL_HEADS, Mode.JOINT])
def test_an_update_of_zeros_gains_exactly_nothing(mode: Mode, tmp_path: Path) -> None:
    """Losses before it may come from another segment's computation, and must be the same bits."""
    given = case(_plain(), mode, tmp_path)
    items = []
    for item in given.items:
        shapes = segment_shapes(given.job, item.unit.segment)
        zeros = {name: np.zeros(shape) for name, shape in shapes.items()}
        update = encode_update(given.job, item.unit.segment, zeros)
        items.append(Candidate(item.unit, update, own=CHUNK))
    table = replace_items(given, items).table()
    assert {(row.gain, row.advantage, row.norm) for row in table} == {(0, 0, 0)}


def replace_items(given: Case, items: Iterable[Candidate]) -> Case:
    """The same with other updates."""
    return Case(given.job, given.base, tuple(items))


def test_a_unit_without_own_records_has_its_gain_and_no_advantage(tmp_path: Path) -> None:
    given = case(_plain(), Mode.JOINT, tmp_path)
    bare = replace_items(given, [dataclasses.replace(item, own=()) for item in given.items])
    with_test, without = given.table(), bare.table(control=())
    assert [row.gain for row in without] == [row.gain for row in with_test]
    assert {row.advantage for row in without} == {0}
    assert any(row.advantage for row in with_test)
