"""Updates as miners write them: nothing cut off, small error, and nothing that is not finite."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from chain.records.contribution import WorkUnit
from chain.records.job import make_sizes
from chain.rules.families.registry import segment_shapes
from chain.rules.updates import decode_update
from miner.training.compression import MAGNITUDE_MAX, encode_unit, encode_update
from miner.training.feedback import FeedbackStore
from tests.chain.rules.training_job import JOB

WIDE = replace(JOB, sizes=make_sizes(inputs=2048, width=3, depth=1, classes=2), segments=1)


def changes(value: float) -> dict[str, NDArray[np.float64]]:
    return {name: np.full(shape, value) for name, shape in segment_shapes(JOB, 0).items()}


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-7, 0.02))
def test_a_decoded_change_is_within_half_a_step_of_the_trained_one(seed: int, size: float) -> None:
    generator = np.random.default_rng(seed)
    shapes = segment_shapes(WIDE, 0).items()
    trained = {name: generator.normal(0, size, shape) for name, shape in shapes}
    decoded = decode_update(WIDE, 0, encode_update(WIDE, 0, trained))
    for name, change in trained.items():
        units = change * 2.0**WIDE.fraction_bits
        step = max(1.0, 2 * np.abs(units).max() / MAGNITUDE_MAX)
        assert np.abs(decoded[name] - units).max() <= step / 2


def test_no_change_is_all_zeros() -> None:
    decoded = decode_update(JOB, 0, encode_update(JOB, 0, changes(0.0)))
    assert not any(part.any() for part in decoded.values())


def test_a_change_beyond_the_format_saturates_and_is_capped() -> None:
    decoded = decode_update(JOB, 0, encode_update(JOB, 0, changes(1e6)))
    assert all((part > 0).all() for part in decoded.values())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_training_that_diverged_gives_no_update(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        encode_update(JOB, 0, changes(value))


def test_a_change_of_another_shape_is_refused() -> None:
    wrong = changes(0.0) | {"auxiliary.0.bias": np.zeros(3)}
    with pytest.raises(ValueError, match=r"shape \(3,\); it must be \(2,\)"):
        encode_update(JOB, 0, wrong)


# Sparse updates.

SPARSE = replace(WIDE, compression=b"topk", keep=64, value_bits=2)
UNIT = WorkUnit(unit=0, miner=bytes(33), segment=0, chunk=0, steps=1)


def trained(seed: int) -> dict[str, NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    shapes = segment_shapes(SPARSE, 0).items()
    return {name: generator.normal(0, 0.01, shape) for name, shape in shapes}


def told(data: bytes) -> NDArray[np.float64]:
    """The whole segment's change, in weights."""
    parts = decode_update(SPARSE, 0, data).values()
    return np.concatenate([part.ravel() for part in parts]) * 2.0**-SPARSE.fraction_bits


def test_what_an_update_does_not_tell_the_next_ones_tell(tmp_path: Path) -> None:
    """Trained once and never again: update after update tells more of it."""
    store, change = FeedbackStore(tmp_path), trained(1)
    whole = np.concatenate([part.ravel() for part in change.values()])
    nothing = {name: np.zeros_like(part) for name, part in change.items()}
    total = told(encode_unit(SPARSE, b"0", UNIT, change, store))
    distance = [np.linalg.norm(whole - total)]
    for cycle in range(1, 12):
        total += told(encode_unit(SPARSE, b"%d" % cycle, UNIT, nothing, store))
        distance.append(np.linalg.norm(whole - total))
    assert all(after < before for before, after in pairwise(distance))
    alone = told(encode_update(SPARSE, 0, change))
    assert distance[0] == np.linalg.norm(whole - alone)


def test_a_unit_encoded_again_after_a_crash_gives_the_same_update(tmp_path: Path) -> None:
    encode_unit(SPARSE, b"0", UNIT, trained(1), FeedbackStore(tmp_path))
    first = encode_unit(SPARSE, b"1", UNIT, trained(2), FeedbackStore(tmp_path))
    assert encode_unit(SPARSE, b"1", UNIT, trained(2), FeedbackStore(tmp_path)) == first
    assert encode_update(SPARSE, 0, trained(2)) != first  # the rest of the one before is in it


def test_dense_updates_keep_nothing(tmp_path: Path) -> None:
    data = encode_unit(WIDE, b"0", UNIT, trained(1), FeedbackStore(tmp_path))
    assert data == encode_update(WIDE, 0, trained(1))
    assert list(tmp_path.iterdir()) == []
