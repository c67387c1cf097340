"""The first pass: exact integers that rank as the measured gains do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.errors import DecodeError
from chain.records.job import Job, make_sizes
from chain.rules.changes import DELTA_MAX, Change
from chain.rules.families.registry import segment_parameters, segment_shapes
from chain.rules.updates import decode_change
from coordinator.evaluation import screening_many
from coordinator.evaluation.screening import QUANTUM_MAX, first_pass, quantised_gradient
from coordinator.evaluation.screening_many import first_passes
from miner.training.compression import encode_update
from miner.training.data import load
from miner.training.model import batch, load_model, prefix
from tests.miner.training.training_run import GENESIS, JOB, MINIMAL, cycle

values = st.lists(
    st.tuples(st.integers(-DELTA_MAX, DELTA_MAX), st.integers(-QUANTUM_MAX, QUANTUM_MAX)),
    min_size=1,
    max_size=50,
)


@settings(deadline=None)
@given(values)
def test_it_is_the_exact_product_dense_or_sparse(pairs: list[tuple[int, int]]) -> None:
    told = np.array([value for value, _ in pairs], np.int64)
    gradient = np.array([part for _, part in pairs], np.int16)
    expected = -sum(value * part for value, part in pairs)
    assert first_pass(gradient, Change(told.size, None, told)) == expected
    wide = np.zeros(3 * told.size, np.int16)
    places = np.arange(told.size) * 3
    wide[places] = gradient
    assert first_pass(wide, Change(wide.size, places, told)) == expected


def test_honest_updates_rank_above_their_opposites() -> None:
    now = cycle(GENESIS, 1)
    model = load_model(JOB, GENESIS, torch.float32)
    pool = range(JOB.train_records, JOB.train_records + MINIMAL.challenge_records)
    inputs, labels = batch(JOB, load(JOB), pool, torch.float32)
    for number in (0, 1, 2):
        unit = now.units[number]
        activations = prefix(model, unit.segment, inputs)
        gradient = quantised_gradient(
            model, unit.segment, model.own(unit.segment), activations, labels
        )
        assert np.abs(gradient).max() == QUANTUM_MAX
        change = decode_change(JOB, unit.segment, now.train(number))
        back = Change(change.elements, change.places, -change.values)
        assert first_pass(gradient, change) > 0 > first_pass(gradient, back)


ELEMENTS_JOB = replace(
    JOB, sizes=make_sizes(inputs=64, width=96, depth=3, classes=10), fraction_bits=20
)
SPARSE_JOBS = {
    (keep, bits): replace(ELEMENTS_JOB, compression=b"topk", keep=keep, value_bits=bits)
    for keep, bits in ((64, 2), (1, 8), (4096, 3))
}


def updates_of(job: Job, segment: int, random: np.random.Generator) -> list[bytes]:
    """Small ones, some above the norm cap, and files that are no updates."""
    found = []
    for size in (1e-4, 1e-3, 0.05, 0.2, 2.0, 30.0, 0.01, 1e-3) * 3:
        shapes = segment_shapes(job, segment)
        changes = {name: random.normal(0, size, shape) for name, shape in shapes.items()}
        found.append(encode_update(job, segment, changes))
    whole = found[0]
    spoilt = [bytearray(found[n]) for n in range(12)]
    for number, data in enumerate(spoilt):
        data[int(random.integers(0, len(data)))] ^= 1 << number % 8
    bad = [b"", whole[:7], whole[:-1], whole + b"\0", b"\xff" * len(whole), *map(bytes, spoilt)]
    return [*found[:9], *bad, *found[9:]]


@pytest.mark.parametrize("job", [ELEMENTS_JOB, *SPARSE_JOBS.values()])
def test_many_at_a_time_are_the_same_numbers_as_one_by_one(job: Job) -> None:
    random = np.random.default_rng(3)
    for segment in range(job.segments):
        gradient = random.integers(
            -QUANTUM_MAX, QUANTUM_MAX + 1, segment_parameters(job, segment), np.int16
        )
        updates = updates_of(job, segment, random)
        expected: list[int | None] = []
        for update in updates:
            try:
                expected.append(first_pass(gradient, decode_change(job, segment, update)))
            except DecodeError:
                expected.append(None)
        assert None in expected
        assert first_passes(job, segment, gradient, updates) == expected


def test_what_is_in_order_is_taken_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest updates never go the slow way."""
    monkeypatch.delattr(screening_many, "decode_change")
    for job in (ELEMENTS_JOB, SPARSE_JOBS[64, 2]):
        shapes = segment_shapes(job, 0)
        changes = {name: np.full(shape, 0.01) for name, shape in shapes.items()}
        gradient = np.full(segment_parameters(job, 0), -7, np.int16)
        (found,) = first_passes(job, 0, gradient, [encode_update(job, 0, changes)])
        assert found is not None and found > 0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.data())
def test_any_spoilt_file_is_judged_as_the_slow_way_does(seed: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    job = data.draw(st.sampled_from([ELEMENTS_JOB, *SPARSE_JOBS.values()]))
    shapes = segment_shapes(job, 1)
    changes = {name: random.normal(0, 0.01, shape) for name, shape in shapes.items()}
    file = bytearray(encode_update(job, 1, changes))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    gradient = random.integers(-9, 10, segment_parameters(job, 1), np.int16)
    try:
        expected = first_pass(gradient, decode_change(job, 1, bytes(file)))
    except DecodeError:
        expected = None
    assert first_passes(job, 1, gradient, [bytes(file)]) == [expected]
