"""One update's worth: measured the same by every replica; what is no update is worth nothing."""

from math import log

import numpy as np
import pytest
import safetensors.numpy
from msgspec.structs import replace

from bft.errors import DecodeError
from chain.params import MINIMAL
from chain.records.evaluation import EvaluationRow
from chain.rules.aggregation import outer_step
from chain.rules.families.registry import segment_shapes
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import (
    EXPONENT_MAX,
    EXPONENTS,
    decode_snapshot,
    update_layout,
)
from coordinator.evaluation.evaluator import Batches, Candidate, evaluate, heldout
from miner.training.compression import encode_update
from tests.chain.rules.training_job import row
from tests.miner.training.training_run import GENESIS, JOB, cycle

NOW = cycle(GENESIS, 1)
UPDATES = {unit: NOW.train(unit) for unit in NOW.units}


def test_a_second_replica_measures_the_same_integers() -> None:
    rows = NOW.measure(UPDATES.items())
    assert NOW.measure(UPDATES.items()) == rows
    backwards = NOW.measure(reversed(UPDATES.items()))
    assert backwards == rows[::-1]


def test_one_update_alone_is_worth_what_it_is_worth_among_others() -> None:
    together = NOW.measure(UPDATES.items())
    assert tuple(NOW.measure([(unit, UPDATES[unit])])[0] for unit in UPDATES) == together


def test_the_gain_is_that_of_the_damped_step() -> None:
    """Undamped, on the last segment and all held-out records: what the whole model then gains."""
    last = JOB.segments - 1
    unit = next(number for number in NOW.units if NOW.units[number].segment == last)
    params, job = replace(MINIMAL, step_shift=0), replace(JOB, outer_rate_denominator=1)
    pool = range(JOB.train_records, JOB.train_records + JOB.heldout_records)
    item = Candidate(NOW.units[unit], UPDATES[unit], pool)
    (measured,) = evaluate(job, params, GENESIS, [item], Batches(challenge=pool, control=pool))
    (after,) = outer_step(job, GENESIS, [(row(unit, last, 1), UPDATES[unit])], bytes(32))
    gained = heldout(job, GENESIS)[0] - heldout(job, after)[0]
    assert abs(measured.gain - gained) <= 1
    assert measured.advantage == 0


def test_no_change_gains_nothing_and_is_valid() -> None:
    shapes = segment_shapes(JOB, NOW.units[0].segment)
    zeros = encode_update(JOB, NOW.units[0].segment, {n: np.zeros(s) for n, s in shapes.items()})
    (measured,) = NOW.measure([(0, zeros)])
    assert (measured.valid, measured.gain, measured.advantage) == (1, 0, 0)


def floating(value: float) -> bytes:
    layout = update_layout(JOB, NOW.units[0].segment)
    return safetensors.numpy.save(
        {name: np.full(shape, value, np.float32) for name, (_, shape) in layout.items()}
    )


def exponents(value: int) -> bytes:
    tensors: dict[str, Tensor] = {}
    for name, (_, shape) in update_layout(JOB, NOW.units[0].segment).items():
        tensors[name] = np.full(shape, value if name.endswith(EXPONENTS) else 1, np.int8)
    return encode_tensors(tensors)


OTHER = next(u for u in NOW.units if NOW.units[u].segment != NOW.units[0].segment)
INVALID = {
    "not here": None,
    "empty": b"",
    "truncated": UPDATES[0][:-1],
    "trailing": UPDATES[0] + b"\0",
    "of another segment": UPDATES[OTHER],
    "a snapshot": GENESIS,
    "NaN": floating(float("nan")),
    "infinite": floating(float("inf")),
    "pickle": b"\x80\x04K\x01.",
    "exponent past the bound": exponents(EXPONENT_MAX + 1),
    "negative exponent": exponents(-1),
}


@pytest.mark.parametrize("update", INVALID.values(), ids=INVALID)
def test_what_is_no_update_is_invalid_and_harms_nobody_else(update: bytes | None) -> None:
    items = [NOW.candidate(0, update), NOW.candidate(1, UPDATES[1])]
    bad, good = evaluate(JOB, MINIMAL, GENESIS, items, NOW.batches())
    assert bad == EvaluationRow(unit=0, valid=0, gain=0, advantage=0, norm=0, replay=0)
    assert good.valid == 1
    assert good.gain > 0


def test_an_update_at_the_size_limit_is_measured_and_one_past_it_is_invalid() -> None:
    size = len(UPDATES[0])
    for limit, valid in ((size, 1), (size - 1, 0)):
        params = replace(MINIMAL, update_bytes_max=limit)
        item = NOW.candidate(0, UPDATES[0])
        (measured,) = evaluate(JOB, params, GENESIS, [item], NOW.batches())
        assert measured.valid == valid


def test_the_strongest_update_of_the_format_is_measured_and_does_harm() -> None:
    (measured,) = NOW.measure([(0, exponents(EXPONENT_MAX))])
    assert measured.valid == 1
    assert measured.gain < 0


def test_an_absurd_loss_is_no_measurement() -> None:
    """Weights at the ends of their range: the loss is beyond every bound."""
    weights = decode_snapshot(JOB, GENESIS)
    extreme = {name: np.full(part.shape, 2**31 - 1, np.int32) for name, part in weights.items()}
    extreme |= {
        name: (-1) ** np.arange(part.size, dtype=np.int32).reshape(part.shape) * part
        for name, part in extreme.items()
        if "head." in name or "auxiliary." in name
    }
    last = JOB.segments - 1
    unit = next(number for number in NOW.units if NOW.units[number].segment == last)
    item = NOW.candidate(unit, UPDATES[unit])
    (measured,) = evaluate(JOB, MINIMAL, encode_tensors(extreme), [item], NOW.batches())
    assert (measured.valid, measured.gain, measured.advantage) == (0, 0, 0)


def test_a_base_that_is_no_snapshot_is_refused() -> None:
    with pytest.raises(DecodeError):
        evaluate(JOB, MINIMAL, GENESIS[:-1], [], NOW.batches())
    with pytest.raises(DecodeError):
        heldout(JOB, GENESIS[:-1])


def test_the_untrained_model_guesses() -> None:
    loss, correct, records = heldout(JOB, GENESIS)
    assert abs(loss - log(10) * 1_000_000) < 300_000
    assert correct < records // 3
    assert records == JOB.heldout_records
