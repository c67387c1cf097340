"""The first pass: exact integers that rank as the measured gains do."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.rules.changes import DELTA_MAX, Change
from chain.rules.updates import decode_change
from coordinator.evaluation.screening import QUANTUM_MAX, first_pass, quantised_gradient
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
